"""Augmentation of a batch of crops, on the fly: shift, zoom, mirror, colour, light, blur, noise and occlusion.

Targets that are points move with the pixels. All of it is vectorised over the batch, or over the quarters of a batch:
the networks are so small that on two cores a careless augmentation would cost more than the training itself. On a GPU,
where waiting for an answer costs more than the work, nothing depends on what the numbers are. The generator is on the
device of the crops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import torch
from torch.nn import functional as F

from cascade.faces import MIRRORED_LANDMARKS
from train.detection.labels import POINT_COLUMNS

# What picks some crops out of a batch.
Rows = torch.Tensor | slice

# Takes crops (n, 3, h, w) of 0..255 and a generator, and distorts all of them.
Distortion = Callable[[torch.Tensor, torch.Generator], torch.Tensor]

# Share of the crops that something covers a part of, and the least and the most of a side that it covers.
OCCLUDED, OCCLUDER = 0.2, (0.1, 0.35)


def crop_randomly(
    crops: torch.Tensor, targets: torch.Tensor, size: int, window: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops (n, 3, size, size) out of (n, side, side, 3) uint8 with a margin, each shifted and zoomed.

    ``window`` is the side in pixels of the window in the middle of a crop of ``size``; targets are in its units. On the
    CPU the crops of each quarter are zoomed alike, which is faster; on a GPU each has a zoom of its own.
    """
    cut_some, pieces = (_cut_alike, 4) if crops.device.type == "cpu" else (_cut_each, 1)
    parts, moved = [], []
    for some, goals in zip(crops.chunk(pieces), targets.chunk(pieces), strict=True):
        cut, corners, taken = cut_some(some, size, generator)
        scale = taken / size  # stored pixels for one pixel of the result
        # the window's corner in stored pixels, before and after
        before = (crops.shape[1] - window) / 2
        after = corners + (taken - window * scale) / 2
        points = goals[:, :POINT_COLUMNS].reshape(len(goals), -1, 2)
        points = (points * window + before - after) / (window * scale)
        parts.append(cut)
        moved.append(torch.cat([points.reshape(-1, POINT_COLUMNS), goals[:, POINT_COLUMNS:]], dim=1))
    return torch.cat(parts), torch.cat(moved)


