"""The two ways to run the networks, behind one small interface.

`native` computes in C on the CPU and needs nothing else; `torch` computes in torch on a CPU or a GPU, for several
images together. A detector writes down once what it asks for an image, as a generator; `run` has the answers computed
and sends them in, for one image or for many side by side.
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
    """What a detector asks of its engine."""

    weights: DetectorWeights

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """The photo (height, width, 3) uint8 and its levels of (width, height), each made from the one before."""
        ...

    def dense_scan(self, level: Any, threshold: float) -> np.ndarray:
        """P-Net over a level: float32 (n, 1 + outputs) column, row, logit, then the outputs after the first two.

        Only windows with logit >= threshold, in order of row, then column.
        """
        ...

    def dense_scan_levels(self, levels: list[Any], threshold: float) -> list[np.ndarray]:
        """`Engine.dense_scan` over each level."""
        ...

    def classify_crops(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """Outputs (n, outputs) float32 of R-Net or O-Net for boxes (n, 4) in pixels of the photo."""
        ...

    def classify_aligned_crops(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """Outputs (n, outputs) float32 of a network on turned crops: affine maps (n, 2, 3) from photo to crop."""
        ...


class BatchEngine(ABC):
    """An engine that computes for several images together what an `Engine` does for one, equal but for rounding."""

    weights: DetectorWeights

    @abstractmethod
    def groups(self, images: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """The images (height, width, 3) uint8 in their order, in lists that the engine has the memory for."""

    @abstractmethod
    def pyramids(self, images: list[np.ndarray], sizes: list[list[tuple[int, int]]]) -> Sequence[Pyramid]:
        """`Engine.pyramid` of each image with its sizes."""

    @abstractmethod
    def dense_scan_levels(self, levels: list[Any], threshold: float) -> list[np.ndarray]:
        """`Engine.dense_scan` over each level."""

    @abstractmethod
    def dense_scan_pyramids(self, pyramids: list[Any], threshold: float) -> list[list[np.ndarray]]:
        """`Engine.dense_scan` over each level of each pyramid that `pyramids` gave."""

    @abstractmethod
    def classify_crops_of_pyramids(self, stage: Stage, pyramids: list[Any], places: list[np.ndarray]) -> list[np.ndarray]:
        """`Engine.classify_crops` or, where places are maps, `Engine.classify_aligned_crops` on each pyramid, all crops together."""

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """See `Engine.pyramid`."""
        return self.pyramids([image], [sizes])[0]

    def dense_scan(self, level: Any, threshold: float) -> np.ndarray:
        """See `Engine.dense_scan`."""
        return self.dense_scan_levels([level], threshold)[0]

    def classify_crops(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """See `Engine.classify_crops`."""
        return self.classify_crops_of_pyramids(stage, [pyramid], [boxes])[0]

    def classify_aligned_crops(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """See `Engine.classify_aligned_crops`."""
        return self.classify_crops_of_pyramids(stage, [pyramid], [matrices])[0]


@dataclass(frozen=True)
class DenseScan:
    """Asks for P-Net over all levels of an image: a list with what `Engine.dense_scan` gives for each."""

    pyramid: Pyramid
    threshold: float


@dataclass(frozen=True)
class ClassifyCrops:
    """Asks for a network's outputs (n, outputs) on boxes (n, 4) or maps (n, 2, 3): see `Engine.classify_crops`."""

    stage: Stage
    pyramid: Pyramid
    places: np.ndarray


# Yields what it needs computed, is sent the answer, and returns a result in the end.
Steps = Generator[DenseScan | ClassifyCrops, Any, Result]


def run(engine: Engine, several: list[Steps[Result]]) -> list[Result]:
    """The results of several generators, taken on side by side so that a `BatchEngine` answers all at once.

    All must ask the same questions in the same order, of different images.
    """
    results: dict[int, Result] = {}
    asked = {index: next(steps) for index, steps in enumerate(several)}
    while asked:
        answers = _answers(engine, list(asked.values()))
        asked, before = {}, asked
        for index, answer in zip(before, answers, strict=True):
            try:
                asked[index] = several[index].send(answer)
            except StopIteration as end:
                results[index] = end.value
    return [results[index] for index in range(len(several))]


def _answers(engine: Engine, asked: list[DenseScan | ClassifyCrops]) -> list[Any]:
    if not isinstance(engine, BatchEngine):
        return [_answer(engine, one) for one in asked]
    slides = [one for one in asked if isinstance(one, DenseScan)]
    if 0 < len(slides) < len(asked):
        raise ValueError("several: expected all to ask the same, got questions of both kinds")
    if slides:
        (threshold,) = {one.threshold for one in slides}
        return engine.dense_scan_pyramids([one.pyramid for one in slides], threshold)
    judged = [one for one in asked if isinstance(one, ClassifyCrops)]
    (stage,) = {one.stage for one in judged}
    return engine.classify_crops_of_pyramids(stage, [one.pyramid for one in judged], [one.places for one in judged])


def _answer(engine: Engine, asked: DenseScan | ClassifyCrops) -> Any:
    if isinstance(asked, DenseScan):
        return engine.dense_scan_levels(asked.pyramid.images[1:], asked.threshold)
    judge = engine.classify_crops if asked.places.ndim == 2 else engine.classify_aligned_crops
    return judge(asked.stage, asked.pyramid, asked.places)
