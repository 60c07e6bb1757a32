"""Augmentation of aligned crops that leaves person and age the same; all drawn from one generator, on its device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from train.common.warping import warp_crops

SHIFT, ZOOM, ANGLE = 0.03, 0.08, 0.08  # largest: share of the side, share of the scale, radians
GRAY, BLUR, BORDER, COVER = 0.10, 0.15, 0.10, 0.08  # share of the crops that are changed so
BRIGHTNESS, CONTRAST, COLOUR = 0.15, 0.20, 0.10
BLURRED = (20, 28, 40, 56, 80)  # pixels a side that a blurred crop is left with
LARGEST_BORDER = 0.2  # of the side, on each of the four
COVERED = (0.1, 0.4)  # smallest and largest side of the gray rectangle


def augment(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(n, 3, side, side) float in 0..255 → the same, mirrored, moved, recoloured, blurred and partly covered."""
    crops = _move(crops, generator)
    crops = recolour(crops, generator)
    crops = blur(crops, generator)
    return cover(crops, generator)


def augment_pixels(crops: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """The same for crops (n, side, side, 3) of whole numbers, by what a seed draws."""
    inputs = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    changed = augment(inputs, torch.Generator().manual_seed(seed)).round().clamp(0, 255).byte()
    found: NDArray[np.uint8] = changed.permute(0, 2, 3, 1).contiguous().numpy()
    return found


def _random(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """Numbers from 0 to 1."""
    return torch.rand(shape, generator=generator, device=generator.device)


def _uniform(count: int, size: float, generator: torch.Generator) -> torch.Tensor:
    return (2 * _random(generator, count) - 1) * size


def _move(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Half of them mirrored; all rotated, scaled and shifted a little, as by landmarks that are a little wrong."""
    n = len(crops)
    angle = _uniform(n, ANGLE, generator)
    scale = 1 + _uniform(n, ZOOM, generator)
    mirrored = _random(generator, n) < 0.5
    shift = _uniform(n, SHIFT, generator), _uniform(n, SHIFT, generator)
    return warp_crops(crops, angle, scale, shift, mirrored, "border")


def recolour(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Of other brightness, contrast and tint; some gray."""
    n = len(crops)
    gray = crops.mean(1, keepdim=True)
    crops = torch.where((_random(generator, n) < GRAY)[:, None, None, None], gray, crops)
    contrast = 1 + _uniform(n, CONTRAST, generator)
    colour = 1 + _uniform(3 * n, COLOUR, generator).reshape(n, 3)
    gain = (contrast[:, None] * colour)[:, :, None, None]
    offset = (255 * _uniform(n, BRIGHTNESS, generator))[:, None, None, None]
    return ((crops - 127.5) * gain + 127.5 + offset).clamp(0, 255)


def blur(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Some in fewer pixels, in place: what faces far away, and old scans, look like."""
    n, side = len(crops), crops.shape[2]
    level = torch.randint(len(BLURRED), (n,), generator=generator, device=generator.device)
    level[_random(generator, n) >= BLUR] = -1
    for number, small in enumerate(BLURRED):
        which = torch.nonzero(level == number).flatten()
        if len(which) and small < side:
            shrunk = functional.interpolate(crops[which], (small, small), mode="area")
            crops[which] = functional.interpolate(shrunk, (side, side), mode="bilinear", align_corners=False)
    return crops


def cover(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Some with a black border, as crops at an image's edge have; some with a gray rectangle over a part."""
    n = len(crops)
    chance = _random(generator, 2, n)
    widths = LARGEST_BORDER * _random(generator, 4, n) ** 2 * (chance[0] < BORDER)
    seen = _rectangle(widths[:2], 1 - widths[2:], crops.shape[2])
    crops = torch.where(seen, crops, 0.0)
    extent = (COVERED[0] + (COVERED[1] - COVERED[0]) * _random(generator, 2, n)) * (chance[1] < COVER)
    first = _random(generator, 2, n) * (1 - extent)
    gray = 255 * _random(generator, n)[:, None, None, None]
    return torch.where(_rectangle(first, first + extent, crops.shape[2]), gray, crops)


def _rectangle(first: torch.Tensor, last: torch.Tensor, side: int) -> torch.Tensor:
    """(n, 1, side, side) bool: where pixel centres lie between (2, n) shares of the side across and down."""
    places = (torch.arange(side, device=first.device) + 0.5) / side
    columns, rows = (places >= first[:, :, None]) & (places < last[:, :, None])
    inside: torch.Tensor = rows[:, :, None] & columns[:, None, :]
    return inside[:, None]
