"""Faces as sets of pixels, drawn as the official FDDB tool draws them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from eval.detection.average_precision import FloatArray

__all__ = ["Region", "draw_ellipse", "draw_rectangle", "region_overlaps"]

# Farther from the photo's corner than this (pixels) nothing is drawn: it could only be a damaged number.
FARTHEST = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Pixels of a photo: ``mask`` (h, w) uint8 of 0 and 1, its first pixel being column ``x``, row ``y``."""

    x: int
    y: int
    mask: NDArray[np.uint8]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    def shared(self, other: Region) -> int:
        """Return the number of pixels in both regions."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right = min(self.x + self.mask.shape[1], other.x + other.mask.shape[1])
        bottom = min(self.y + self.mask.shape[0], other.y + other.mask.shape[0])
        if right <= left or bottom <= top:
            return 0
        own = self.mask[top - self.y : bottom - self.y, left - self.x : right - self.x]
        its = other.mask[top - other.y : bottom - other.y, left - other.x : right - other.x]
        return int(np.count_nonzero(own & its))


def draw_ellipse(ellipse: FloatArray, width: int, height: int) -> Region:
    """Return the pixels of an ellipse (5,): major radius, minor radius, angle in radians, centre x and y.

    As in the official tool the centre is rounded, the radii are cut to integer pixels and the angle is rounded
    to integer degrees; pixels outside the photo of ``width`` × ``height`` do not exist.
    """
    major, minor, angle, centre_x, centre_y = ellipse.tolist()
    column, row = _pixel(centre_x), _pixel(centre_y)
    axes = (min(int(major), int(FARTHEST)), min(int(minor), int(FARTHEST)))
    # Only the part near the photo is drawn: the canvas covers the photo and the ellipse where they meet.
    reach = max(axes) + 2
    left, top = max(column - reach, 0), max(row - reach, 0)
    right, bottom = min(column + reach + 1, width), min(row + reach + 1, height)
    mask = np.zeros((max(bottom - top, 0), max(right - left, 0)), np.uint8)
    if mask.size:
        cv2.ellipse(mask, (column - left, row - top), axes, float(np.degrees(angle)), 0, 360, 1, cv2.FILLED)
    return Region(left, top, mask)


def draw_rectangle(box: FloatArray, width: int, height: int) -> Region:
    """Return the pixels of a box (4,) x1, y1, x2, y2: its corners are rounded and both belong to it.

    Pixels outside the photo of ``width`` × ``height`` do not exist.
    """
    x1, y1, x2, y2 = (_pixel(value) for value in box.tolist())
    left, top = max(x1, 0), max(y1, 0)
    right, bottom = min(x2 + 1, width), min(y2 + 1, height)
    return Region(left, top, np.ones((max(bottom - top, 0), max(right - left, 0)), np.uint8))


def region_overlaps(truth: list[Region], found: list[Region]) -> FloatArray:
    """Return the (N, M) overlaps of N regions with M others: pixels in both over pixels in either, else 0."""
    overlaps = np.zeros((len(truth), len(found)))
    areas = [region.area for region in found]
    for i, face in enumerate(truth):
        area = face.area
        for j, region in enumerate(found):
            shared = face.shared(region)
            if shared:
                overlaps[i, j] = shared / (area + areas[j] - shared)
    return overlaps


def _pixel(value: float) -> int:
    """Round as OpenCV rounds a point: through single precision, halves to the even neighbour."""
    return int(np.rint(np.clip(np.float32(value), -FARTHEST, FARTHEST)))
