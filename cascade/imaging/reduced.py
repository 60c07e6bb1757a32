"""Photos read at a fraction of their size, and where what is found in them lies in the photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from cascade.imaging.pixels import RGBImage

REDUCTIONS = (1, 2, 4, 8)
"""By how much the sides of a JPEG can be divided while it is decoded."""

SMALLEST_REDUCED_FACE = 40.0
"""Pixels that the smallest face looked for keeps in a reduced photo: with fewer, O-Net would see it enlarged."""

# Whether the upright photo is mirrored, across and down, against the stored one once its sides are swapped as needed.
_MIRRORED = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}


@dataclass(frozen=True, slots=True)
class Frame:
    """A photo's size in pixels, and where the pixels that were read lie in it.

    The point (x, y) of these pixels is the photo's (left + reduction · x, top + reduction · y). The reduced pixels of a
    photo whose sides are no multiples of the reduction reach beyond one edge, by less than one of them.
    """

    width: int
    height: int
    reduction: int = 1
    left: int = 0
    top: int = 0

    def to_photo(self, points: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Points (…, 2) of the pixels that were read, in pixels of the photo."""
        moved: npt.NDArray[Any] = points * points.dtype.type(self.reduction)
        moved += (self.left, self.top)
        return moved


@dataclass(frozen=True, slots=True, eq=False)
class ReducedPhoto:
    """What `cascade.imaging.reading.read_reduced` returns."""

    pixels: RGBImage
    """(H, W, 3) uint8 RGB, upright."""
    frame: Frame
    """Where they lie in the photo."""


def largest_reduction(min_face: float) -> int:
    """The most by which a photo may be reduced if faces of ``min_face`` pixels and more are looked for: 1, 2, 4 or 8.

    What is left of them has `SMALLEST_REDUCED_FACE` pixels or more.
    """
    return max(reduction for reduction in REDUCTIONS if reduction == 1 or min_face >= reduction * SMALLEST_REDUCED_FACE)


def reduced_frame(stored: tuple[int, int], reduction: int, orientation: int) -> Frame:
    """The frame of a photo of that stored width and height, reduced before its orientation was applied."""
    beyond = [-side % reduction for side in stored]
    if 5 <= orientation <= 8:
        stored, beyond = stored[::-1], beyond[::-1]
    across, down = _MIRRORED.get(orientation, (0, 0))
    return Frame(*stored, reduction, -beyond[0] * across, -beyond[1] * down)
