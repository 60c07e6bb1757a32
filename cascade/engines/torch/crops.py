"""Crops in torch, byte for byte those of the native core.

Their positions are computed on the CPU, and all sums are sums of integers, so every device gives the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from cascade import _native
from cascade.engines.torch.canvas import StoredPyramid
from cascade.engines.torch.resampling import WEIGHT_BITS, at_most, upload
from cascade.imaging.pyramid import PADDING_VALUE, crop_sources

# As in csrc: the limit of coordinates, bits of the fixed-point transforms of aligned crops and of blending weights.
MAX_COORDINATE, TRANSFORM_BITS, FRACTION_BITS = 1 << 20, 32, 8

# The result of `_native.triangle_taps`: source pixels and weights (n, size, taps), and whether inside (n, size).
Taps = tuple[np.ndarray, np.ndarray, np.ndarray]

# Values gathered at a time, which bounds the memory.
CHUNK_VALUES = {"cpu": 1 << 22, "cuda": 1 << 25}


class _Sources:
    """The images of several pyramids as one list of pixels, so that one gather cuts crops from all of them.

    ``pixels`` (total, 3) uint8. For each image (n,): ``widths``, ``heights``, ``starts``, the index of its first pixel,
    and ``pitches``, the pixels from one row to the next. For each pyramid: ``scales`` (images, 2) of its images, and
    ``firsts``, the index of its first image.
    """

    def __init__(self, pyramids: Sequence[StoredPyramid]) -> None:
        images: list[torch.Tensor] = []
        offsets: list[int] = []
        stores: dict[int, tuple[int, torch.Tensor]] = {}
        self.scales: list[np.ndarray] = []
        self.firsts: list[int] = []
        pixels = 0
        for pyramid in pyramids:
            some, scales = crop_sources(pyramid)
            self.firsts.append(len(images))
            self.scales.append(scales)
            images += some
            offset, _ = stores.setdefault(id(pyramid.store), (pixels, pyramid.store))
            pixels = max(pixels, offset + len(pyramid.store))
            offsets += [offset] * len(some)
        several = [store for _, store in stores.values()]
        self.pixels = several[0] if len(several) == 1 else torch.cat(several)
        shapes = [(*image.shape, image.stride(0), image.storage_offset()) for image in images]
        self.heights, self.widths, _, pitches, starts = np.array(shapes).T
        self.pitches, self.starts = pitches // 3, starts // 3 + offsets

    def chosen(self, levels: Sequence[np.ndarray]) -> np.ndarray:
        """The image that each crop is cut from, for its level among the images of its pyramid."""
        return np.concatenate([first + some for first, some in zip(self.firsts, levels, strict=True)])


def cut(pyramids: Sequence[StoredPyramid], boxes: list[np.ndarray], size: int) -> Iterator[torch.Tensor]:
    """`_native.cut` of each pyramid's boxes (n, 4) in pixels of its photo, in order, in chunks (m, size, size, 3).

    Raises ValueError for boxes that cannot be cut.
    """
    sources = _Sources(pyramids)
    pairs = zip(sources.scales, boxes, strict=True)
    chosen = sources.chosen([_native.choose_levels(scales, some, size) for scales, some in pairs])
    placed = _place_boxes(np.concatenate(sources.scales)[chosen], np.concatenate(boxes))
    extents = placed[:, 2:] - placed[:, :2]
    taps = int(np.ceil(2 * extents.max(initial=float(size)) / size)) + 1
    step = max(1, at_most(CHUNK_VALUES, sources.pixels.device) // (size * size * 3 * taps))
    for first in range(0, len(placed), step):
        some = slice(first, first + step)
        level = chosen[some]
        across = _native.triangle_taps(placed[some, 0], extents[some, 0], sources.widths[level], size)
        down = _native.triangle_taps(placed[some, 1], extents[some, 1], sources.heights[level], size)
        yield _gather(sources.pixels, sources.starts[level], sources.pitches[level], across, down)


def _place_boxes(scales: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The edges (n, 4) in levels of ``scales`` (n, 2) of boxes (n, 4) in pixels of their photos."""
    placed: np.ndarray = (_native.snap(boxes).reshape(-1, 2, 2) * scales[:, None]).reshape(-1, 4)
    if not ((np.abs(placed) < MAX_COORDINATE).all() and (placed[:, 2:] > placed[:, :2]).all()):
        raise ValueError(f"boxes: expected finite x1 < x2 and y1 < y2 within {MAX_COORDINATE} pixels")
    return placed


