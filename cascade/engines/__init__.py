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

from cascade.architectures import Stage
from cascade.pyramid import Pyramid
from cascade.weights import DetectorWeights

Result = TypeVar("Result")


@runtime_checkable
class Engine(Protocol):
    """What a detector asks of its engine."""

    weights: DetectorWeights

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """The photo (height, width, 3) uint8 and its levels of (width, height), each made from the one before."""
        ...

    def slide(self, level: Any, threshold: float) -> np.ndarray:
        """P-Net over a level: float32 (n, 1 + outputs) column, row, logit, then the outputs after the first two.

        Only windows with logit >= threshold, in order of row, then column.
        """
        ...

    def slide_all(self, levels: list[Any], threshold: float) -> list[np.ndarray]:
        """`Engine.slide` over each level."""
        ...

    def judge(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """Outputs (n, outputs) float32 of R-Net or O-Net for boxes (n, 4) in pixels of the photo."""
        ...

    def judge_turned(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
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
    def slide_all(self, levels: list[Any], threshold: float) -> list[np.ndarray]:
        """`Engine.slide` over each level."""

    @abstractmethod
    def slide_pyramids(self, pyramids: list[Any], threshold: float) -> list[list[np.ndarray]]:
        """`Engine.slide` over each level of each pyramid that `pyramids` gave."""

    @abstractmethod
    def judge_all(self, stage: Stage, pyramids: list[Any], places: list[np.ndarray]) -> list[np.ndarray]:
        """`Engine.judge` or, where places are maps, `Engine.judge_turned` on each pyramid, all crops together."""

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """See `Engine.pyramid`."""
        return self.pyramids([image], [sizes])[0]

    def slide(self, level: Any, threshold: float) -> np.ndarray:
        """See `Engine.slide`."""
        return self.slide_all([level], threshold)[0]

    def judge(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """See `Engine.judge`."""
        return self.judge_all(stage, [pyramid], [boxes])[0]

    def judge_turned(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """See `Engine.judge_turned`."""
        return self.judge_all(stage, [pyramid], [matrices])[0]


@dataclass(frozen=True)
class Slide:
    """Asks for P-Net over all levels of an image: a list with what `Engine.slide` gives for each."""

    pyramid: Pyramid
    threshold: float


@dataclass(frozen=True)
class Judge:
    """Asks for a network's outputs (n, outputs) on boxes (n, 4) or maps (n, 2, 3): see `Engine.judge`."""

    stage: Stage
    pyramid: Pyramid
    places: np.ndarray


# Yields what it needs computed, is sent the answer, and returns a result in the end.
Steps = Generator[Slide | Judge, Any, Result]


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


def _answers(engine: Engine, asked: list[Slide | Judge]) -> list[Any]:
    if not isinstance(engine, BatchEngine):
        return [_answer(engine, one) for one in asked]
    slides = [one for one in asked if isinstance(one, Slide)]
    if 0 < len(slides) < len(asked):
        raise ValueError("several: expected all to ask the same, got questions of both kinds")
    if slides:
        (threshold,) = {one.threshold for one in slides}
        return engine.slide_pyramids([one.pyramid for one in slides], threshold)
    judged = [one for one in asked if isinstance(one, Judge)]
    (stage,) = {one.stage for one in judged}
    return engine.judge_all(stage, [one.pyramid for one in judged], [one.places for one in judged])


def _answer(engine: Engine, asked: Slide | Judge) -> Any:
    if isinstance(asked, Slide):
        return engine.slide_all(asked.pyramid.images[1:], asked.threshold)
    judge = engine.judge if asked.places.ndim == 2 else engine.judge_turned
    return judge(asked.stage, asked.pyramid, asked.places)
