"""The image pyramid: the photo itself and the ever smaller levels over which P-Net slides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cascade import _native

# Levels go on while the image's shorter side still covers this share of a window: faces may overhang the photo.
SMALLEST_SHARE = 0.6


@dataclass(frozen=True)
class Pyramid:
    """``images[0]`` is the photo, then the levels; ``scales`` (n, 2) float64 are their pixels over the photo's.

    The images are whatever the engine computes with: arrays, tensors on a device, or levels that are made in bands.
    """

    images: list[Any]
    scales: np.ndarray


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The whole image (h, w, 3) uint8 resampled to (height, width, 3)."""
    return _native.resample(image, (0, 0, image.shape[1], image.shape[0]), width, height)


def build_pyramid(image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
    """The pyramid of an image (height, width, 3) uint8 with levels of ``sizes`` (width, height), each from the last."""
    images = [image]
    for width, height in sizes:
        images.append(resize(images[-1], width, height))
    return with_scales(images)


def with_scales(images: list[Any]) -> Pyramid:
    """The pyramid of a photo and its levels."""
    height, width = images[0].shape[:2]
    return Pyramid(images, np.array([(i.shape[1] / width, i.shape[0] / height) for i in images]))


def level_sizes(
    width: int, height: int, min_face: float, max_face: float | None, window: float, scale_factor: float
) -> list[tuple[int, int]]:
    """Sizes (width, height) of the levels: on the first a face of ``min_face`` pixels fills P-Net's window."""
    sizes: list[tuple[int, int]] = []
    scale = window / min_face
    while min(width, height) * scale >= window * SMALLEST_SHARE:
        # a window of this level judges faces up to about one step larger than itself
        if max_face is not None and sizes and window / scale > max_face:
            break
        sizes.append((max(1, round(width * scale)), max(1, round(height * scale))))
        scale *= scale_factor
    return sizes
