"""The image pyramid: the photo and the ever smaller levels that P-Net scans."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from cascade import _native
from cascade.imaging.strips import all_rows, is_streamed

# The value of pixels outside an image, as in csrc.
PADDING_VALUE = 128

# The shorter side of the smallest level covers at least this share of a window: faces may reach beyond the photo.
SMALLEST_SHARE = 0.6

# From this share of the photo's shorter side on a window holds a close-up. Twice as many levels from there on cost next
# to nothing, and P-Net has few windows in which to find a face that fills the photo.
CLOSE_UP_SHARE = 0.5


@dataclass(frozen=True)
class Pyramid:
    """``images[0]`` is the photo, then come the levels; ``scales`` (n, 2) float64 are their pixels over the photo's.

    The kind of images depends on the engine: arrays, tensors on a device, or `cascade.imaging.strips.LazyLevel`.
    """

    images: list[Any]
    scales: np.ndarray

    @cached_property
    def sources(self) -> tuple[list[Any], np.ndarray]:
        """See `crop_sources`."""
        larger = sum(max(scale) >= 1.0 for scale in self.scales[1:].tolist())
        sources = [self.images[0], *self.images[1 + larger :]]
        scales = np.delete(self.scales, slice(1, 1 + larger), axis=0) if larger else self.scales
        return [image if is_streamed(image) else all_rows(image) for image in sources], scales


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image (h, w, 3) uint8 resampled to (height, width, 3)."""
    return _native.resample(image, (0, 0, image.shape[1], image.shape[0]), width, height)


def build_pyramid(image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
    """The pyramid of an image (height, width, 3) uint8; each level of ``sizes`` (width, height) from the one before."""
    images = [image]
    for width, height in sizes:
        images.append(resize(images[-1], width, height))
    return with_scales(images)


def with_scales(images: list[Any]) -> Pyramid:
    """The pyramid of a photo and its levels."""
    height, width = images[0].shape[:2]
    return Pyramid(images, np.array([(i.shape[1] / width, i.shape[0] / height) for i in images]))


def crop_sources(pyramid: Pyramid) -> tuple[list[Any], np.ndarray]:
    """The images that crops are cut from, and their scales: the photo and every level smaller than it, largest first.

    Streamed levels are returned as they are, all others with all of their rows.
    """
    return pyramid.sources


def level_sizes(
    width: int, height: int, min_face: float, max_face: float | None, window: float, scale_factor: float
) -> list[tuple[int, int]]:
    """Sizes (width, height) of the levels. On the first, a face of ``min_face`` pixels fills P-Net's window.

    Each is ``scale_factor`` times the one before, or its square root from CLOSE_UP_SHARE on.
    """
    return list(_level_sizes(width, height, min_face, max_face, window, scale_factor))


@lru_cache(maxsize=64)  # most photos of a series have one size
def _level_sizes(
    width: int, height: int, min_face: float, max_face: float | None, window: float, scale_factor: float
) -> tuple[tuple[int, int], ...]:
    sizes: list[tuple[int, int]] = []
    scale = window / min_face
    while min(width, height) * scale >= window * SMALLEST_SHARE:
        # windows of this level find faces up to about one step larger than themselves
        if max_face is not None and sizes and window / scale > max_face:
            break
        sizes.append((max(1, round(width * scale)), max(1, round(height * scale))))
        close_up = window / scale >= CLOSE_UP_SHARE * min(width, height)
        scale *= math.sqrt(scale_factor) if close_up else scale_factor
    return tuple(sizes)
