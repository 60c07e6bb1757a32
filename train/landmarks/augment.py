"""Augmentation of crops with their points: as if the five points they are aligned by were a little wrong, and more."""

from __future__ import annotations

import torch
from torch.nn import functional

from cascade.imaging.alignment import TEMPLATE_SIZE
from cascade.landmarks import MIRRORED
from train.landmarks.pack import STORED
from train.recognition.augment import blur, cover, recolour

ANGLE, ZOOM, SHIFT = 0.30, 0.16, 0.08  # largest: radians, share of the scale, share of the side
SMALL = 0.35  # of these, in half of the crops: what the second pass of `LandmarkEstimator` sees
OCCLUSIONS = 2  # tries at covering a part


def augment(
    crops: torch.Tensor, points: torch.Tensor, side: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 3, 176, 176) crops in 0..255 and points (n, 68, 2) in their pixels → (n, 3, side, side), points in shares."""
    n = len(crops)
    size = torch.where(_random(generator, n) < 0.5, SMALL, 1.0)
    angle = _uniform(n, ANGLE, generator) * size
    scale = torch.exp(_uniform(n, ZOOM, generator) * size)
    shift = torch.stack([_uniform(n, SHIFT, generator) * size for _ in range(2)], 1)
    mirrored = _random(generator, n) < 0.5
    found, moved = moved_crops(crops, points, side, angle, scale, shift, mirrored)
    found = blur(recolour(found, generator), generator)
    for _ in range(OCCLUSIONS):
        found = cover(found, generator)
    return found, moved


def moved_crops(
    crops: torch.Tensor,
    points: torch.Tensor,
    side: int,
    angle: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    mirrored: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The middle of each crop, rotated by the angle (n,), enlarged by the scale (n,) and shifted (n, 2) in shares."""
    flip = torch.where(mirrored, -1.0, 1.0)
    middle = STORED / 2
    cosine, sine = torch.cos(angle), torch.sin(angle)
    # from shares of the new crop to shares of the stored one, both from −1 to 1: the inverse of what is done to points
    k = TEMPLATE_SIZE / STORED / scale
    across = torch.stack([flip * k * cosine, flip * k * sine], 1)
    down = torch.stack([-k * sine, k * cosine], 1)
    linear = torch.stack([across, down], 1)
    offset = -(linear @ (2 * shift)[:, :, None])
    grid = functional.affine_grid(torch.cat([linear, offset], 2), [len(crops), 3, side, side], align_corners=False)
    found = functional.grid_sample(crops, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    centred = (points - middle) / (TEMPLATE_SIZE / 2)  # −1 to 1 in the crop of the template
    centred = centred * torch.stack([flip, torch.ones_like(flip)], 1)[:, None]
    rotation = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1) * scale[:, None, None]
    moved = centred @ rotation.transpose(1, 2) + 2 * shift[:, None]
    swapped = moved[:, torch.from_numpy(MIRRORED.copy())]
    moved = torch.where(mirrored[:, None, None], swapped, moved)
    return found, (moved + 1) / 2


def _random(generator: torch.Generator, n: int) -> torch.Tensor:
    return torch.rand(n, generator=generator)


def _uniform(n: int, size: float, generator: torch.Generator) -> torch.Tensor:
    return (2 * _random(generator, n) - 1) * size