def _cut_alike(crops: torch.Tensor, size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Squares of one side, each from a place of its own: cuts (n, 3, size, size), corners (n, 1, 2), the side."""
    margin = (crops.shape[1] - size) // 2
    zoom = int(torch.randint(-margin, margin + 1, (1,), generator=generator)) if margin else 0
    taken = size + zoom
    room = crops.shape[1] - taken
    corners = torch.randint(0, room + 1, (2, len(crops)), generator=generator).T[:, None]
    return cut_slices(crops, corners, taken, size), corners, taken


def _cut_each(
    crops: torch.Tensor, size: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Squares, each of a side and from a place of its own: cuts, corners (n, 1, 2) and sides (n, 1, 1)."""
    count, side = crops.shape[:2]
    margin, device = (side - size) // 2, generator.device
    taken = size + torch.randint(-margin, margin + 1, (count, 1, 1), generator=generator, device=device)
    # the range differs from crop to crop, and is so much smaller than 2^30 that all of it is as good as equally likely
    corners = torch.randint(0, 1 << 30, (count, 1, 2), generator=generator, device=device) % (side - taken + 1)
    return cut_weighted(crops, corners, taken, size), corners, taken


def cut_slices(crops: torch.Tensor, corners: torch.Tensor, taken: int, size: int) -> torch.Tensor:
    """Cuts (n, 3, size, size) of squares of ``taken`` pixels with their upper left corners at ``corners`` (n, 1, 2)."""
    places = zip(crops, *corners[:, 0].T.tolist(), strict=True)
    cut = torch.stack([crop[top : top + taken, left : left + taken] for crop, left, top in places])
    cut = cut.permute(0, 3, 1, 2)
    if taken != size:  # on uint8, as detection cuts its crops, and eight times faster than on floats
        cut = F.interpolate(cut, size=(size, size), mode="bilinear", antialias=True)
    return cut.float()


def cut_weighted(crops: torch.Tensor, corners: torch.Tensor, taken: torch.Tensor, size: int) -> torch.Tensor:
    """The same cuts, but for rounding, with sides ``taken`` (n, 1, 1): products with the weights of the pixels.

    A few products for the complete batch, where slices would start kernels for each crop and wait for every number.
    """
    count, side = crops.shape[:2]
    columns, rows = (_weights(corners[:, :, axis, None], taken, size, side) for axis in (0, 1))
    cut = (rows @ crops.float().reshape(count, side, side * 3)).reshape(count, size, side, 3)
    cut = cut.permute(0, 3, 1, 2).reshape(count, 3 * size, side) @ columns.mT
    return cut.reshape(count, 3, size, size).round_()


def _weights(first: torch.Tensor, taken: torch.Tensor, size: int, side: int) -> torch.Tensor:
    """Weights (n, size, side) of the stored pixels in each pixel of a cut along one axis: triangles, as antialiasing.

    The cut takes the ``taken`` pixels (n, 1, 1) from ``first`` (n, 1, 1) on.
    """
    scale = taken / size
    centres = first + scale * (torch.arange(size, device=taken.device) + 0.5)[:, None]
    places = torch.arange(side, device=taken.device) + 0.5
    weights = (1 - (places - centres).abs() / scale.clamp(min=1)).clamp_(min=0)
    weights = weights * ((places > first) & (places < first + taken))
    return weights / weights.sum(2, keepdim=True)


def mirror(crops: torch.Tensor, targets: torch.Tensor, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirrors the crops (n, 3, h, w) and the points among the targets (n, columns) where ``which`` (n,)."""
    crops = torch.where(which[:, None, None, None], crops.flip(3), crops)
    x1, y1, x2, y2 = targets[:, :4].unbind(1)
    boxes = torch.stack([1 - x2, y1, 1 - x1, y2], dim=1)
    before = targets[:, 4:POINT_COLUMNS].reshape(-1, 5, 2)
    marks = torch.stack([before[:, number] for number in MIRRORED_LANDMARKS], dim=1)
    marks = torch.stack([1 - marks[..., 0], marks[..., 1]], dim=2).reshape(-1, 10)
    mirrored = torch.cat([boxes, marks, targets[:, POINT_COLUMNS:]], dim=1)
    return crops, torch.where(which[:, None], mirrored, targets)


def recolour(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random brightness, contrast and channel gains, and for some photometric distortion, gray, a tint, blur or noise.

    Crops (n, 3, h, w) are floats of 0..255 before and after.
    """
    n, device = len(crops), generator.device

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand((n, *shape, 1, 1), generator=generator, device=device)

    def chosen(share: float) -> torch.Tensor:
        return torch.rand(n, generator=generator, device=device) < share

    def tinted(some: torch.Tensor, rows: Rows) -> torch.Tensor:
        return some.mean(dim=1, keepdim=True) * uniform(0.4, 1.3, 3)[rows]

    def noisy(some: torch.Tensor, _: Rows) -> torch.Tensor:
        return some + torch.randn(some.shape, generator=generator, device=device) * 8

    gains = uniform(0.6, 1.4, 1) * uniform(0.85, 1.15, 3)
    means = crops.mean(dim=(2, 3), keepdim=True)
    crops = torch.addcmul(means * (uniform(0.5, 1.4, 1) - gains), crops, gains)
    crops = photometric_distortion(crops.clamp_(0, 255), generator)
    crops = _change(crops, chosen(0.1), lambda some, _: some.mean(dim=1, keepdim=True))
    crops = _change(crops, chosen(0.06), tinted)  # stage light, old prints: one colour over everything
    crops = _change(crops, chosen(0.15), lambda some, _: F.avg_pool2d(some, 3, 1, 1, count_include_pad=False))
    return _change(crops, chosen(0.15), noisy).clamp_(0, 255)


# Orders of red, green and blue. Blue first is what reading a file the wrong way round gives, so it is here twice.
CHANNEL_ORDERS = ((2, 1, 0), (2, 1, 0), (1, 0, 2), (0, 2, 1), (1, 2, 0), (2, 0, 1))


def photometric_distortion(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Applies `DISTORTIONS` to some crops (n, 3, h, w) of 0..255, in place or not, at most one to each."""
    draw = torch.rand(len(crops), generator=generator, device=generator.device)
    first = 0.0
    for share, change in DISTORTIONS:
        chosen = (draw >= first) & (draw < first + share)
        crops = _change(crops, chosen, partial(_distorted, change=change, generator=generator))
        first += share
    return crops


def _distorted(some: torch.Tensor, _: Rows, change: Distortion, generator: torch.Generator) -> torch.Tensor:
    return change(some, generator).clamp(0, 255)


def _draw(some: torch.Tensor, low: float, high: float, generator: torch.Generator, channels: int = 1) -> torch.Tensor:
    """A number for each crop, or for each of its channels: (n, channels, 1, 1)."""
    return low + (high - low) * torch.rand((len(some), channels, 1, 1), generator=generator, device=generator.device)


def swap_channels(some: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Other orders of the channels: shapes tell a face, whatever its colour."""
    drawn = torch.randint(len(CHANNEL_ORDERS), (len(some),), generator=generator, device=generator.device)
    return torch.take_along_dim(some, _channel_orders(generator.device)[drawn][:, :, None, None], dim=1)


@cache
def _channel_orders(device: torch.device) -> torch.Tensor:
    """On the device once: bringing them there again would let the CPU wait for it."""
    return torch.tensor(CHANNEL_ORDERS, device=device)


def colour_light(some: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Coloured light, down to a quarter of a channel: sodium lamps, screens, stages."""
    return some * torch.exp(_draw(some, -1.4, 0.35, generator, channels=3))


def low_light(some: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A few levels of grey and noise, as at night; for three of four brightened again, as cameras and editors do."""
    factor = torch.exp(_draw(some, -2.8, -0.5, generator))
    noise = torch.randn(some.shape, generator=generator, device=generator.device) * _draw(some, 0.0, 1.5, generator)
    levels = (some * factor + noise).clamp(min=0).round()
    return torch.where(_draw(some, 0.0, 1.0, generator) < 0.75, levels / factor, levels)


def low_contrast(some: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Low contrast on any level: fog, haze, dirty lenses, light from behind."""
    return some * _draw(some, 0.15, 0.6, generator) + _draw(some, 0.0, 110.0, generator)


def overexpose(some: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Light that runs into white: flashes, sunlight."""
    return some * _draw(some, 1.3, 2.8, generator)


def gamma(some: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A gamma of 0.4 to 2.5: other transfer curves, and what editors do to shadows."""
    return 255 * (some / 255 + 1e-4) ** torch.exp(_draw(some, -0.9, 0.9, generator))


def shade_half(some: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A shadow with a straight edge in any direction, near the middle: light from a side."""
    side = some.shape[-1]
    places = torch.arange(side, device=generator.device) / side - 0.5
    angle = _draw(some, 0.0, 2 * math.pi, generator)
    across = torch.cos(angle) * places + torch.sin(angle) * places[:, None] - _draw(some, -0.3, 0.3, generator)
    return torch.where(across > 0, some * _draw(some, 0.1, 0.6, generator), some)


# Distortions and the shares of the crops that get them; the other 43 % stay as they are.
DISTORTIONS: tuple[tuple[float, Distortion], ...] = (
    (0.12, swap_channels),
    (0.08, colour_light),
    (0.07, low_light),
    (0.07, low_contrast),
    (0.10, overexpose),
    (0.07, gamma),
    (0.06, shade_half),
)


def _change(
    crops: torch.Tensor, which: torch.Tensor, change: Callable[[torch.Tensor, Rows], torch.Tensor]
) -> torch.Tensor:
    """The crops, in place or not, with ``change(crops, rows)`` for those where ``which`` (n,)."""
    if crops.device.type != "cpu":  # it changes all of them sooner than the CPU would be told which ones to change
        return torch.where(which[:, None, None, None], change(crops, slice(None)), crops)
    if which.any():
        crops[which] = change(crops[which], which)
    return crops


def occlude(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Covers a rectangle of some crops (n, 3, side, side) with that part of a random other crop: hats, shoulders."""
    n, side, device = len(crops), crops.shape[-1], generator.device
    chosen = torch.rand(n, generator=generator, device=device) < OCCLUDED
    # on a GPU every crop gets a rectangle, as the CPU would have to wait for the indices
    which = torch.nonzero(chosen)[:, 0] if device.type == "cpu" else torch.arange(n, device=device)
    # never the crop itself
    others = crops[(which + torch.randint(1, max(n, 2), which.shape, generator=generator, device=device)) % n]
    draws = [torch.rand((2, len(which), 1), generator=generator, device=device) for _ in range(2)]
    extent = OCCLUDER[0] + (OCCLUDER[1] - OCCLUDER[0]) * draws[0]
    first = draws[1] * (1 - extent)
    places = (torch.arange(side, device=device) + 0.5) / side
    rows, columns = (places >= first) & (places < first + extent) & chosen[which, None]
    covered = (rows[:, :, None] & columns[:, None, :])[:, None]
    crops[which] = torch.where(covered, others, crops[which])
    return crops


def normalise(crops: torch.Tensor) -> torch.Tensor:
    """0..255 to about -1..1, as the engines do."""
    return (crops - 127.5) * 0.0078125
