"""The exposures at which a photo is searched: as it is, in an ordinary tonal range, or both."""

from __future__ import annotations

from functools import reduce

import numpy as np

from cascade import _native
from cascade.imaging.reading import RGBImage

BLOCK = 3
"""Samples on a side of the blocks that are looked at; two blocks make up the smallest face."""

NEARLY_BLACK, NEARLY_WHITE = 8, 247
"""Values beyond which a channel shows nothing that black or white would not show."""

LOST_SHARE = 0.75
"""Share of a block's samples that become black or white, from which on the block counts as lost."""


def exposures(image: RGBImage, min_face: float) -> tuple[RGBImage, ...]:
    """The images (H, W, 3) uint8 RGB to search in place of a photo, for faces from ``min_face`` pixels on.

    A photo of an ordinary tonal range is the only one, the very same array. A dark, pale or colour-cast photo is
    stretched to an ordinary range (`cascade._native.auto_exposure`). If the stretch turns some part of it black or
    white, such as the only lit face of a night photo, the photo as it is comes second.
    """
    stretched = _native.auto_exposure(image)
    if stretched is image:
        return (image,)
    return (stretched, image) if _loses_part(image, stretched, min_face) else (stretched,)


def _loses_part(image: RGBImage, stretched: RGBImage, min_face: float) -> bool:
    """Whether most of some block of half the smallest face turns black or white in some channel."""
    step = max(1, int(min_face / (2 * BLOCK)))
    height, width = (-(-side // step) // BLOCK * BLOCK for side in image.shape[:2])
    lost = np.zeros((height, width), np.uint8)
    for channel in range(3):
        before, after = (each[::step, ::step, channel][:height, :width] for each in (image, stretched))
        lost |= ((after == 0) | (after == 255)) & (before > NEARLY_BLACK) & (before < NEARLY_WHITE)
    rows = reduce(np.add, (lost[row::BLOCK] for row in range(BLOCK)))
    counts = reduce(np.add, (rows[:, column::BLOCK] for column in range(BLOCK)))
    return bool((counts >= LOST_SHARE * BLOCK**2).any())
