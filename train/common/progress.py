"""What training loops share: the order of samples, the learning rate, the running average, the metrics file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


class PoolOrder:
    """Goes through pools of rows, each in its own random order, which is another one every time round.

    What comes depends on the seed and the step alone, so that a resumed run sees the same rows.
    """

    def __init__(self, pools: Sequence[NDArray[np.int64]], seed: int) -> None:
        self.pools, self.seed = pools, seed
        self._orders: dict[tuple[int, int], NDArray[np.int64]] = {}

    def take(self, pool: int, step: int, count: int) -> NDArray[np.int64]:
        """The ``count`` rows of a pool that a step learns from."""
        rows = self.pools[pool]
        if count == 0:
            return np.empty(0, np.int64)
        positions = np.arange(step * count, (step + 1) * count)
        rounds = positions // len(rows)
        taken = [self._order(pool, int(r))[positions[rounds == r] % len(rows)] for r in np.unique(rounds)]
        found: NDArray[np.int64] = rows[np.concatenate(taken)]
        return found

    def _order(self, pool: int, turn: int) -> NDArray[np.int64]:
        if (pool, turn) not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k[0] != pool or k[1] == turn - 1}
            rng = np.random.default_rng([self.seed, pool, turn])
            self._orders[pool, turn] = rng.permutation(len(self.pools[pool]))
        return self._orders[pool, turn]


def warmed_cosine(highest: float, step: int, steps: int, warm: int) -> float:
    """Learning rate of a step: rises to the ``highest`` over ``warm`` steps, then falls on a cosine to a thousandth."""
    if step < warm:
        return highest * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return highest * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def move_average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves averaged weights and statistics towards the current ones; counters are copied."""
    pairs = list(zip(averaged.state_dict().values(), network.state_dict().values(), strict=True))
    for mean, now in pairs:
        if not mean.is_floating_point():
            mean.copy_(now)
    means, current = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    torch._foreach_lerp_(means, current, 1 - decay)  # all at once, which takes a GPU a launch in place of dozens


def open_metrics(path: Path, step: int) -> TextIO:
    """The metrics file, cut back to the step that training goes on from."""
    rows = path.read_text().splitlines() if path.exists() else []
    kept = [row for row in rows if json.loads(row)["step"] <= step]
    path.write_text("".join(row + "\n" for row in kept))
    return path.open("a")
