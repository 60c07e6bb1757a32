"""Changes to aligned crops that leave person and age the same; all drawn from one generator."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

SHIFT, ZOOM, TURN = 0.03, 0.08, 0.08  # largest: share of the side, share of the scale, radians
GRAY, BLUR, BORDER, COVER = 0.10, 0.15, 0.10, 0.08  # share of the crops that are changed so
BRIGHTNESS, CONTRAST, COLOUR = 0.15, 0.20, 0.10
LOWEST = 20  # pixels a side that a blurred crop is left with, at least


def augment(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(n, 3, side, side) float in 0..255 → the same, mirrored, moved, recoloured, blurred and partly covered."""
    crops = _move(crops, generator)
    crops = _recolour(crops, generator)
    crops = _blur(crops, generator)
    return _cover(crops, generator)


def _uniform(count: int, size: float, generator: torch.Generator) -> torch.Tensor:
    return (2 * torch.rand(count, generator=generator) - 1) * size


def _move(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Half of them mirrored; all turned, scaled and shifted a little, as landmarks that are a little wrong would."""
    n = len(crops)
    angle = _uniform(n, TURN, generator)
    scale = 1 + _uniform(n, ZOOM, generator)
    mirrored = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    shift = [2 * _uniform(n, SHIFT, generator) for _ in range(2)]
    rows = [torch.stack([mirrored * cosine, -sine, shift[0]], 1), torch.stack([mirrored * sine, cosine, shift[1]], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(crops.shape), align_corners=False)
    return functional.grid_sample(crops, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _recolour(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    n = len(crops)
    gray = crops.mean(1, keepdim=True)
    crops = torch.where((torch.rand(n, generator=generator) < GRAY)[:, None, None, None], gray, crops)
    contrast = 1 + _uniform(n, CONTRAST, generator)
    colour = 1 + _uniform(3 * n, COLOUR, generator).reshape(n, 3)
    gain = (contrast[:, None] * colour)[:, :, None, None]
    offset = (255 * _uniform(n, BRIGHTNESS, generator))[:, None, None, None]
    return ((crops - 127.5) * gain + 127.5 + offset).clamp(0, 255)


def _blur(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Some in fewer pixels, in place: what faces far away, and old scans, look like."""
    side = crops.shape[2]
    for index in torch.nonzero(torch.rand(len(crops), generator=generator) < BLUR).flatten().tolist():
        small = round(math.exp(float(torch.empty(1).uniform_(math.log(LOWEST), math.log(side), generator=generator))))
        shrunk = functional.interpolate(crops[index : index + 1], (small, small), mode="area")
        crops[index] = functional.interpolate(shrunk, (side, side), mode="bilinear", align_corners=False)[0]
    return crops


def _cover(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Some with a black border, as crops at an image's edge have; some with a gray rectangle over a part."""
    side = crops.shape[2]
    chance = torch.rand(2, len(crops), generator=generator)
    for index in torch.nonzero(chance[0] < BORDER).flatten().tolist():
        left, top, right, bottom = (torch.rand(4, generator=generator) ** 2 * 0.2 * side).long().tolist()
        inner = crops[index, :, top : side - bottom, left : side - right].clone()
        crops[index] = 0
        crops[index, :, top : side - bottom, left : side - right] = inner
    for index in torch.nonzero(chance[1] < COVER).flatten().tolist():
        sides = (side * (0.1 + 0.3 * torch.rand(2, generator=generator))).long().tolist()
        y, x = (int(torch.randint(0, side - s, (1,), generator=generator)) for s in sides)
        gray = 255 * float(torch.rand(1, generator=generator))
        crops[index, :, y : y + sides[0], x : x + sides[1]] = gray
    return crops