def _gather(store: torch.Tensor, starts: np.ndarray, pitches: np.ndarray, across: Taps, down: Taps) -> torch.Tensor:
    """Crops (n, size, size, 3) of images that start at pixels ``starts`` of the store, with rows ``pitches`` apart."""
    lines = starts[:, None, None] + down[0] * pitches[:, None, None]
    rows, row_weights, row_inside, columns, column_weights, column_inside = upload_together(
        [lines, *down[1:], *across], store.device
    )
    row_weights, column_weights = row_weights.int(), column_weights.int()
    most = max(1, at_most(CHUNK_VALUES, store.device) // (3 * columns.numel() * rows.shape[1]))
    sums = torch.zeros((), dtype=torch.int32, device=store.device)
    for first in range(0, rows.shape[2], most):
        some = slice(first, first + most)
        # (crop, output row, some of its taps, output column, its taps, colour)
        pixels = store[rows[:, :, some, None, None] + columns[:, None, None]]
        sums = sums + (pixels * row_weights[:, :, some, None, None, None]).sum(2, dtype=torch.int32)
    crops = _rounded((_rounded(sums) * column_weights[:, None, :, :, None]).sum(3, dtype=torch.int32)).to(torch.uint8)
    inside = row_inside[:, :, None] * column_inside[:, None]
    return crops.masked_fill_(inside[..., None] == 0, PADDING_VALUE)


def _rounded(sums: torch.Tensor) -> torch.Tensor:
    """Fixed-point sums int32, rounded to integers in place."""
    return sums.add_(1 << (WEIGHT_BITS - 1)).bitwise_right_shift_(WEIGHT_BITS)


def upload_together(arrays: list[np.ndarray], device: torch.device) -> list[torch.Tensor]:
    """Copies of integer arrays on the device, all int64, in one transfer."""
    uploaded = upload(np.concatenate([array.ravel() for array in arrays]).astype(np.int64, copy=False), device)
    parts = torch.split(uploaded, [array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]


def warp(pyramids: Sequence[StoredPyramid], matrices: list[np.ndarray], size: int) -> Iterator[torch.Tensor]:
    """`_native.warp` of each pyramid's transforms (n, 2, 3) from its photo to the crop, in chunks as `cut`."""
    sources = _Sources(pyramids)
    pairs = zip(sources.scales, matrices, strict=True)
    levels, placed = zip(*(_place_transforms(scales, some, size) for scales, some in pairs), strict=True)
    chosen, inverse = sources.chosen(levels), np.concatenate(placed)
    shapes = np.stack([sources.widths, sources.heights, sources.starts, sources.pitches], axis=1)[chosen]
    step = max(1, at_most(CHUNK_VALUES, sources.pixels.device) // (size * size * 3 * 4))
    for first in range(0, len(inverse), step):
        some = slice(first, first + step)
        some_shapes, some_inverse = upload_together([shapes[some], inverse[some]], sources.pixels.device)
        yield _blend(sources.pixels, some_shapes, some_inverse, size)


def _place_transforms(scales: np.ndarray, matrices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The level of each crop (n,), and the inverse of ``matrices`` (n, 2, 3), from crop to level, in fixed point."""
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
    if not (reach < MAX_COORDINATE).all():
        raise ValueError(f"matrices: expected transforms of a crop to within {MAX_COORDINATE} pixels")
    inverse = np.concatenate([back, start[:, :, None]], axis=2)
    return levels, np.rint(np.ldexp(inverse, TRANSFORM_BITS)).astype(np.int64)


def _blend(store: torch.Tensor, shapes: torch.Tensor, inverse: torch.Tensor, size: int) -> torch.Tensor:
    """Aligned crops (n, size, size, 3) of images in the store.

    ``shapes`` (n, 4): width and height of the image, the index of its first pixel, the pixels from one row to the next.
    ``inverse`` (n, 2, 3): fixed-point transforms from the crop to the image.
    """
    steps = torch.arange(size, device=store.device)
    # x and y of each pixel of a crop in its image: (n, 2, size, size)
    across, down, start = (inverse[:, :, term, None, None] for term in range(3))
    positions = start + down * steps[:, None] + across * steps
    sides = shapes[:, :2, None, None]
    centred = positions - (1 << (TRANSFORM_BITS - 1))  # pixel 0 has its centre at a half
    shares = ((centred >> (TRANSFORM_BITS - FRACTION_BITS)) & ((1 << FRACTION_BITS) - 1)).to(torch.int32)
    pixels = centred >> TRANSFORM_BITS
    # the two neighbours of each position along each axis, any pixel inside for one outside: (n, 2, 2, size, size)
    pairs = torch.minimum(torch.stack([pixels, pixels + 1], dim=2).clamp_(min=0), sides[:, :, None] - 1)
    weights = torch.stack([(1 << FRACTION_BITS) - shares, shares], dim=2)
    first, pitch = shapes[:, 2:, None, None, None, None].unbind(1)
    # four neighbours: (n, rows, columns, size, size, colours)
    around = store[first + pairs[:, 1, :, None] * pitch + pairs[:, 0, None]]
    blended = around * (weights[:, 1, :, None] * weights[:, 0, None])[..., None]
    sums = blended.sum((1, 2), dtype=torch.int32).add_(1 << (2 * FRACTION_BITS - 1))
    crops = sums.bitwise_right_shift_(2 * FRACTION_BITS).to(torch.uint8)
    inside = ((positions >= 0) & (positions < sides << TRANSFORM_BITS)).all(dim=1)
    return crops.masked_fill_(~inside[..., None], PADDING_VALUE)
