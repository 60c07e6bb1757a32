"""The area that hides a face: its opacity for each pixel, from the face's box."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.anonymize.settings import Hiding
from cascade.faces import Faces

__all__ = ["Area", "area_of", "faces_of", "hidden_pixels"]

ROUNDING = 1e-3
"""What of a pixel is too little to count."""

AT_BORDER = 1.0
"""Pixels from the photo's border within which the border may have cut off the face."""

USUAL_LANDMARKS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
"""Where they are in the box of an upright face, in shares of its width and height."""

FloatArray = npt.NDArray[np.float32]


class Area(NamedTuple):
    """A rectangle of a photo, and how much of each of its pixels is hidden."""

    left: int
    top: int
    opacity: FloatArray
    """(h, w) float32: 1 within the shape, falling to 0 over the soft edge around it."""
    side: float
    """The longer side of the shape in pixels."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Its first column and row, and the ones behind its last."""
        height, width = self.opacity.shape
        return self.left, self.top, self.left + width, self.top + height


def faces_of(boxes: npt.ArrayLike) -> Faces:
    """Upright faces with these boxes (N, 4), score 1 and usual landmarks. Raises ValueError for other boxes."""
    corners = np.asarray(boxes, np.float64)
    if corners.shape == (0,):
        return Faces.empty()
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ValueError(f"faces: expected Faces or boxes of shape (N, 4), got shape {corners.shape}")
    sides = corners[:, None, 2:] - corners[:, None, :2]
    return Faces(corners, np.ones(len(corners)), corners[:, None, :2] + USUAL_LANDMARKS * sides)


def area_of(box: npt.ArrayLike, width: int, height: int, hiding: Hiding) -> Area | None:
    """The area that hides a face with this box (4,) in a photo of that size in pixels; None where it is outside.

    Where the box reaches the photo's border the shape does too, over its full width or height: the face goes on there.
    """
    x1, y1, x2, y2 = (float(side) for side in np.asarray(box, np.float64))
    centre = (x1 + x2) / 2, (y1 + y2) / 2
    shape, margin = hiding.outline
    half = tuple(max((0.5 + margin) * side + hiding.padding, 0.5) for side in (x2 - x1, y2 - y1))
    edge = max(hiding.feather * min(x2 - x1, y2 - y1), 1e-6)
    left, right = _span(centre[0], half[0] + edge, width)
    top, bottom = _span(centre[1], half[1] + edge, height)
    if left >= right or top >= bottom:
        return None
    across = _distances(np.arange(left, right) + 0.5 - centre[0], x1 <= AT_BORDER, x2 >= width - AT_BORDER)
    down = _distances(np.arange(top, bottom) + 0.5 - centre[1], y1 <= AT_BORDER, y2 >= height - AT_BORDER)[:, None]
    if shape == "box":
        outside = np.maximum(np.abs(across) - half[0], np.abs(down) - half[1])
    else:
        outside = (np.hypot(across / half[0], down / half[1]) - 1) * min(half)
    return Area(left, top, np.clip(1 - outside / edge, 0, 1).astype(np.float32), 2 * max(half))


def hidden_pixels(boxes: npt.ArrayLike, width: int, height: int, hiding: Hiding) -> npt.NDArray[np.bool_]:
    """Which pixels (height, width) of a photo are fully hidden where its faces have these boxes (n, 4)."""
    hidden = np.zeros((height, width), bool)
    for box in np.asarray(boxes, np.float64).reshape(-1, 4):
        area = area_of(box, width, height, hiding)
        if area is not None:
            left, top, right, bottom = area.box
            hidden[top:bottom, left:right] |= area.opacity >= 1
    return hidden


def _span(centre: float, half: float, length: int) -> tuple[int, int]:
    """The first pixel that an interval touches, and the one behind its last, of those of a photo's side."""
    limits = np.clip([np.floor(centre - half + ROUNDING), np.ceil(centre + half - ROUNDING)], 0, length)
    return int(limits[0]), int(limits[1])


def _distances(offsets: npt.NDArray[np.floating], low: bool, high: bool) -> npt.NDArray[np.floating]:
    """Distances from the centre; 0 towards a border that may have cut off the face."""
    cut = (offsets < 0) & low | (offsets > 0) & high
    return np.where(cut, 0.0, offsets)
