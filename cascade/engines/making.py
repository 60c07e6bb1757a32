"""Levels that are made while others are searched, so that no thread waits for the next level of a pyramid."""

from __future__ import annotations

from threading import Event

import numpy as np

from cascade.engines.bands import KeptLevel, whole

Image = np.ndarray | KeptLevel


class Making:
    """The levels of a pyramid, each made from the one before.

    All threads make the largest together; one makes the rest, while the others search what is there.
    """

    def __init__(self, levels: list[Image], threads: int) -> None:
        self._levels = levels
        self._made = [Event() for _ in levels]
        self._together = _made_together(levels, threads)

    def begin(self) -> None:
        """Makes the largest levels."""
        self._make(range(self._together))

    def finish(self) -> None:
        """Makes the others."""
        try:
            self._make(range(self._together, len(self._levels)))
        finally:  # whatever happens, nobody waits forever
            for event in self._made:
                event.set()

    def level(self, index: int) -> np.ndarray:
        """A level (height, width, 3), as soon as it is made."""
        self._made[index].wait()
        return whole(self._levels[index])

    def _make(self, some: range) -> None:
        for index in some:
            whole(self._levels[index])
            self._made[index].set()


def _made_together(levels: list[Image], threads: int) -> int:
    """How many levels to make together, so that the others are no more than about one thread's share of all pixels."""
    left = total = sum(level.shape[0] * level.shape[1] for level in levels)
    for count, level in enumerate(levels):
        if left * threads <= 1.5 * total:
            return count
        left -= level.shape[0] * level.shape[1]
    return len(levels)
