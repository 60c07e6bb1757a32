"""Gradient reversal (Ganin and Lempitsky, 2015): what follows learns, what comes before unlearns."""

from __future__ import annotations

from typing import Any

import torch


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, scale: float) -> torch.Tensor:
        context.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -context.scale * gradients[0], None


def reverse_gradient(x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """x itself; its gradient comes back times ``-scale``."""
    reversed_: torch.Tensor = _Reversal.apply(x, scale)  # type: ignore[no-untyped-call]
    return reversed_
