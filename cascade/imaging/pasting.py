"""Crops of faces that are changed and put back into the photo they came from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cascade.imaging.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE, align
from cascade.imaging.reading import RGBImage

__all__ = ["LOWER_TEMPLATE", "SHIFT", "mirrored_crops"]

SHIFT = 14
"""Rows by which crops of `LOWER_TEMPLATE` lie lower than those of `ARCFACE_TEMPLATE`, at 112 pixels a side."""

LOWER_TEMPLATE: npt.NDArray[np.float64] = ARCFACE_TEMPLATE - (0, SHIFT)
"""The five points in a crop of 112×112 pixels that shows a face from above the brows to below the chin."""
LOWER_TEMPLATE.flags.writeable = False

MOST_PADDING = 512  # pixels of mirrored photo around it


def mirrored_crops(image: RGBImage, landmarks: npt.NDArray[np.floating], size: int = TEMPLATE_SIZE) -> RGBImage:
    """Crops (n, size, size, 3) aligned by `LOWER_TEMPLATE`; what lies outside the image is its mirror image.

    ``landmarks`` (n, 5, 2) are in pixels of the image. Raises `AlignError` for points that no crop can be aligned by.
    """
    height, width = image.shape[:2]
    padding = min(MOST_PADDING, height - 1, width - 1)
    around = ((padding, padding), (padding, padding), (0, 0))
    return align(np.pad(image, around, mode="reflect"), np.asarray(landmarks) + padding, size, LOWER_TEMPLATE)
