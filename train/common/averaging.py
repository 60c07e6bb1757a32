"""The exponential moving average (EMA) of the weights, which is what gets measured and exported."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_ema(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Moves averaged weights and statistics towards those after ``step`` steps, faster in the beginning.

    Counters are copied.
    """
    decay = min(decay, step / (step + 10))
    pairs = list(zip(averaged.state_dict().values(), network.state_dict().values(), strict=True))
    for mean, now in pairs:
        if not mean.is_floating_point():
            mean.copy_(now)
    means, current = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    torch._foreach_lerp_(means, current, 1 - decay)  # one launch on a GPU in place of dozens
