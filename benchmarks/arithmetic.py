"""How near the detector comes to the machine's limit: useful arithmetic over the time of complete detections.

The numbers of crops are held, so that only the engine is measured and not how selective some weights are.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_layers import random_layers
from cascade.engines.base import StageGenerator
from cascade.faces import Faces
from cascade.imaging.pyramid import Pyramid
from cascade.imaging.reading import RGBImage
from cascade.models.detector import DetectorWeights, StageWeights
from cascade.nn.architectures import ARCHITECTURES, Architecture
from cascade.stages import Candidates, find_faces, run_pnet, run_rnet
from eval.detection.operations import CountingDetector

__all__ = ["Arithmetic", "FixedCandidatesDetector", "measure", "random_weights"]

# P-Net's and R-Net's are beyond what random weights reach: as with trained ones, only few windows pass.
THRESHOLDS = (0.99, 0.99, 0.8)
# Sides of the windows that stand in for what P-Net and R-Net let through, in pixels.
SMALLEST, LARGEST = 20.0, 160.0


@dataclass(frozen=True)
class Arithmetic:
    """Milliseconds of each detection, and the billions of operations of one, two a multiply-add without any padding."""

    times: list[float]
    gflop: float

    @property
    def median(self) -> float:
        """The median time in milliseconds."""
        return statistics.median(self.times)

    @property
    def gflops(self) -> float:
        """Operations a second at the median time, in billions."""
        return self.gflop / (1e-3 * self.median)


class FixedCandidatesDetector(CountingDetector):
    """A Detector whose R-Net and O-Net classify a fixed number of windows.

    P-Net and R-Net run in full; only then fixed windows all over the photo take the place of their candidates.
    """

    def __init__(self, crops: tuple[int, int], photo: RGBImage, **settings: Any) -> None:
        self.candidates = [windows(count, photo.shape[1], photo.shape[0]) for count in crops]
        super().__init__(**settings)

    def _stages(self, pyramid: Pyramid) -> StageGenerator[Faces]:
        return self._counted(self._with_fixed_candidates(pyramid))

    def _with_fixed_candidates(self, pyramid: Pyramid) -> StageGenerator[Faces]:
        for_rnet, for_onet = self.candidates
        pnet, rnet, _ = self.thresholds
        yield from run_pnet(self.weights, pyramid, pnet)
        yield from run_rnet(self.weights, pyramid, for_rnet, rnet)
        # nothing reaches a threshold of 1, so that O-Net looks at nothing again
        return (yield from find_faces(self.weights, pyramid, for_onet, 1.0))


def windows(count: int, width: int, height: int) -> Candidates:
    """``count`` square windows of a photo of that size in pixels, of mixed sizes and the same every time."""
    random = np.random.default_rng(0)
    sides = np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST), count))
    corners = random.uniform(0, 1, (count, 2)) * np.maximum(np.array([width, height]) - sides[:, None], 1)
    boxes = np.concatenate([corners, corners + sides[:, None]], axis=1)
    return Candidates(boxes.astype(np.float32), np.zeros(count, np.float32))


def random_weights(family: str) -> DetectorWeights:
    """The networks of a family of `cascade.nn.architectures.ARCHITECTURES` with random weights."""
    stages = {network.stage: _stage(network) for network in ARCHITECTURES[family].values()}
    return DetectorWeights(f"{family}, random", stages)


def _stage(architecture: Architecture) -> StageWeights:
    tensors = {
        f"{index}.{name}": layer[name]
        for index, layer in enumerate(random_layers(architecture))
        for name in ("weight", "bias", "slope")
        if name in layer
    }
    return StageWeights(Path("random"), architecture, tensors, {}, "")


def measure(
    photo: RGBImage,
    weights: DetectorWeights,
    crops: tuple[int, int],
    min_face: float,
    runs: int,
    after_each: Callable[[], object] = lambda: None,
) -> Arithmetic:
    """Time complete detections of a photo (height, width, 3) uint8 on one thread; ``crops`` are those of R- and O-Net.

    They are in float32, as the peak is that they are compared with.
    """
    settings: dict[str, Any] = {"min_face": min_face, "threads": 1, "thresholds": THRESHOLDS, "precision": "float32"}
    detector = FixedCandidatesDetector(crops, photo, weights=weights, **settings)
    detector.detect(photo)
    gflop, times = detector.gflop, []
    for _ in range(runs):
        started = time.perf_counter()
        detector.detect(photo)
        times.append(1e3 * (time.perf_counter() - started))
        after_each()
    return Arithmetic(times, gflop)
