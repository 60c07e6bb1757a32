"""The native engine: all arithmetic in C, over a few threads, without the GIL."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np

from cascade import _native
from cascade.engines.strips import (
    CachedLevel,
    Level,
    is_streamed,
    levels_when_wanted,
    step_count,
    steps,
    whole,
)
from cascade.engines.threads import Threads
from cascade.imaging.pyramid import Pyramid, with_scales
from cascade.models.detector import DetectorWeights
from cascade.nn.architectures import Stage
from cascade.nn.quantization import quantized_layers

Image = np.ndarray | CachedLevel


class NativeEngine:
    """Runs a set of weights in C. Safe to share between threads: its own are lent to one call at a time.

    The larger levels of a large photo are made and searched in bands: see `cascade.engines.strips`.
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
        self.level = level or _native.default_simd_level()
        self._networks = {
            stage: _native.Network(
                quantized_layers(network) if precision == "int8" else network.layers(),
                network.architecture.input_size,
                self.level,
            )
            for stage, network in weights.stages.items()
        }
        self.workers = Threads(threads)

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """See `cascade.engines.base.Engine.pyramid`."""
        self.workers.pool.wake()
        # made when P-Net is slid over them, by all threads
        return with_scales([image, *levels_when_wanted(image, sizes, self._make_rows)])

    def _make_rows(
        self, image: np.ndarray, top: int, image_height: int, shape: tuple[int, ...], target: np.ndarray, first: int
    ) -> None:
        """See `cascade.engines.strips.Make`."""
        box, (height, width) = (0, 0, image.shape[1], image_height), shape[:2]
        pool = self.workers.pool
        _native.resample(image, box, width, height, pool, self.level, target, first, top, image_height)

    def dense_scan(self, level: Any, threshold: float) -> np.ndarray:
        """See `cascade.engines.base.Engine.dense_scan`."""
        return self.dense_scan_levels([level], threshold)[0]

    def dense_scan_levels(self, levels: list[Any], threshold: float) -> list[np.ndarray]:
        """See `cascade.engines.base.Engine.dense_scan_levels`."""
        bands = [level for level in levels if is_streamed(level)]
        rest = [level for level in levels if not is_streamed(level)]
        kept = next((level for level in rest if isinstance(level, CachedLevel)), None)
        found = iter(self._slide_bands(bands, kept, threshold) if bands else [])
        others = iter(self._slide_whole(rest, threshold))
        return [next(found if is_streamed(level) else others) for level in levels]

    def _slide_whole(self, levels: list[Image], threshold: float) -> list[np.ndarray]:
        """Making levels and searching all of them are one list of work, so that no thread waits for long."""
        network, padding = self._networks["pnet"], self.weights["pnet"].architecture.padding
        unmade = _unmade(levels)
        ready = len(levels) - len(unmade)
        images = [*(whole(level) for level in levels[:ready]), *(level.pixels for level in unmade)]
        source = unmade[0].source if unmade and not ready else None
        photo = source if isinstance(source, np.ndarray) else None
        found = network.dense_scan_levels(images, padding, threshold, self.workers.pool, photo, ready)
        for level in unmade:
            level.made = len(level.pixels)
        return found

    def _slide_bands(self, levels: list[Level], after: CachedLevel | None, threshold: float) -> list[np.ndarray]:
        """Down the photo, a band of each level at a time; ``after``, made of the last of them, is made on the way."""
        network, padding = self._networks["pnet"], self.weights["pnet"].architecture.padding
        found: list[list[np.ndarray]] = [[] for _ in levels]
        for share, end in steps(levels, after):
            strips: dict[int, tuple[np.ndarray, int, int, int, int]] = {}
            for index in reversed(range(len(levels))):
                height, width = levels[index].shape[:2]
                rows, columns, stride, field = network.grid(width, height, padding)
                first, last = round(rows * share), round(rows * end)
                if columns and first < last:
                    top = max(0, first * stride - padding)
                    band = levels[index].rows(top, min(height, (last - 1) * stride - padding + field))
                    strips[index] = (band, first, last - first, top, height)
            parts = network.dense_scan_levels(list(strips.values()), padding, threshold, self.workers.pool)
            for index, part in zip(strips, parts, strict=True):
                found[index].append(part)
        return [np.concatenate([np.empty((0, network.outputs + 1), np.float32), *parts]) for parts in found]

    def classify_crops(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """See `cascade.engines.base.Engine.classify_crops`."""
        return self._judge(stage, pyramid, boxes)

    def classify_aligned_crops(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """See `cascade.engines.base.Engine.classify_aligned_crops`."""
        return self._judge(stage, pyramid, matrices)

    def _judge(self, stage: Stage, pyramid: Pyramid, places: np.ndarray) -> np.ndarray:
        network = self._networks[stage]
        images, scales = crop_sources(pyramid)
        if any(is_streamed(image) for image in images):
            return self._judge_bands(network, images, scales, places, step_count(*pyramid.images[1].shape[:2]))
        crops = _native.Crops(images, scales, places, network.input_size)
        return network.classify_crops(crops, self.workers.pool)

    def _judge_bands(
        self, network: _native.Network, images: list[Any], scales: np.ndarray, places: np.ndarray, count: int
    ) -> np.ndarray:
        """Down the photo in ``count`` steps: the crops from bands, by step and level, then all others together."""
        known = [image.shape[:2] if is_streamed(image) else image for image in images]
        bands, heights = np.array([is_streamed(image) for image in images]), np.array([image.shape[0] for image in images])
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
            found[order[begin:end]] = network.classify_crops(crops, self.workers.pool, begin, end - begin)
        return found


def crop_sources(pyramid: Pyramid) -> tuple[list[Any], np.ndarray]:
    """What crops are cut from: the photo and every level smaller than it, largest first; as a whole unless in bands."""
    larger = sum(max(scale) >= 1.0 for scale in pyramid.scales[1:].tolist())
    kept = [pyramid.images[0], *pyramid.images[1 + larger :]]
    scales = np.delete(pyramid.scales, slice(1, 1 + larger), axis=0) if larger else pyramid.scales
    return [image if is_streamed(image) else whole(image) for image in kept], scales


def _unmade(levels: list[Image]) -> list[CachedLevel]:
    """The last levels of which nothing is there, each to be made of the one before, or the very first of a photo."""
    unmade: list[CachedLevel] = []
    for index, level in reversed(list(enumerate(levels))):
        before = levels[index - 1] if index else None
        if not isinstance(level, CachedLevel) or level.made:
            break
        if level.source is not before and not (before is None and isinstance(level.source, np.ndarray)):
            break
        unmade.append(level)
    return unmade[::-1]
