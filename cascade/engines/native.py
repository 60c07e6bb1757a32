"""The native engine: all arithmetic in C, over a few threads, without the GIL."""

from __future__ import annotations

from itertools import compress, pairwise
from typing import Any, Literal

import numpy as np

from cascade import _native
from cascade.architectures import Stage
from cascade.engines.bands import (
    KeptLevel,
    Level,
    in_bands,
    levels_in_bands,
    levels_when_wanted,
    step_count,
    steps,
    whole,
)
from cascade.engines.making import Image, Making
from cascade.engines.workers import Workers
from cascade.pyramid import Pyramid, build_pyramid, with_scales
from cascade.quantized import quantized_layers
from cascade.weights import DetectorWeights

# Work is dealt out in pieces of this size; results do not depend on it.
ROWS_PER_PIECE = 96
CROPS_PER_PIECE = 64
# The same for a band of a level, which has but a few such pieces.
BAND_ROWS_PER_PIECE = 24
# Pixels of a band of a pyramid level; a thread that makes fewer is not worth waking.
SMALLEST_BAND = 16_384
# Rows and crops of a piece where several threads share the work.
SHARED_ROWS_PER_PIECE, SHARED_CROPS_PER_PIECE = 48, 16


class NativeEngine:
    """Runs a set of weights in C. Safe to share between threads; workspaces are lent to one call at a time.

    The larger levels of a large photo are made and searched in bands: see `cascade.engines.bands`.
    """

    def __init__(
        self,
        weights: DetectorWeights,
        threads: int = 1,
        level: str | None = None,
        precision: Literal["float32", "int8"] = "float32",
    ) -> None:
        if precision not in ("float32", "int8"):
            raise ValueError(f"precision: expected 'float32' or 'int8', got {precision!r}")
        self.weights = weights
        self.precision = precision
        self.threads = threads
        self.level = level or _native.default_level()
        self._networks = {
            stage: _native.Network(
                quantized_layers(network) if precision == "int8" else network.layers(),
                network.architecture.input_size,
                self.level,
            )
            for stage, network in weights.stages.items()
        }
        self.workers = Workers(threads)

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """See `cascade.engines.Engine.pyramid`."""
        # several threads make most levels while they search others
        wanted = levels_in_bands if self.threads == 1 else levels_when_wanted
        levels = wanted(image, sizes, self._make_rows)
        return with_scales([image, *levels]) if levels else build_pyramid(image, sizes, self._resize)

    def _resize(self, image: np.ndarray, width: int, height: int) -> np.ndarray:
        level = np.empty((height, width, 3), np.uint8)
        self._make_rows(image, 0, image.shape[0], level.shape, level, 0)
        return level

    def _make_rows(
        self, image: np.ndarray, top: int, image_height: int, shape: tuple[int, ...], target: np.ndarray, first: int
    ) -> None:
        """See `cascade.engines.bands.Make`; in parts for the threads if it is worth their while."""
        box, (height, width) = (0, 0, image.shape[1], image_height), shape[:2]
        parts = self.threads if width * len(target) >= SMALLEST_BAND * self.threads else 1
        rows = -(-len(target) // parts)

        def part(start: int, workspace: _native.Workspace) -> None:
            some = target[start : start + rows]
            _native.resample(image, box, width, height, workspace, self.level, some, first + start, top, image_height)

        self.workers.map(part, range(0, len(target), rows))

    def slide(self, level: Any, threshold: float) -> np.ndarray:
        """See `cascade.engines.Engine.slide`."""
        return self.slide_all([level], threshold)[0]

    def slide_all(self, levels: list[Any], threshold: float) -> list[np.ndarray]:
        """See `cascade.engines.Engine.slide_all`."""
        bands = [level for level in levels if in_bands(level)]
        rest = [level for level in levels if not in_bands(level)]
        kept = next((level for level in rest if isinstance(level, KeptLevel)), None)
        found = iter(self._slide_bands(bands, kept, threshold) if bands else [])
        others = iter(self._slide_whole(rest, threshold))
        return [next(found if in_bands(level) else others) for level in levels]

    def _slide_whole(self, levels: list[Image], threshold: float) -> list[np.ndarray]:
        """Making the smaller levels and searching strips of all are one list of work, so no thread waits for long."""
        network, padding = self._networks["pnet"], self.weights["pnet"].architecture.padding
        making = Making(levels, self.threads)
        rows_per_piece = ROWS_PER_PIECE if self.threads == 1 else SHARED_ROWS_PER_PIECE

        def search(place: tuple[int, int] | None, workspace: _native.Workspace) -> np.ndarray | None:
            if place is None:  # the first item: another kind of work
                making.finish()
                return None
            level = making.level(place[0])
            return network.slide(level, padding, threshold, workspace, place[1], rows_per_piece)

        making.begin()
        strips: list[tuple[int, int]] = []
        for index, level in enumerate(levels):
            rows = network.grid(level.shape[1], level.shape[0], padding)[0]
            strips += [(index, first) for first in range(0, rows, rows_per_piece)]
        parts = [part for part in self.workers.map(search, [None, *strips]) if part is not None]
        found: list[list[np.ndarray]] = [[] for _ in levels]
        for (index, _), part in zip(strips, parts, strict=True):
            found[index].append(part)
        return [self._joined(parts, network.outputs + 1) for parts in found]

    @staticmethod
    def _joined(parts: list[np.ndarray], width: int) -> np.ndarray:
        """Arrays (n, width), one below the other."""
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, width), np.float32), *parts])

    def _slide_bands(self, levels: list[Level], after: KeptLevel | None, threshold: float) -> list[np.ndarray]:
        """Down the photo, a band of each level at a time; ``after``, made of the last of them, is made on the way."""
        network, padding = self._networks["pnet"], self.weights["pnet"].architecture.padding

        def strip(place: tuple[int, np.ndarray, int, int, int], workspace: _native.Workspace) -> np.ndarray:
            index, band, top, row, rows = place
            return network.slide(band, padding, threshold, workspace, row, rows, top, levels[index].shape[0])

        found: list[list[np.ndarray]] = [[] for _ in levels]
        for share, end in steps(levels, after):
            strips: list[tuple[int, np.ndarray, int, int, int]] = []
            for index in reversed(range(len(levels))):
                height, width = levels[index].shape[:2]
                rows, columns, stride, field = network.grid(width, height, padding)
                first, last = round(rows * share), round(rows * end)
                if columns and first < last:
                    top = max(0, first * stride - padding)
                    band = levels[index].rows(top, min(height, (last - 1) * stride - padding + field))
                    pieces = range(first, last, BAND_ROWS_PER_PIECE)
                    strips += [(index, band, top, row, min(BAND_ROWS_PER_PIECE, last - row)) for row in pieces]
            for place, part in zip(strips, self.workers.map(strip, strips), strict=True):
                found[place[0]].append(part)
        return [self._joined(parts, network.outputs + 1) for parts in found]

    def judge(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """See `cascade.engines.Engine.judge`."""
        return self._judge(stage, pyramid, boxes)

    def judge_turned(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """See `cascade.engines.Engine.judge_turned`."""
        return self._judge(stage, pyramid, matrices)

    def _judge(self, stage: Stage, pyramid: Pyramid, places: np.ndarray) -> np.ndarray:
        network = self._networks[stage]
        images, scales = crop_sources(pyramid)
        if any(in_bands(image) for image in images):
            return self._judge_bands(network, images, scales, places, step_count(*pyramid.images[1].shape[:2]))
        crops = _native.Crops(images, scales, places, network.input_size)
        return self._judge_crops(network, crops, 0, len(crops))

    def _judge_bands(
        self, network: _native.Network, images: list[Any], scales: np.ndarray, places: np.ndarray, count: int
    ) -> np.ndarray:
        """Down the photo in ``count`` steps: the crops from bands, by step and level, then all others together."""
        known = [image.shape[:2] if in_bands(image) else image for image in images]
        bands, heights = np.array([in_bands(image) for image in images]), np.array([image.shape[0] for image in images])
        level, first, _ = _native.Crops(known, scales, places, network.input_size).reads.T
        step = np.where(bands[level], first * count // heights[level], count)
        group = np.where(bands[level], step * len(images) - level, count * len(images))
        order = np.argsort(group, kind="stable")
        crops = _native.Crops(known, scales, places[order], network.input_size)
        reads, found = crops.reads, np.empty((len(order), network.outputs), np.float32)
        ends = [*(np.flatnonzero(np.diff(group[order])) + 1).tolist(), len(order)]
        for begin, end in pairwise([0, *ends] if len(order) else []):
            k, top, bottom = int(reads[begin, 0]), int(reads[begin:end, 1].min()), int(reads[begin:end, 2].max())
            if bands[k]:
                crops.give(k, images[k].rows(top, bottom), top)
            found[order[begin:end]] = self._judge_crops(network, crops, begin, end)
        return found

    def _judge_crops(self, network: _native.Network, crops: _native.Crops, first: int, end: int) -> np.ndarray:
        """Outputs on crops [first, end)."""

        def piece(part: tuple[int, int], workspace: _native.Workspace) -> np.ndarray:
            return network.judge(crops, workspace, part[0], part[1] - part[0])

        found = self.workers.map(piece, self._pieces(first, end))
        return self._joined(found, network.outputs)

    def _pieces(self, first: int, end: int) -> list[tuple[int, int]]:
        """Crops [first, end) in pieces; for several threads many small ones, in the end one for each thread."""
        if self.threads == 1:
            return [(begin, min(end, begin + CROPS_PER_PIECE)) for begin in range(first, end, CROPS_PER_PIECE)]
        last = end - (end - first) % SHARED_CROPS_PER_PIECE
        share = max(1, -(-(end - last) // self.threads))
        begins = [*range(first, last, SHARED_CROPS_PER_PIECE), *range(last, end, share)]
        return list(pairwise([*begins, end])) if begins else []


def crop_sources(pyramid: Pyramid) -> tuple[list[Any], np.ndarray]:
    """What crops are cut from: the photo and every level smaller than it, largest first; as a whole unless in bands."""
    keep = pyramid.scales.max(axis=1) < 1.0
    keep[0] = True
    images = [image if in_bands(image) else whole(image) for image in compress(pyramid.images, keep)]
    return images, pyramid.scales[keep]
