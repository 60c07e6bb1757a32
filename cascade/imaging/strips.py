"""Pyramid levels whose rows are computed on demand; the large levels of a large photo never exist as a whole.

The rows of a level are resampled from rows of the level before it, down to the photo. The stages go through a large
photo from top to bottom in the same steps, so that each of its large levels only has to hold its last strip of rows.
The pixels do not depend on the strips: a row is the same in each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from cascade import _native

# Pixels of all the levels that are cached, from the smallest up: those of a photo of 23 megapixels at min_face 20.
CACHED_PIXELS = 1 << 24
# Pixels of a strip of the largest level, and its least rows: each step computes some rows again that others had.
STRIP_PIXELS, MIN_STRIP_ROWS = 1 << 20, 48
# Extra rows of a strip, since its readers are not at quite the same row within a step.
EXTRA_ROWS = 64

# Resamples rows from `first` on of a level of (height, width, 3) into an array, from a strip that starts at row `top`
# of an image of so many rows: (strip, top, rows, level's shape, array, first).
Resample = Callable[[np.ndarray, int, int, tuple[int, int, int], np.ndarray, int], None]


class LazyLevel:
    """A level (height, width, 3) whose rows are resampled from ``source`` when they are asked for.

    It belongs to one call of a detector; threads cannot share it.
    """

    def __init__(self, source: np.ndarray | LazyLevel, width: int, height: int, resample: Resample) -> None:
        self.shape = (height, width, 3)
        self.source, self._resample = source, resample

    def rows(self, first: int, end: int) -> np.ndarray:
        """Rows [first, end), which the caller must not change."""
        raise NotImplementedError

    def _fill(self, target: np.ndarray, first: int) -> None:
        """Computes rows from ``first`` on, as many as ``target`` has."""
        if len(target):
            height = self.source.shape[0]
            top, end = _native.rows_read(height, self.shape[0], first, first + len(target))
            strip = self.source.rows(top, end) if isinstance(self.source, LazyLevel) else self.source[top:end]
            self._resample(strip, top, height, self.shape, target, first)


class StreamedLevel(LazyLevel):
    """A level of which only the last strip is in memory, of at least ``strip_rows`` rows."""

    def __init__(
        self, source: np.ndarray | LazyLevel, width: int, height: int, resample: Resample, strip_rows: int
    ) -> None:
        super().__init__(source, width, height, resample)
        self._strip_rows = strip_rows
        self._top, self._strip = 0, np.empty((0, width, 3), np.uint8)

    def rows(self, first: int, end: int) -> np.ndarray:
        """Rows [first, end), which the caller must not change."""
        top, last = self._top, self._top + len(self._strip)
        if first < top or end > last:
            if end < top or first > last:  # too far from the strip in memory
                top = last = first
            stop = max(end, last)
            # some rows above stay, since a level's readers are not quite at the same row
            start = min(first, max(top, stop - self._strip_rows))
            reused = max(start, top)
            strip = np.empty((stop - start, *self.shape[1:]), np.uint8)
            strip[reused - start : last - start] = self._strip[reused - self._top : last - self._top]
            self._fill(strip[: reused - start], start)
            self._fill(strip[last - start :], last)
            self._top, self._strip = start, strip
        return self._strip[first - self._top : end - self._top]


class CachedLevel(LazyLevel):
    """A level with all rows in memory, computed from the top down as far as they were asked for.

    An engine may also fill ``pixels`` and set ``ready_rows`` itself.
    """

    def __init__(self, source: np.ndarray | LazyLevel, width: int, height: int, resample: Resample) -> None:
        super().__init__(source, width, height, resample)
        self.pixels, self.ready_rows = np.empty(self.shape, np.uint8), 0

    def rows(self, first: int, end: int) -> np.ndarray:
        """Rows [first, end), which the caller must not change."""
        if end > self.ready_rows:
            self._fill(self.pixels[self.ready_rows : end], self.ready_rows)
            self.ready_rows = end
        return self.pixels[first:end]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(all_rows(self), dtype, copy=copy)


def lazy_levels(photo: np.ndarray, sizes: list[tuple[int, int]], resample: Resample) -> list[LazyLevel]:
    """The levels of a photo with ``sizes`` (width, height), each from the one before.

    The last levels are cached, as many as have CACHED_PIXELS in all. Those are all levels, except for a large photo.
    """
    levels: list[LazyLevel] = []
    left = sum(width * height for width, height in sizes)
    for width, height in sizes:
        source = levels[-1] if levels else photo
        if left <= CACHED_PIXELS:
            levels.append(CachedLevel(source, width, height, resample))
        else:
            count = step_count(sizes[0][1], sizes[0][0])
            levels.append(StreamedLevel(source, width, height, resample, -(-height // count) + EXTRA_ROWS))
        left -= width * height
    return levels


def is_streamed(image: np.ndarray | LazyLevel) -> TypeGuard[StreamedLevel]:
    """Whether an image only has a strip in memory."""
    return isinstance(image, StreamedLevel)


def all_rows(image: np.ndarray | CachedLevel) -> np.ndarray:
    """The pixels of an image that is not streamed."""
    return image.rows(0, image.shape[0]) if isinstance(image, CachedLevel) else image


def step_count(height: int, width: int) -> int:
    """The number of steps through a photo whose first level has that size."""
    return -(-height // max(MIN_STRIP_ROWS, STRIP_PIXELS // width))


def steps(levels: list[StreamedLevel], first_cached: CachedLevel | None) -> Iterator[tuple[float, float]]:
    """For each step down the streamed levels, the shares of the height where it starts and ends.

    The rows of the cached level after them, ``first_cached``, are computed on the way.
    """
    count = step_count(*levels[0].shape[:2])
    for start, end in pairwise(step / count for step in range(count + 1)):
        if first_cached is not None:
            first_cached.rows(0, round(first_cached.shape[0] * end))
        yield start, end
