"""Augmentation of a batch of crops, on the fly: shift, zoom, mirror, light, colour, blur, noise and occlusion.

Targets move with the pixels. All of it is vectorised over the batch, or over the quarters of a batch, because on two
cores the networks are small enough for a careless augmentation to cost more than the training itself.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

# Mirroring swaps the eyes and the mouth corners: left and right are as seen in the image.
MIRRORED_LANDMARKS = [1, 0, 2, 4, 3]

# Share of the crops that something covers a part of, and the least and the most of a side that it covers.
OCCLUDED, OCCLUDER = 0.2, (0.1, 0.35)


def crop_randomly(
    crops: torch.Tensor, targets: torch.Tensor, size: int, window: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops (n, 3, size, size) out of (n, side, side, 3) uint8 with a margin, each shifted, each quarter zoomed.

    ``window`` is the side in pixels of the judged window in a crop of ``size``; targets are in its units.
    """
    margin = (crops.shape[1] - size) // 2
    parts, moved = [], []
    for some, goals in zip(crops.chunk(4), targets.chunk(4), strict=True):
        zoom = int(torch.randint(-margin, margin + 1, (1,), generator=generator)) if margin else 0
        taken = size + zoom
        room = some.shape[1] - taken
        x, y = torch.randint(0, room + 1, (2, len(some)), generator=generator)
        corners = zip(some, x.tolist(), y.tolist(), strict=True)
        cut = torch.stack([crop[top : top + taken, left : left + taken] for crop, left, top in corners])
        cut = cut.permute(0, 3, 1, 2)
        if zoom:  # whole levels of grey, as in the crops that detection cuts, and eight times faster than floats
            cut = F.interpolate(cut, size=(size, size), mode="bilinear", antialias=True)
        scale = taken / size  # stored pixels for one pixel of the result
        # the window's corner in stored pixels, before and after
        before = (crops.shape[1] - window) / 2
        after = torch.stack([x, y], dim=1) + (taken - window * scale) / 2
        points = goals.reshape(-1, 7, 2)
        points = (points * window + before - after[:, None]) / (window * scale)
        parts.append(cut.float())
        moved.append(points.reshape(-1, 14))
    return torch.cat(parts), torch.cat(moved)


def mirror(crops: torch.Tensor, targets: torch.Tensor, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirrors the crops (n, 3, h, w) and targets (n, 14) where ``which`` (n,)."""
    crops = torch.where(which[:, None, None, None], crops.flip(3), crops)
    x1, y1, x2, y2 = targets[:, :4].unbind(1)
    boxes = torch.stack([1 - x2, y1, 1 - x1, y2], dim=1)
    marks = targets[:, 4:].reshape(-1, 5, 2)[:, MIRRORED_LANDMARKS]
    marks = torch.stack([1 - marks[..., 0], marks[..., 1]], dim=2).reshape(-1, 10)
    return crops, torch.where(which[:, None], torch.cat([boxes, marks], dim=1), targets)


def recolour(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random brightness, contrast and channel gains, and for some gray, a tint, blur or noise; 0..255 floats."""
    n = len(crops)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand((n, *shape, 1, 1), generator=generator)

    gains = uniform(0.6, 1.4, 1) * uniform(0.85, 1.15, 3)
    means = crops.mean(dim=(2, 3), keepdim=True)
    crops = torch.addcmul(means * (uniform(0.5, 1.4, 1) - gains), crops, gains)
    gray = torch.rand(n, generator=generator) < 0.1
    if gray.any():
        crops[gray] = crops[gray].mean(dim=1, keepdim=True)
    tinted = torch.rand(n, generator=generator) < 0.06  # stage light, old prints: one colour over everything
    if tinted.any():
        crops[tinted] = crops[tinted].mean(dim=1, keepdim=True) * uniform(0.4, 1.3, 3)[tinted]
    blurred = torch.rand(n, generator=generator) < 0.15
    if blurred.any():
        crops[blurred] = F.avg_pool2d(crops[blurred], 3, 1, 1, count_include_pad=False)
    noisy = torch.rand(n, generator=generator) < 0.15
    if noisy.any():
        crops[noisy] += torch.randn(crops[noisy].shape, generator=generator) * 8
    return crops.clamp_(0, 255)


def occlude(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Covers a rectangle of some crops (n, 3, side, side) with that part of another crop: hats, flags, shoulders."""
    n, side = len(crops), crops.shape[-1]
    which = torch.nonzero(torch.rand(n, generator=generator) < OCCLUDED)[:, 0]
    others = crops[(which + 1) % n]
    extent = OCCLUDER[0] + (OCCLUDER[1] - OCCLUDER[0]) * torch.rand((2, len(which), 1), generator=generator)
    first = torch.rand((2, len(which), 1), generator=generator) * (1 - extent)
    places = (torch.arange(side) + 0.5) / side
    rows, columns = (places >= first) & (places < first + extent)
    covered = (rows[:, :, None] & columns[:, None, :])[:, None]
    crops[which] = torch.where(covered, others, crops[which])
    return crops


def normalise(crops: torch.Tensor) -> torch.Tensor:
    """0..255 to about -1..1, as the engines do."""
    return (crops - 127.5) * 0.0078125
