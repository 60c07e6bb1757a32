"""The interface of the engines that run the networks.

The native engine computes in C on the CPU and needs nothing else. The torch engine computes on a CPU or a GPU, for
several images together. The detector's stages are generators that yield requests (`DenseScan`, `ClassifyCrops`); `run`
has an engine answer them and sends the answers in, for one image or for several side by side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from cascade.imaging.pyramid import Pyramid
from cascade.models.detector import DetectorWeights
from cascade.nn.architectures import Stage

Result = TypeVar("Result")


@runtime_checkable
class Engine(Protocol):
    """What a detector needs of its engine."""

    weights: DetectorWeights

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """The photo (height, width, 3) uint8 and its levels of (width, height), each resampled from the one before."""
        ...

    def dense_scan(self, level: Any, threshold: float) -> np.ndarray:
        """P-Net over a level: float32 (n, 1 + outputs), the windows whose logit is at least the threshold.

        Each row holds column, row, logit, then the outputs after the first two; in order of row, then column.
        """
        ...

    def dense_scan_levels(self, levels: list[Any], thresholds: Sequence[float]) -> list[np.ndarray]:
        """`Engine.dense_scan` over each level with its threshold."""
        ...

    def classify_crops(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """Outputs (n, outputs) float32 of R-Net or O-Net for boxes (n, 4) in pixels of the photo."""
        ...

    def classify_aligned_crops(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """Outputs (n, outputs) float32 of a network on aligned crops: transforms (n, 2, 3) from photo to crop."""
        ...


class BatchEngine(ABC):
    """An engine that computes several images together, with the same results as an `Engine` but for rounding."""

    weights: DetectorWeights

    @abstractmethod
    def groups(self, images: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """The images (height, width, 3) uint8 in their order, in lists that fit the engine's memory."""

    @abstractmethod
    def pyramids(self, images: list[np.ndarray], sizes: list[list[tuple[int, int]]]) -> Sequence[Pyramid]:
        """`Engine.pyramid` of each image with its sizes."""

    @abstractmethod
    def dense_scan_levels(self, levels: list[Any], thresholds: Sequence[float]) -> list[np.ndarray]:
        """`Engine.dense_scan` over each level with its threshold."""

    @abstractmethod
    def dense_scan_pyramids(self, pyramids: list[Any], thresholds: Sequence[Sequence[float]]) -> list[list[np.ndarray]]:
        """`Engine.dense_scan` over each level of each pyramid from `pyramids`, with the threshold of the level.

        Those of pyramids of one size must be equal.
        """

    @abstractmethod
    def classify_crops_of_pyramids(
        self, stage: Stage, pyramids: list[Any], regions: list[np.ndarray]
    ) -> list[np.ndarray]:
        """The outputs for each pyramid, all crops together. ``regions`` has an array for each pyramid.

        `Engine.classify_crops` for boxes (n, 4), `Engine.classify_aligned_crops` for transforms (n, 2, 3).
        """

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """See `Engine.pyramid`."""
        return self.pyramids([image], [sizes])[0]

    def dense_scan(self, level: Any, threshold: float) -> np.ndarray:
        """See `Engine.dense_scan`."""
        return self.dense_scan_levels([level], [threshold])[0]

    def classify_crops(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """See `Engine.classify_crops`."""
        return self.classify_crops_of_pyramids(stage, [pyramid], [boxes])[0]

    def classify_aligned_crops(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """See `Engine.classify_aligned_crops`."""
        return self.classify_crops_of_pyramids(stage, [pyramid], [matrices])[0]


@dataclass(frozen=True)
class DenseScan:
    """A request for P-Net over all levels of an image; the answer is the list of `Engine.dense_scan` of each.

    ``thresholds`` has one for each level.
    """

    pyramid: Pyramid
    thresholds: Sequence[float]


@dataclass(frozen=True)
class ClassifyCrops:
    """A request for a network's outputs (n, outputs) on the crops of an image.

    ``regions`` are where the crops are cut: boxes (n, 4) in pixels of the photo, see `Engine.classify_crops`, or
    transforms (n, 2, 3) from photo to crop, see `Engine.classify_aligned_crops`.
    """

    stage: Stage
    pyramid: Pyramid
    regions: np.ndarray


Request = DenseScan | ClassifyCrops

# Yields requests, is sent the answer to each, and returns a result in the end.
StageGenerator = Generator[Request, Any, Result]


def run(engine: Engine, generators: list[StageGenerator[Result]]) -> list[Result]:
    """The results of several generators, advanced side by side so that a `BatchEngine` answers all at once.

    All must make the same requests in the same order, for different images.
    """
    if len(generators) == 1 and not isinstance(engine, BatchEngine):
        return [_run_alone(engine, generators[0])]
    results: dict[int, Result] = {}
    requests = {index: next(generator) for index, generator in enumerate(generators)}
    while requests:
        answers = _answer_all(engine, list(requests.values()))
        requests, answered = {}, requests
        for index, answer in zip(answered, answers, strict=True):
            try:
                requests[index] = generators[index].send(answer)
            except StopIteration as end:
                results[index] = end.value
    return [results[index] for index in range(len(generators))]


def _run_alone(engine: Engine, generator: StageGenerator[Result]) -> Result:
    """The result of a generator whose requests are answered one by one."""
    try:
        request = next(generator)
        while True:
            request = generator.send(_answer(engine, request))
    except StopIteration as end:
        result: Result = end.value
        return result


def _answer_all(engine: Engine, requests: list[Request]) -> list[Any]:
    if not isinstance(engine, BatchEngine):
        return [_answer(engine, request) for request in requests]
    scans = [request for request in requests if isinstance(request, DenseScan)]
    crops = [request for request in requests if isinstance(request, ClassifyCrops)]
    if scans and crops:
        raise ValueError("generators: expected generators with the same requests, got both kinds at once")
    if scans:
        return engine.dense_scan_pyramids([scan.pyramid for scan in scans], [scan.thresholds for scan in scans])
    (stage,) = {some.stage for some in crops}
    return engine.classify_crops_of_pyramids(stage, [some.pyramid for some in crops], [some.regions for some in crops])


def _answer(engine: Engine, request: Request) -> Any:
    if isinstance(request, DenseScan):
        return engine.dense_scan_levels(request.pyramid.images[1:], request.thresholds)
    classify = engine.classify_crops if request.regions.ndim == 2 else engine.classify_aligned_crops
    return classify(request.stage, request.pyramid, request.regions)
