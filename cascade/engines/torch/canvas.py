"""Levels of a photo side by side on one canvas, so that one dense scan of P-Net covers all of them.

For small inputs a GPU takes as long to start a kernel as to run it, so fewer and larger inputs are faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from cascade.engines.torch.networks import Runner, run
from cascade.engines.torch.resampling import at_most, resample, staged
from cascade.imaging.pyramid import PADDING_VALUE, Pyramid
from cascade.nn.architectures import Architecture

# Pixels of canvases in one strip of windows, which bounds the memory.
STRIP_PIXELS = {"cpu": 1 << 21, "cuda": 1 << 23}

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where levels lie on a canvas of ``height`` by ``width`` pixels, and to which level each window belongs.

    ``sizes`` are the widths and heights of the levels, ``corners`` row and column of the first pixel of each. Between
    levels the canvas has the padding value. ``firsts`` (levels, 2): column and row of each level's first window among
    those of the canvas. ``levels`` int16 (rows, columns): the level of each window of the canvas, -1 for a window that
    is of none: it would see parts of several, or nothing but grey.
    """

    height: int
    width: int
    sizes: tuple[Size, ...]
    corners: list[Size]
    firsts: np.ndarray
    levels: np.ndarray


@lru_cache(maxsize=4)
def layout(sizes: tuple[Size, ...], pnet: Architecture) -> Layout:
    """The layout of levels of ``sizes`` (width, height), each within P-Net's padding and on its stride."""
    stride, margin = pnet.stride, pnet.padding
    windows = [(pnet.windows(height), pnet.windows(width)) for width, height in sizes]
    places, height, width = shelves([(_extent(rows, pnet), _extent(columns, pnet)) for rows, columns in windows])
    levels = np.full([max(0, (side - pnet.input_size) // stride + 1) for side in (height, width)], -1, np.int16)
    for index, ((top, left), (rows, columns)) in enumerate(zip(places, windows, strict=True)):
        levels[top // stride :, left // stride :][:rows, :columns] = index
    firsts = np.array([(left // stride, top // stride) for top, left in places], np.int64).reshape(-1, 2)
    return Layout(height, width, sizes, [(top + margin, left + margin) for top, left in places], firsts, levels)


def shelves(sides: list[Size]) -> tuple[list[Size], int, int]:
    """Packs rectangles (height, width): each goes on the first shelf with room for it, or on a new one below.

    Returns the row and column of each, and the height and width of all. The first rectangle of a shelf sets its height,
    so the packing is tightest if the highest come first.
    """
    width = max((width for _, width in sides), default=0)
    rows: list[list[int]] = []  # row, height and used columns of each shelf
    places: list[Size] = []
    bottom = 0
    for height, columns in sides:
        shelf = next((one for one in rows if one[1] >= height and one[2] + columns <= width), None)
        if shelf is None:
            rows.append(shelf := [bottom, height, 0])
            bottom += height
        places.append((shelf[0], shelf[2]))
        shelf[2] += columns
    return places, bottom, width


def _extent(windows: int, pnet: Architecture) -> int:
    """Pixels that so many windows in a row see, or those of one if there is none: a multiple of the stride."""
    seen = max(0, windows - 1) * pnet.stride + pnet.input_size
    return -(-seen // pnet.stride) * pnet.stride


@lru_cache(maxsize=4)
def _thresholds(layout: Layout, thresholds: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """What the logit of each window of a canvas must reach, float32 (rows, columns): NaN, no number, outside levels."""
    return torch.tensor(np.array([*thresholds, np.nan], np.float32)[layout.levels], device=device)


class Canvas:
    """The canvases of photos of one size: ``pixels`` uint8 (photos, height, width, 3) on a device."""

    def __init__(self, pixels: torch.Tensor, layout: Layout, pnet: Architecture) -> None:
        self.pixels, self.layout, self.pnet = pixels, layout, pnet

    def level(self, index: int) -> torch.Tensor:
        """A level of all photos, (photos, height, width, 3): a view."""
        (top, left), (width, height) = self.layout.corners[index], self.layout.sizes[index]
        return self.pixels[:, top : top + height, left : left + width]

    def dense_scan(self, network: Runner, thresholds: Sequence[float], photos: list[int]) -> list[list[np.ndarray]]:
        """For each of these photos `cascade.engines.base.Engine.dense_scan` of each of its levels."""
        levels = len(self.layout.sizes)
        pixels = self.pixels if photos == list(range(len(self.pixels))) else self.pixels[photos]
        strips = list(self._strips(pixels, network, thresholds))
        places = np.concatenate([np.empty((0, 3), np.int64), *(places for places, _ in strips)])
        values = np.concatenate([np.empty((0, self.pnet.outputs), np.float32), *(values for _, values in strips)])
        photo, row, column = places.T
        level = self.layout.levels[row, column]
        windows = np.empty((len(places), 1 + self.pnet.outputs), np.float32)
        windows[:, :2] = np.stack([column, row], axis=1) - self.layout.firsts[level]
        windows[:, 2] = values[:, 1] - values[:, 0]
        windows[:, 3:] = values[:, 2:]
        owner = photo * levels + level
        order = np.argsort(owner, kind="stable")
        ends = np.searchsorted(owner[order], np.arange(1, len(photos) * levels))
        parts = np.split(windows[order], ends) if levels else []
        return [parts[first * levels : (first + 1) * levels] for first in range(len(photos))]

    def _strips(
        self, pixels: torch.Tensor, network: Runner, thresholds: Sequence[float]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each strip of rows the windows that pass, in order of photo, row and column.

        Yields photo, row and column (m, 3) and the outputs (m, outputs).
        """
        rows, columns = self.layout.levels.shape
        stride, field = self.pnet.stride, self.pnet.input_size
        pixels = pixels.permute(0, 3, 1, 2)
        lowest = _thresholds(self.layout, tuple(thresholds), pixels.device)
        most = at_most(STRIP_PIXELS, pixels.device)
        step = max(1, most // (len(pixels) * stride * max(1, self.layout.width)))
        for first in range(0, rows if columns else 0, step):
            last = min(first + step, rows) - 1
            strip = pixels[:, :, first * stride : last * stride + field, : (columns - 1) * stride + field]
            outputs = run(network, strip).permute(0, 2, 3, 1)
            passing = outputs[..., 1] - outputs[..., 0] >= lowest[first : last + 1]
            places = passing.nonzero()
            values = outputs[places.unbind(1)].cpu().numpy()
            yield places.cpu().numpy() + np.array((0, first, 0)), values


@dataclass(frozen=True, eq=False)
class StoredPyramid(Pyramid):
    """A pyramid whose images, (height, width, 3), are views of ``store``, uint8 pixels (n, 3) on a device.

    Its levels are those of photo number ``place`` of ``canvas``.
    """

    store: torch.Tensor
    canvas: Canvas
    place: int


def stored_pyramids(
    images: list[np.ndarray], sizes: list[list[Size]], pnet: Architecture, device: torch.device
) -> list[StoredPyramid]:
    """The pyramids of photos (height, width, 3) uint8 with levels of ``sizes`` (width, height), all in one store."""
    groups = group_equal([(image.shape[:2], tuple(some)) for image, some in zip(images, sizes, strict=True)])
    drawn = [(group, images[group[0]].shape[:2], layout(tuple(sizes[group[0]]), pnet)) for group in groups]
    counts = [
        len(group) * side * other
        for group, (height, width), one in drawn
        for side, other in ((height, width), (one.height, one.width))
    ]
    store = torch.full((sum(counts), 3), PADDING_VALUE, dtype=torch.uint8, device=device)
    parts = iter(torch.split(store, counts))
    found: dict[int, StoredPyramid] = {}
    for group, (height, width), one in drawn:
        photos = next(parts).view(len(group), height, width, 3)
        canvas = Canvas(next(parts).view(len(group), one.height, one.width, 3), one, pnet)
        for photo, index in zip(photos, group, strict=True):
            photo.copy_(staged(images[index], device), non_blocking=device.type == "cuda")
        levels = fill(canvas, photos)
        scales = np.array([(level.shape[2] / width, level.shape[1] / height) for level in levels])
        for place, index in enumerate(group):
            found[index] = StoredPyramid([level[place] for level in levels], scales, store, canvas, place)
    return [found[index] for index in range(len(images))]


def fill(canvas: Canvas, photos: torch.Tensor) -> list[torch.Tensor]:
    """Resamples photos (n, height, width, 3) onto their canvases; returns the photos and views of all levels."""
    found, level = [photos], photos.permute(0, 3, 1, 2)
    for index, (width, height) in enumerate(canvas.layout.sizes):
        level = resample(level, width, height)
        found.append(canvas.level(index))
        found[-1].copy_(level.permute(0, 2, 3, 1))
    return found


def canvas_of(levels: list[torch.Tensor], pnet: Architecture) -> Canvas:
    """A canvas with copies of levels (height, width, 3) of one photo."""
    sizes = tuple((level.shape[1], level.shape[0]) for level in levels)
    one = layout(sizes, pnet)
    device = levels[0].device if levels else torch.device("cpu")
    pixels = torch.full((1, one.height, one.width, 3), PADDING_VALUE, dtype=torch.uint8, device=device)
    canvas = Canvas(pixels, one, pnet)
    for index, level in enumerate(levels):
        canvas.level(index)[0] = level
    return canvas


def group_equal(keys: list[object]) -> list[list[int]]:
    """The indices of equal keys, one list for each key, in order of the first index."""
    found: dict[object, list[int]] = {}
    for index, key in enumerate(keys):
        found.setdefault(key, []).append(index)
    return list(found.values())
