"""The native engine: all arithmetic in C, over a few threads, without the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np

from cascade import _native
from cascade.architectures import Stage
from cascade.engines.workers import Workers
from cascade.pyramid import Pyramid, build_pyramid
from cascade.weights import DetectorWeights

# Work is dealt out in pieces of this size whatever the number of threads, so that results do not depend on it.
ROWS_PER_PIECE = 48
CROPS_PER_PIECE = 64
# Pixels of a band of a pyramid level; a thread that makes fewer is not worth waking.
SMALLEST_BAND = 16_384


class NativeEngine:
    """Runs a set of weights in C. Safe to share between threads; workspaces are lent to one call at a time."""

    def __init__(self, weights: DetectorWeights, threads: int = 1, level: str | None = None) -> None:
        self.weights = weights
        self.threads = threads
        self.level = level or _native.default_level()
        self._networks = {
            stage: _native.Network(network.layers(), network.architecture.input_size, self.level)
            for stage, network in weights.stages.items()
        }
        self.workers = Workers(threads)

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """See `cascade.engines.Engine.pyramid`."""
        return build_pyramid(image, sizes, self._resize)

    def _resize(self, image: np.ndarray, width: int, height: int) -> np.ndarray:
        """The image at another size, in bands for the threads if it is worth their while."""
        whole, level = (0, 0, image.shape[1], image.shape[0]), np.empty((height, width, 3), np.uint8)
        bands = self.threads if width * height >= SMALLEST_BAND * self.threads else 1
        rows = -(-height // bands)

        def band(first: int) -> None:
            with self.workers.workspace() as workspace:
                _native.resample(image, whole, width, height, workspace, self.level, level, first, rows)

        self.workers.map(band, range(0, height, rows))
        return level

    def slide(self, level: Any, threshold: float) -> np.ndarray:
        """See `cascade.engines.Engine.slide`."""
        return self.slide_all([level], threshold)[0]

    def slide_all(self, levels: list[Any], threshold: float) -> list[np.ndarray]:
        """See `cascade.engines.Engine.slide_all`: strips of all levels are one list of work, so no thread waits."""
        network, padding = self._networks["pnet"], self.weights["pnet"].architecture.padding

        def strip(place: tuple[int, int]) -> np.ndarray:
            with self.workers.workspace() as workspace:
                return network.slide(levels[place[0]], padding, threshold, workspace, place[1], ROWS_PER_PIECE)

        strips: list[tuple[int, int]] = []
        for index, level in enumerate(levels):
            rows = network.grid(level.shape[1], level.shape[0], padding)[0]
            strips += [(index, first) for first in range(0, rows, ROWS_PER_PIECE)]
        found: list[list[np.ndarray]] = [[np.empty((0, network.outputs + 1), np.float32)] for _ in levels]
        for (index, _), part in zip(strips, self.workers.map(strip, strips), strict=True):
            found[index].append(part)
        return [np.concatenate(parts) for parts in found]

    def judge(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """See `cascade.engines.Engine.judge`."""
        return self._judge(stage, pyramid, boxes)

    def judge_turned(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """See `cascade.engines.Engine.judge_turned`."""
        return self._judge(stage, pyramid, matrices)

    def _judge(self, stage: Stage, pyramid: Pyramid, places: np.ndarray) -> np.ndarray:
        network = self._networks[stage]
        crops = _native.Crops(*crop_sources(pyramid), places, network.input_size)

        def piece(first: int) -> np.ndarray:
            with self.workers.workspace() as workspace:
                return network.judge(crops, workspace, first, CROPS_PER_PIECE)

        found = self.workers.map(piece, range(0, len(crops), CROPS_PER_PIECE))
        return np.concatenate(found) if found else np.empty((0, network.outputs), np.float32)


def crop_sources(pyramid: Pyramid) -> tuple[list[Any], np.ndarray]:
    """What crops are cut from: the photo and every level smaller than it, largest first."""
    keep = [0, *(i for i in range(1, len(pyramid.images)) if pyramid.scales[i].max() < 1.0)]
    return [pyramid.images[i] for i in keep], pyramid.scales[keep]
