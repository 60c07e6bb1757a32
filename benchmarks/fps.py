"""Milliseconds and frames a second of the detector on photos, beside baselines in the same run.

Ours and every baseline detect in alternation in the very same pixels, so that a machine that slows down slows all of
them; ratios are medians over the pairs. A ratio counts only if every face that the baseline finds is found.
SIMD levels are timed beside each other in the same way.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from benchmarks.scenes import letterbox, scene
from benchmarks.timing import Timing
from cascade.detect import Detector
from cascade.engines.factory import default_precision
from cascade.engines.native import NativeEngine
from cascade.imaging.reading import RGBImage, read_image
from cascade.models.detector import DetectorWeights
from eval.baselines.client import BaselineError, BaselineProcess
from eval.detection.operations import CountingDetector

__all__ = ["OURS", "SCENE_SIZE", "Measured", "Settings", "Variant", "load", "measure", "missing_device"]

OURS = "cascade"
SCENE_SIZE = (640, 480)


@dataclass(frozen=True)
class Variant:
    """A SIMD level and a precision of the native engine; None for those that the detector chooses."""

    level: str | None = None
    precision: Literal["float32", "int8"] | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return " ".join([OURS, *(part for part in (self.level, self.precision) if part)])


@dataclass(frozen=True)
class Settings:
    """How our detector runs, and how often: see `cascade.detect.Detector`. ``min_face`` is in pixels.

    With a ``batch`` of more than 1 so many copies of a photo are given to `Detector.detect_batch` together; times stay
    those of one photo. ``others`` are timed beside it: further levels and precisions of the native engine.
    """

    device: str = "cpu"
    engine: str = "native"
    threads: int = 1
    min_face: float = 20
    runs: int = 15
    precision: Literal["float32", "int8"] | None = None
    batch: int = 1
    level: str | None = None
    others: tuple[Variant, ...] = ()

    @property
    def name(self) -> str:
        """What tables call ours; with other levels beside it, its own is part of the name."""
        return Variant(self.level, self.precision).name if self.others else OURS

    def of(self, variant: Variant) -> Settings:
        """The same settings for another level and precision."""
        precision = variant.precision or self.precision
        return replace(self, level=variant.level, precision=precision, others=())

    def detector(self, weights: DetectorWeights, kind: type[Detector] = Detector) -> Detector:
        """A detector with these settings. torch is held to ``threads`` too, in all of the process."""
        if self.engine == "torch":
            import torch

            torch.set_num_threads(self.threads)
        if self.level is not None:
            precision = self.precision or default_precision(weights, self.level)
            return kind(
                min_face=self.min_face, engine=NativeEngine(weights, self.threads, self.level, precision=precision)
            )
        return kind(
            min_face=self.min_face,
            engine="torch" if self.engine == "torch" else "native",
            threads=self.threads,
            weights=weights,
            device=self.device,
            precision=self.precision,
        )


@dataclass(frozen=True, eq=False)
class Measured:
    """One photo's results: its size in pixels, our timing first, then those of the baselines that worked.

    ``gflop`` is what our networks computed for one detection, in billions of operations, two for each multiply-add
    that the networks' definitions ask for. ``failures`` says in a line each which baselines failed. ``instructions``
    are those of one detection, by the name of the timing, where they were counted.
    """

    photo: str
    width: int
    height: int
    gflop: float
    timings: list[Timing]
    failures: list[str] = field(default_factory=list)
    instructions: dict[str, int] = field(default_factory=dict)

    def share_of(self, gflops: float) -> float:
        """Our arithmetic over the median time, as a share of a peak in GFLOP/s."""
        return self.gflop / (1e-3 * self.timings[0].median) / gflops


def missing_device(device: str) -> str | None:
    """Why nothing can be measured on "cuda" here, in a line, or None if it can. "cpu" is always there."""
    if device == "cpu":
        return None
    try:
        import torch
    except ImportError:
        return "no GPU was measured: torch is not installed (pip install -e . --group train)"
    if torch.cuda.is_available():
        return None
    return f"no GPU was measured: torch {torch.__version__} finds no CUDA device here"


def load(source: str | Path, size: tuple[int, int] | None) -> tuple[str, RGBImage]:
    """Name and pixels of a scene (a `str` of `benchmarks.scenes.SCENES`) or a photo's file (a `Path`).

    With a ``size`` (width, height) in pixels a scene is composed at it and a photo letterboxed to it; without, a
    scene has 640 × 480 and a photo its own. Raises `cascade.imaging.reading.ImageError` for a file that is no photo.
    """
    if isinstance(source, str):
        return source, scene(source, *(size or SCENE_SIZE)).image
    image = read_image(source)
    return source.name, letterbox(image, *size) if size else image


def measure(
    name: str,
    image: RGBImage,
    settings: Settings,
    weights: DetectorWeights,
    baselines: Sequence[BaselineProcess] = (),
    after_each: Callable[[], object] = lambda: None,
) -> Measured:
    """Times our detector and the baselines in turn on an image (height, width, 3) uint8 RGB.

    Each detects once before, untimed. ``after_each`` is called after every round. A baseline that fails is left out.
    """
    counting = settings.detector(weights, CountingDetector)
    assert isinstance(counting, CountingDetector)
    boxes = counting.detect(image).boxes
    detector = settings.detector(weights)
    milliseconds_each(detector, image, settings.batch)
    others = {variant.name: settings.of(variant).detector(weights) for variant in settings.others}
    beside = {name: Timing(name, [], other.detect(image).boxes) for name, other in others.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "photo.png")
        ready, failures = _open(baselines, file, image, settings.min_face)
        ours = Timing(settings.name, [], boxes)
        theirs = {baseline: Timing(baseline.name, [], np.empty((0, 4), np.float32)) for baseline in ready}
        for _ in range(settings.runs):
            ours.times.append(milliseconds_each(detector, image, settings.batch))
            for other, timed in others.items():
                beside[other].times.append(milliseconds_each(timed, image, settings.batch))
            for baseline in list(theirs):
                try:
                    spent, found = baseline.detect()
                    theirs[baseline] = Timing(baseline.name, [*theirs[baseline].times, spent], found)
                except BaselineError as error:
                    failures.append(str(error))
                    del theirs[baseline]
            after_each()
    height, width = image.shape[:2]
    return Measured(name, width, height, counting.gflop, [ours, *beside.values(), *theirs.values()], failures)


def milliseconds_each(detector: Detector, image: RGBImage, batch: int) -> float:
    """The time of detecting once, or of one photo of a batch of copies."""
    started = time.perf_counter()
    if batch == 1:
        detector.detect(image)
    else:
        detector.detect_batch([image] * batch)
    return 1e3 * (time.perf_counter() - started) / batch


def _open(
    baselines: Sequence[BaselineProcess], file: Path, image: RGBImage, min_face: float
) -> tuple[list[BaselineProcess], list[str]]:
    """Show every baseline the image, losslessly; return those that take it, and why the others do not."""
    ready: list[BaselineProcess] = []
    failures: list[str] = []
    if baselines and not cv2.imwrite(str(file), image[..., ::-1]):
        raise OSError(f"cannot write {file}")
    for baseline in baselines:
        try:
            baseline.open(file, min_face)
            ready.append(baseline)
        except BaselineError as error:
            failures.append(str(error))
    return ready, failures
