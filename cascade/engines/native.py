"""The native engine: everything is computed in C, by several threads, without the GIL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress, pairwise
from typing import Any, Literal

import numpy as np

from cascade import _native
from cascade.checks import thread_count
from cascade.engines.threads import Threads
from cascade.imaging.pyramid import Pyramid, crop_sources, with_scales
from cascade.imaging.strips import CachedLevel, StreamedLevel, all_rows, is_streamed, lazy_levels, step_count, steps
from cascade.models.detector import DetectorWeights
from cascade.nn.architectures import Stage

Image = np.ndarray | CachedLevel


class NativeEngine:
    """Runs a set of weights in C. It can be shared between threads; one call at a time uses its thread pool.

    The larger levels of a large photo are computed and scanned in strips: see `cascade.imaging.strips`.
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
        self.threads = thread_count(threads)
        self.level = level or _native.default_simd_level()
        self._networks = {
            stage: _native.Network(
                network.int8_layers() if precision == "int8" else network.layers(),
                network.architecture.input_size,
                self.level,
            )
            for stage, network in weights.stages.items()
        }
        self._threads = Threads(self.threads)
        self._single: list[NativeEngine] = []  # what `on_one_thread` gave and got back
        self._settings = (weights, threads, level, precision)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and copies it by its settings; without a level, that of the machine where it is unpickled."""
        return type(self), self._settings

    @property
    def pool(self) -> _native.ThreadPool:
        """The thread pool that its calls share."""
        return self._threads.pool

    @contextmanager
    def on_one_thread(self) -> Iterator[NativeEngine]:
        """This engine for calls that run on the calling thread alone, however many others run beside them.

        It shares the networks and has memory of its own, which the engine keeps for the next of them.
        """
        try:
            single = self._single.pop()
        except IndexError:
            single = object.__new__(type(self))
            single.__dict__.update(self.__dict__, threads=1, _threads=Threads(1), _single=[])
        yield single
        if len(self._single) < self.threads:
            self._single.append(single)

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """See `cascade.engines.base.Engine.pyramid`. The levels are computed when P-Net scans them."""
        self.pool.wake()
        return with_scales([image, *lazy_levels(image, sizes, self._resample_rows)])

    def _resample_rows(
        self, strip: np.ndarray, top: int, image_height: int, shape: tuple[int, ...], target: np.ndarray, first: int
    ) -> None:
        """See `cascade.imaging.strips.Resample`."""
        box, (height, width) = (0, 0, strip.shape[1], image_height), shape[:2]
        _native.resample(strip, box, width, height, self.pool, self.level, target, first, top, image_height)

    def dense_scan(self, level: Any, threshold: float) -> np.ndarray:
        """See `cascade.engines.base.Engine.dense_scan`."""
        return self.dense_scan_levels([level], [threshold])[0]

    def dense_scan_levels(self, levels: list[Any], thresholds: Sequence[float]) -> list[np.ndarray]:
        """See `cascade.engines.base.Engine.dense_scan_levels`."""
        streamed = [is_streamed(level) for level in levels]
        if not any(streamed):
            return self._scan_in_memory(levels, thresholds)
        cached = [not one for one in streamed]
        others = list(compress(levels, cached))
        first_cached = next((level for level in others if isinstance(level, CachedLevel)), None)
        strips = list(compress(levels, streamed))
        from_strips = iter(self._scan_strips(strips, first_cached, list(compress(thresholds, streamed))))
        from_others = iter(self._scan_in_memory(others, list(compress(thresholds, cached))))
        return [next(from_strips if one else from_others) for one in streamed]

    def _scan_in_memory(self, levels: list[Image], thresholds: Sequence[float]) -> list[np.ndarray]:
        """Resampling levels and scanning all of them is one parallel_for, so that no thread waits for long."""
        network, padding = self._networks["pnet"], self.weights["pnet"].architecture.padding
        empty = _empty_levels(levels)
        ready = len(levels) - len(empty)
        images = [*(all_rows(level) for level in levels[:ready]), *(level.pixels for level in empty)]
        source = empty[0].source if empty and not ready else None
        photo = source if isinstance(source, np.ndarray) else None
        found = network.dense_scan_levels(images, padding, list(thresholds), self.pool, photo, ready)
        for level in empty:
            level.ready_rows = len(level.pixels)
        return found

    def _scan_strips(
        self, levels: list[StreamedLevel], first_cached: CachedLevel | None, thresholds: Sequence[float]
    ) -> list[np.ndarray]:
        """Down the photo, one strip of each level at a time; ``first_cached``, the level after them, is filled too."""
        network, padding = self._networks["pnet"], self.weights["pnet"].architecture.padding
        found: list[list[np.ndarray]] = [[] for _ in levels]
        for start, end in steps(levels, first_cached):
            strips: dict[int, tuple[np.ndarray, int, int, int, int]] = {}
            for index in reversed(range(len(levels))):
                height, width = levels[index].shape[:2]
                rows, columns, stride, field = network.grid(width, height, padding)
                first, last = round(rows * start), round(rows * end)
                if columns and first < last:
                    top = max(0, first * stride - padding)
                    strip = levels[index].rows(top, min(height, (last - 1) * stride - padding + field))
                    strips[index] = (strip, first, last - first, top, height)
            parts = network.dense_scan_levels(
                list(strips.values()), padding, [thresholds[index] for index in strips], self.pool
            )
            for index, part in zip(strips, parts, strict=True):
                found[index].append(part)
        return [np.concatenate([np.empty((0, network.outputs + 1), np.float32), *parts]) for parts in found]

    def classify_crops(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """See `cascade.engines.base.Engine.classify_crops`."""
        return self._classify(stage, pyramid, boxes)

    def classify_aligned_crops(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """See `cascade.engines.base.Engine.classify_aligned_crops`."""
        return self._classify(stage, pyramid, matrices)

    def _classify(self, stage: Stage, pyramid: Pyramid, regions: np.ndarray) -> np.ndarray:
        network = self._networks[stage]
        images, scales = crop_sources(pyramid)
        if len(images) > 1 and is_streamed(images[1]):  # if any is, then the largest level
            return self._classify_strips(network, images, scales, regions, step_count(*pyramid.images[1].shape[:2]))
        crops = _native.Crops(images, scales, regions, network.input_size)
        return network.classify_crops(crops, self.pool)

    def _classify_strips(
        self, network: _native.Network, images: list[Any], scales: np.ndarray, regions: np.ndarray, count: int
    ) -> np.ndarray:
        """Down the photo in ``count`` steps: the crops from strips, by step and level, then all others together."""
        known = [image.shape[:2] if is_streamed(image) else image for image in images]
        streamed = np.array([is_streamed(image) for image in images])
        heights = np.array([image.shape[0] for image in images])
        level, first, _ = _native.Crops(known, scales, regions, network.input_size).reads.T
        step = np.where(streamed[level], first * count // heights[level], count)
        group = np.where(streamed[level], step * len(images) - level, count * len(images))
        order = np.argsort(group, kind="stable")
        crops = _native.Crops(known, scales, regions[order], network.input_size)
        reads, found = crops.reads, np.empty((len(order), network.outputs), np.float32)
        ends = [*(np.flatnonzero(np.diff(group[order])) + 1).tolist(), len(order)]
        for begin, end in pairwise([0, *ends] if len(order) else []):
            k, top, bottom = int(reads[begin, 0]), int(reads[begin:end, 1].min()), int(reads[begin:end, 2].max())
            if streamed[k]:
                crops.give(k, images[k].rows(top, bottom), top)
            found[order[begin:end]] = network.classify_crops(crops, self.pool, begin, end - begin)
        return found


def _empty_levels(levels: list[Image]) -> list[CachedLevel]:
    """The last levels without any rows yet, each resampled from the one before, the very first from a photo."""
    empty: list[CachedLevel] = []
    for index, level in reversed(list(enumerate(levels))):
        before = levels[index - 1] if index else None
        if not isinstance(level, CachedLevel) or level.ready_rows:
            break
        if level.source is not before and not (before is None and isinstance(level.source, np.ndarray)):
            break
        empty.append(level)
    return empty[::-1]
