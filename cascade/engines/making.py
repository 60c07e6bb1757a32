"""Levels that are made while others are searched, so that no thread waits for the next level of a pyramid."""

from __future__ import annotations

from threading import Lock

import numpy as np

from cascade.engines.bands import KeptLevel, whole

Image = np.ndarray | KeptLevel


class Making:
    """The levels of a pyramid, each made from the one before, for several threads at once.

    All threads make the largest together; one makes the rest, while the others search what is there.
    """

    def __init__(self, levels: list[Image], threads: int) -> None:
        self._levels = levels
        self._together = _made_together(levels, threads)
        self._made = 0
        self._lock = Lock()

    def begin(self) -> None:
        """Makes the largest levels."""
        for index in range(self._together):
            self.level(index)

    def finish(self) -> None:
        """Makes the others."""
        for index in range(len(self._levels)):
            self.level(index)

    def level(self, index: int) -> np.ndarray:
        """A level (height, width, 3), made now unless it is there or another thread is at it."""
        if self._made <= index:
            with self._lock:  # who waits goes on where the one before failed
                while self._made <= index:
                    whole(self._levels[self._made])
                    self._made += 1
        return whole(self._levels[index])


def _made_together(levels: list[Image], threads: int) -> int:
    """How many levels to make together, so that the others are no more than about one thread's share of all pixels."""
    left = total = sum(level.shape[0] * level.shape[1] for level in levels)
    for count, level in enumerate(levels):
        if left * threads <= 1.5 * total:
            return count
        left -= level.shape[0] * level.shape[1]
    return len(levels)
