"""The order in which samples are learned from, and how many of each pool a batch has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.common.checkpoints import TrainingError


def batch_counts(batch: int, shares: Sequence[int], pools: Sequence[NDArray[np.int64]], name: str) -> list[int]:
    """How many rows of each pool a batch has, ``batch`` together, in the ratio of the shares.

    Empty pools leave their share to the others; the largest share takes what division leaves over. Raises
    TrainingError, which names what the rows are, if there is nothing to learn from.
    """
    parts = [share if len(pool) else 0 for share, pool in zip(shares, pools, strict=True)]
    if not sum(parts):
        raise TrainingError(f"{name}: there is nothing to learn from")
    counts = [batch * part // sum(parts) for part in parts]
    counts[int(np.argmax(parts))] += batch - sum(counts)
    return counts


class PoolOrder:
    """Goes through pools of rows, each in a random order of its own, and in another one every round.

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

    def _order(self, pool: int, number: int) -> NDArray[np.int64]:
        """The order of a pool in the round of this number."""
        if (pool, number) not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k[0] != pool or k[1] == number - 1}
            rng = np.random.default_rng([self.seed, pool, number])
            self._orders[pool, number] = rng.permutation(len(self.pools[pool]))
        return self._orders[pool, number]
