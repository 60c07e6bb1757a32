"""Levels that are made when they are wanted: those of large photos in bands of rows, never there as a whole.

A level's rows come from some rows of the level before, and those from some of the one before that, up to the photo. All
stages go through a large photo in the same steps from top to bottom, so that each level only has to keep its last band.
Bytes do not depend on which bands were made: a row is the same in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from cascade import _native

# Pixels of all the levels that are kept, from the smallest up: those of a photo of 23 megapixels at min_face 20.
CACHED_PIXELS = 1 << 24
# Pixels of a band of the largest level, and the fewest rows: each step makes some rows again that others had.
STRIP_PIXELS, FEWEST_ROWS = 1 << 20, 48
# Rows of a level by which those who want some in the same step may be apart.
SPREAD = 64

# Makes rows from `first` on of a level of (height, width, 3) in an array, from a band that starts at row `top` of an
# image of so many rows: (band, top, rows, level's shape, array, first).
Make = Callable[[np.ndarray, int, int, tuple[int, int, int], np.ndarray, int], None]


class Level:
    """A level (height, width, 3) of which one band of rows is there at a time.

    It belongs to one call of a detector and is not to be shared between threads.
    """

    def __init__(self, source: np.ndarray | Level, width: int, height: int, make: Make, kept_rows: int) -> None:
        self.shape = (height, width, 3)
        self.source, self._make, self._kept_rows = source, make, kept_rows
        self._top, self._band = 0, np.empty((0, width, 3), np.uint8)

    def rows(self, first: int, end: int) -> np.ndarray:
        """Rows [first, end), which the caller must not change."""
        top, last = self._top, self._top + len(self._band)
        if first < top or end > last:
            if end < top or first > last:  # too far from what is there
                top = last = first
            stop = max(end, last)
            # some rows above stay, since a level's users are not quite at the same row
            start = min(first, max(top, stop - self._kept_rows))
            kept = max(start, top)
            band = np.empty((stop - start, *self.shape[1:]), np.uint8)
            band[kept - start : last - start] = self._band[kept - self._top : last - self._top]
            self._fill(band[: kept - start], start)
            self._fill(band[last - start :], last)
            self._top, self._band = start, band
        return self._band[first - self._top : end - self._top]

    def _fill(self, target: np.ndarray, first: int) -> None:
        if len(target):
            height = self.source.shape[0]
            top, end = _native.rows_read(height, self.shape[0], first, first + len(target))
            band = self.source.rows(top, end) if isinstance(self.source, Level) else self.source[top:end]
            self._make(band, top, height, self.shape, target, first)


class CachedLevel(Level):
    """A level that is kept, made from the top down as far as it is wanted, or all of it together with others."""

    def __init__(self, source: np.ndarray | Level, width: int, height: int, make: Make) -> None:
        super().__init__(source, width, height, make, 0)
        self.pixels, self.made = np.empty(self.shape, np.uint8), 0

    def rows(self, first: int, end: int) -> np.ndarray:
        """Rows [first, end), which the caller must not change."""
        if end > self.made:
            self._fill(self.pixels[self.made : end], self.made)
            self.made = end
        return self.pixels[first:end]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(whole(self), dtype, copy=copy)


def levels_when_wanted(photo: np.ndarray, sizes: list[tuple[int, int]], make: Make) -> list[Level]:
    """The levels of a photo with ``sizes`` (width, height), each to be made from the last.

    Kept are the last levels, as many as have CACHED_PIXELS in all: all of them but for a large photo.
    """
    levels: list[Level] = []
    left = sum(width * height for width, height in sizes)
    for width, height in sizes:
        source = levels[-1] if levels else photo
        if left <= CACHED_PIXELS:
            levels.append(CachedLevel(source, width, height, make))
        else:
            count = step_count(sizes[0][1], sizes[0][0])
            levels.append(Level(source, width, height, make, -(-height // count) + SPREAD))
        left -= width * height
    return levels


def is_streamed(image: np.ndarray | Level) -> TypeGuard[Level]:
    """Whether an image is never there as a whole."""
    return isinstance(image, Level) and not isinstance(image, CachedLevel)


def whole(image: np.ndarray | CachedLevel) -> np.ndarray:
    """All rows of an image that is not in bands."""
    return image.rows(0, image.shape[0]) if isinstance(image, CachedLevel) else image


def step_count(height: int, width: int) -> int:
    """In how many steps to go through a photo whose first level has that size."""
    return -(-height // max(FEWEST_ROWS, STRIP_PIXELS // width))


def steps(levels: list[Level], after: CachedLevel | None) -> Iterator[tuple[float, float]]:
    """The shares of the height, from and to, of each step down the levels in bands; the one after them comes along."""
    count = step_count(*levels[0].shape[:2])
    for share, end in pairwise(step / count for step in range(count + 1)):
        if after is not None:
            after.rows(0, round(after.shape[0] * end))
        yield share, end
