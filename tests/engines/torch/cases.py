"""What the tests of the torch engine share: devices, pictures of noise, boxes of all kinds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cascade.engines.native import NativeEngine
from cascade.engines.torch.canvas import StoredPyramid, canvas_of
from cascade.engines.torch.engine import TorchEngine
from cascade.imaging.pyramid import Pyramid, level_sizes
from cascade.nn.architectures import DEFAULT

FAMILIES = ["default", "paper"]
without_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
on_every_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=without_cuda)])
for_both_families = pytest.mark.parametrize("family", FAMILIES)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Pixels (height, width, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def photo_pyramids(native: NativeEngine, other: TorchEngine) -> tuple[Pyramid, Pyramid]:
    """The pyramid of noise by each engine."""
    image = noise(120, 150)
    sizes = level_sizes(150, 120, 20, None, 12, 0.709)
    return native.pyramid(image, sizes), other.pyramid(image, sizes)


def stored(images: list[np.ndarray], scales: np.ndarray) -> StoredPyramid:
    """A pyramid of any images (height, width, 3) uint8, one after the other in a store."""
    store = torch.cat([torch.tensor(image).reshape(-1, 3) for image in images])
    parts = store.split([image.shape[0] * image.shape[1] for image in images])
    views = [part.view(image.shape) for part, image in zip(parts, images, strict=True)]
    return StoredPyramid(views, scales, store, canvas_of([], DEFAULT["pnet"]), 0)


def boxes_of_all_kinds(count: int = 60) -> np.ndarray:
    """Within, across the border and beyond it, tiny and larger than the image."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(-80, 200, (count, 2))
    sides = np.exp(rng.uniform(0, 6, (count, 1))) * rng.uniform(0.8, 1.2, (count, 2))
    return np.hstack([corners, corners + sides])


def faces_of_all_kinds(count: int = 70) -> np.ndarray:
    """Five points each (count, 5, 2), small and large, also across the border of the image."""
    rng = np.random.default_rng(1)
    return rng.uniform(-20, 150, (count, 1, 2)) + rng.uniform(5, 90, (count, 1, 1)) * rng.uniform(size=(count, 5, 2))
