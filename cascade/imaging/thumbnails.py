"""Small square pictures of faces with their surroundings, for pages to look at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from cascade.imaging.pixels import RGBImage

__all__ = ["SIDE", "face_square"]

SIDE = 128  # pixels of a picture
AROUND = 0.6  # of the face's longer side, shown on each side of it


def face_square(image: RGBImage, box: npt.ArrayLike, side: int = SIDE, around: float = AROUND) -> RGBImage:
    """The face with this box (4,) in an image (H, W, 3) uint8 RGB, in (side, side, 3), black outside the image.

    ``around``: how much of its surroundings is shown on each side, over its longer side.
    """
    x1, y1, x2, y2 = (float(edge) for edge in np.asarray(box, np.float64))
    half = (0.5 + around) * max(x2 - x1, y2 - y1, 1)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    corners = tuple(round(each) for each in (x - half, y - half, x + half, y + half))
    return _cut(image, corners, side)


def _cut(image: RGBImage, corners: tuple[int, ...], size: int) -> RGBImage:
    """A square of the image in that size, black outside the image."""
    left, top = max(corners[0], 0), max(corners[1], 0)
    right, bottom = min(corners[2], image.shape[1]), min(corners[3], image.shape[0])
    side = max(corners[2] - corners[0], 1)
    square = Image.new("RGB", (size, size))
    if left < right and top < bottom:
        scale = size / side
        new = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
        part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
        place = round((left - corners[0]) * scale), round((top - corners[1]) * scale)
        square.paste(part.resize(new, Image.Resampling.BILINEAR, reducing_gap=2.0), place)
    return np.asarray(square)
