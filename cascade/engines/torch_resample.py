"""Pyramid levels and crops in torch, to the byte those of ``csrc/resample.c`` and ``csrc/warp.c``.

Where pixels come from and their weights are worked out on the CPU in the same double arithmetic as in C; the sums are
of integers, so no device and no precision setting can change them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from cascade import _native
from cascade.engines.native import crop_sources
from cascade.pyramid import Pyramid

# As in csrc: what lies outside an image, bits of the fixed-point filter weights, the limit of coordinates.
OUTSIDE, WEIGHT_BITS, FARTHEST = 128, 14, 1 << 20
# As in csrc: bits of the fixed-point maps of turned crops and of their blending weights.
MAP_BITS, PART_BITS = 32, 8

# What bounds the memory: values gathered for one chunk of crops.
CHUNK_VALUES = 1 << 22


def upload(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy of an array on the device. One for a GPU goes through page-locked memory, and nothing waits for it."""
    if device.type != "cuda":
        return torch.tensor(array, device=device)
    staged = _page_locked(array.shape, torch.from_numpy(np.empty(0, array.dtype)).dtype)
    staged.numpy()[...] = array
    return staged.to(device, non_blocking=True)


def _page_locked(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Host memory that a GPU reads by itself; torch keeps it for later calls, and as long as a copy is under way."""
    return torch.empty(shape, dtype=dtype, pin_memory=True)


# --------------------------------------------------------------------------------------------------
# Filters


@dataclass(frozen=True)
class Taps:
    """n axes of ``size`` output pixels each: source pixels and their weights (n, size, taps), and whether the
    output pixel's centre is in the source (n, size)."""

    pixels: np.ndarray
    weights: np.ndarray
    inside: np.ndarray


def triangle_taps(start: np.ndarray, extent: np.ndarray, source: np.ndarray, size: int) -> Taps:
    """Triangle filters over [start, start + extent) of axes of ``source`` pixels, each argument (n,)."""
    start, extent, source = (np.asarray(a, np.float64)[:, None] for a in (start, extent, source))
    scale = extent / size
    support = np.maximum(scale, 1.0)
    centre = start + (np.arange(size) + 0.5) * scale
    inside = (centre >= 0.0) & (centre < source)
    low = np.maximum(np.floor(centre - support - 0.5) + 1.0, 0.0)
    high = np.minimum(np.ceil(centre + support - 0.5) - 1.0, source - 1.0)
    count = np.where(inside, high - low + 1.0, 0.0)

    steps = np.arange(max(1, int(count.max(initial=0.0))))
    pixels = low[..., None] + steps
    used = steps < count[..., None]
    shares = np.where(used, support[..., None] - np.abs(pixels + 0.5 - centre[..., None]), 0.0)
    totals = np.cumsum(shares, axis=2)[..., -1:]  # added from left to right, as in C
    weights = np.floor(shares * ((1 << WEIGHT_BITS) / np.where(inside[..., None], totals, 1.0)) + 0.5)
    # the largest weight, the first of equals, takes up what rounding left
    largest = weights.argmax(axis=2)[..., None]
    rest = np.where(inside[..., None], (1 << WEIGHT_BITS) - weights.sum(axis=2, keepdims=True), 0.0)
    np.put_along_axis(weights, largest, np.take_along_axis(weights, largest, 2) + rest, 2)
    pixels = np.clip(pixels, 0.0, source[..., None] - 1.0)
    return Taps(pixels.astype(np.int64), weights.astype(np.int32), inside)


def _round(sums: torch.Tensor) -> torch.Tensor:
    """Fixed-point sums (int32) to uint8."""
    return ((sums + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS).to(torch.uint8)


# --------------------------------------------------------------------------------------------------
# Levels


def resample(images: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """The whole of uint8 images (..., h, w, 3) resampled to (..., height, width, 3): vertically, then horizontally."""
    for axis, size in ((-3, height), (-2, width)):
        pixels, weights = _level_taps(images.shape[axis], size, images.device)
        # a column of weights beside each row's or each pixel's other axes
        weights = weights.reshape(-1, size, *(1,) * (-1 - axis))
        sums = torch.zeros((), dtype=torch.int32, device=images.device)
        for source, weight in zip(pixels, weights, strict=True):
            sums = sums + weight * images.index_select(axis, source)
        images = _round(sums)
    return images


@lru_cache(maxsize=64)
def _level_taps(source: int, size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Source pixels and weights (taps, size) of one axis; kept, since frames of a video are all of one size."""
    taps = triangle_taps(np.zeros(1), np.array([source]), np.array([source]), size)
    # not by `upload`: whoever takes them from the cache need not compute on the stream that copied them
    pixels, weights = (torch.tensor(a[0].T.copy(), device=device) for a in (taps.pixels, taps.weights))
    return pixels, weights


# --------------------------------------------------------------------------------------------------
# Crops


class _Sources:
    """All that crops of some pyramids are cut from as one list of pixels, so that one gather serves them all.

    ``pixels`` (total, 3) uint8; each image (n,) its ``widths``, ``heights`` and the index of its first pixel,
    ``starts``; for each pyramid the ``scales`` (images, 2) of its images, and in ``firsts`` the index of the first.
    """

    def __init__(self, pyramids: list[Pyramid]) -> None:
        images: list[torch.Tensor] = []
        self.scales: list[np.ndarray] = []
        self.firsts: list[int] = []
        for pyramid in pyramids:
            some, scales = crop_sources(pyramid)
            self.firsts.append(len(images))
            self.scales.append(scales)
            images += some
        self.pixels = torch.cat([image.reshape(-1, 3) for image in images])
        self.heights, self.widths = np.array([image.shape[:2] for image in images]).T
        self.starts = np.cumsum([0, *(self.heights * self.widths)[:-1]])


def cut(pyramids: list[Pyramid], boxes: list[np.ndarray], size: int) -> Iterator[torch.Tensor]:
    """What `_native.cut` makes of each pyramid's boxes (n, 4) in pixels of its photo, in chunks (m, size, size, 3).

    One after the other, whichever chunks they fall into. Raises ValueError for boxes that cannot be cut.
    """
    sources = _Sources(pyramids)
    found = [_place_boxes(scales, some, size) for scales, some in zip(sources.scales, boxes, strict=True)]
    chosen = np.concatenate([first + levels for first, (levels, _) in zip(sources.firsts, found, strict=True)])
    placed = np.concatenate([edges for _, edges in found])
    extents = placed[:, 2:] - placed[:, :2]
    taps = 2 * extents.max(initial=float(size)) / size
    step = max(1, int(CHUNK_VALUES / (size * size * 3 * taps)))
    for first in range(0, len(placed), step):
        some = slice(first, first + step)
        level = chosen[some]
        across = triangle_taps(placed[some, 0], extents[some, 0], sources.widths[level], size)
        down = triangle_taps(placed[some, 1], extents[some, 1], sources.heights[level], size)
        yield _gather(sources.pixels, sources.starts[level], sources.widths[level], across, down)


def _place_boxes(scales: np.ndarray, boxes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For boxes (n, 4) in pixels of the photo the level to cut each from (n,), and its edges there (n, 4)."""
    levels = _native.choose_levels(scales, boxes, size)
    placed = _native.snap(boxes) * np.tile(scales, 2)[levels]
    if not ((np.abs(placed) < FARTHEST).all() and (placed[:, 2:] > placed[:, :2]).all()):
        raise ValueError(f"boxes: expected finite x1 < x2 and y1 < y2 within {FARTHEST} pixels")
    return levels, placed


def _gather(store: torch.Tensor, starts: np.ndarray, widths: np.ndarray, across: Taps, down: Taps) -> torch.Tensor:
    """Crops (n, size, size, 3) of images that start at pixels ``starts`` of the store, ``widths`` wide."""
    rows = upload(starts[:, None, None] + down.pixels * widths[:, None, None], store.device)
    columns, row_weights, column_weights = (
        upload(a, store.device) for a in (across.pixels, down.weights, across.weights)
    )
    # (crop, output row, column and tap of the horizontal pass, colour)
    shape = (len(rows), rows.shape[1], *columns.shape[1:], 3)
    sums = torch.zeros(shape, dtype=torch.int32, device=store.device)
    for k in range(rows.shape[2]):
        pixels = store[rows[:, :, None, None, k] + columns[:, None]]
        sums += row_weights[:, :, None, None, None, k] * pixels
    blended = _round(sums)
    crops = _round((column_weights[:, None, ..., None] * blended).sum(dim=3, dtype=torch.int32))
    inside = upload(down.inside[:, :, None] & across.inside[:, None, :], store.device)
    return torch.where(inside[..., None], crops, OUTSIDE)


# --------------------------------------------------------------------------------------------------
# Turned crops


def warp(pyramids: list[Pyramid], matrices: list[np.ndarray], size: int) -> Iterator[torch.Tensor]:
    """What `_native.warp` makes of each pyramid's maps (n, 2, 3) from its photo to the crop, as `cut` does of boxes."""
    sources = _Sources(pyramids)
    found = [_place_maps(scales, some, size) for scales, some in zip(sources.scales, matrices, strict=True)]
    chosen = np.concatenate([first + levels for first, (levels, _) in zip(sources.firsts, found, strict=True)])
    maps = np.concatenate([fixed for _, fixed in found])
    shapes = np.stack([sources.starts, sources.widths, sources.heights], axis=1)[chosen]
    step = max(1, CHUNK_VALUES // (size * size * 3 * 4))
    for first in range(0, len(maps), step):
        some = slice(first, first + step)
        yield _blend(
            sources.pixels, upload(shapes[some], sources.pixels.device), upload(maps[some], sources.pixels.device), size
        )


def _place_maps(scales: np.ndarray, matrices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For maps (n, 2, 3) the level to take each crop from (n,), and the maps from the crop's pixels to that level in
    fixed point (n, 2, 3) int64."""
    (a, b, shift_x), (c, d, shift_y) = np.moveaxis(np.asarray(matrices, np.float64), 0, -1)
    with np.errstate(all="ignore"):
        determinant = a * d - b * c
        fits = scales.min(axis=1)[None] >= np.sqrt(np.abs(determinant))[:, None]
        fits[:, 0] = True
        levels = fits.shape[1] - 1 - np.argmax(fits[:, ::-1], axis=1)
        back = np.stack([d, -b, -c, a], axis=1).reshape(-1, 2, 2) / determinant[:, None, None]
        back = back * scales[levels][:, :, None]
        start = back[:, :, 0] * (0.5 - shift_x)[:, None] + back[:, :, 1] * (0.5 - shift_y)[:, None]
        reach = np.abs(start) + (np.abs(back[:, :, 0]) + np.abs(back[:, :, 1])) * size
    if not (reach < FARTHEST).all():
        raise ValueError(f"matrices: expected maps of a crop to within {FARTHEST} pixels")
    maps = np.concatenate([back, start[:, :, None]], axis=2)
    return levels, np.rint(np.ldexp(maps, MAP_BITS)).astype(np.int64)


def _blend(store: torch.Tensor, shapes: torch.Tensor, maps: torch.Tensor, size: int) -> torch.Tensor:
    """Turned crops (n, size, size, 3) of images in the store, ``shapes`` (n, 3) their first pixel, width and height."""
    steps = torch.arange(size, device=store.device)
    x, y = (
        axis[:, 2, None, None] + axis[:, 1, None, None] * steps[:, None] + axis[:, 0, None, None] * steps
        for axis in maps.unbind(1)
    )
    starts, widths, heights = (side[:, None, None] for side in shapes.unbind(1))
    left, right, across = _neighbours(x, widths)
    top, bottom, down = _neighbours(y, heights)
    upper, lower = (
        store[starts + row * widths + left] * ((1 << PART_BITS) - across)
        + store[starts + row * widths + right] * across
        for row in (top, bottom)
    )
    blended = upper * ((1 << PART_BITS) - down) + lower * down
    crops = ((blended + (1 << (2 * PART_BITS - 1))) >> (2 * PART_BITS)).to(torch.uint8)
    inside = (x >= 0) & (x < widths << MAP_BITS) & (y >= 0) & (y < heights << MAP_BITS)
    return torch.where(inside[..., None], crops, OUTSIDE)


def _neighbours(positions: torch.Tensor, sides: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The two neighbours of fixed-point positions along axes of ``sides`` pixels, and the share of the second, int32
    with an axis for the colours. Positions outside get any pixel inside."""
    centred = positions - (1 << (MAP_BITS - 1))  # pixel 0 has its centre at a half
    pixels, last = centred >> MAP_BITS, sides - 1
    shares = (centred >> (MAP_BITS - PART_BITS)) & ((1 << PART_BITS) - 1)
    first, second = (torch.minimum(p.clamp(min=0), last) for p in (pixels, pixels + 1))
    return first, second, shares.to(torch.int32)[..., None]
