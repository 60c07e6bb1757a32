"""AP against milliseconds of our detector at many settings, and the Pareto front: those that none beats at both.

AP is that of the very settings that are timed: P-Net and R-Net keep their thresholds, and only O-Net's is lowered, to
`SCORE_FLOOR`, so that there is a full curve. O-Net's threshold hardly changes the time, as nothing but the landmarks
of the faces found comes after it; times are taken with its default. (``python -m eval benchmark`` lowers all three.)
Faces count from ``min_face`` pixels on, the smallest that a detector is told to look for. Baselines run at their own
settings and are evaluated by the same rule.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import Timing
from cascade.datasets import DatasetError
from cascade.detect import THRESHOLDS, Detector
from cascade.imaging.reading import RGBImage
from eval.baselines import client
from eval.baselines.worker import SCORE_FLOOR
from eval.commands.common import progress
from eval.commands.sets import evaluate_file
from eval.detection import precision_recall as detection
from eval.detection import running
from eval.detection.predictions import read_predictions
from eval.detection.test_sets import TestSet
from eval.report.files import table as text_table

__all__ = [
    "HEADER",
    "SCORE_FLOOR",
    "Detect",
    "Result",
    "Setting",
    "average_precision",
    "baseline_precisions",
    "front",
    "in_turns",
    "ours",
    "rows",
    "sentence",
    "settings",
    "table",
]

HEADER = (
    *("detector", "scale_factor", "pnet_threshold", "rnet_threshold", "onet_threshold"),
    *("ap", "median_ms", "p95_ms", "faces", "on_front"),
)

Detect = Callable[[], tuple[float, np.ndarray]]
"""One detection in the photo: its milliseconds and boxes (n, 4)."""


@dataclass(frozen=True)
class Setting:
    """How our detector runs: a set of weights (a name or folder, and what it is called here) and what is varied.

    ``thresholds`` are those of P-Net, R-Net and O-Net that are timed.
    """

    label: str
    weights: str
    scale_factor: float
    thresholds: tuple[float, float, float]

    def __str__(self) -> str:
        return f"{self.label}, scale_factor {self.scale_factor:g}, thresholds {self.thresholds_text()}"

    def thresholds_text(self, stages: int = 3) -> str:
        """The thresholds of the first ``stages`` networks."""
        return "/".join(f"{threshold:g}" for threshold in self.thresholds[:stages])

    def detector(self, min_face: float) -> Detector:
        """The detector to time, on one thread. Raises ValueError or `cascade.models.detector.WeightsError`."""
        return Detector(
            min_face=min_face,
            scale_factor=self.scale_factor,
            thresholds=self.thresholds,
            threads=1,
            weights=self.weights,
        )

    @property
    def default(self) -> bool:
        """Whether only the weights differ from what a `Detector` does by itself."""
        factor = inspect.signature(Detector).parameters["scale_factor"].default
        return (self.scale_factor, self.thresholds) == (factor, THRESHOLDS)


@dataclass(frozen=True, eq=False)
class Result:
    """AP and times of a setting, or of a baseline (``setting`` None)."""

    timing: Timing
    ap: float
    setting: Setting | None = None

    @property
    def name(self) -> str:
        """What the set of weights or the baseline is called."""
        return self.setting.label if self.setting else self.timing.name


def settings(
    weights: Sequence[tuple[str, str]], factors: Sequence[float], pnet: Sequence[float], rnet: Sequence[float]
) -> list[Setting]:
    """Return all combinations of ``weights`` (label, name or folder), scale factors and thresholds, each once.

    O-Net keeps its default threshold. Raises ValueError for two sets of one label.
    """
    labels = [label for label, _ in weights]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"weights: two sets are called {label!r}; say LABEL=FOLDER")
    varied = product(weights, *(dict.fromkeys(values) for values in (factors, pnet, rnet)))
    return [
        Setting(label, source, factor, (first, second, THRESHOLDS[2]))
        for (label, source), factor, first, second in varied
    ]


def ours(detector: Detector, image: RGBImage) -> Detect:
    """Return what times a detection of ours in an image (height, width, 3) uint8 RGB, after one untimed."""
    detector.detect(image)

    def detect() -> tuple[float, np.ndarray]:
        started = time.perf_counter()
        boxes = detector.detect(image).boxes
        return 1e3 * (time.perf_counter() - started), boxes

    return detect


def in_turns(
    detectors: Sequence[tuple[str, Detect]], runs: int, after_each: Callable[[], object] = lambda: None
) -> list[Timing]:
    """Let every detector (name, and what it does) detect once a round, ``runs`` rounds.

    Rounds differ in their order, drawn at random, so that none always follows one that leaves the caches to it or takes
    them. ``after_each`` is called after every detection.
    """
    random = np.random.default_rng(0)
    found = [Timing(name, [], np.empty((0, 4), np.float32)) for name, _ in detectors]
    for _ in range(runs):
        for at in random.permutation(len(detectors)):
            spent, boxes = detectors[at][1]()
            found[at] = Timing(found[at].name, [*found[at].times, spent], boxes)
            after_each()
    return found


def average_precision(setting: Setting, test_set: TestSet, label: str) -> float:
    """Return the AP of a setting with O-Net's threshold lowered, faces from the set's ``min_size`` on being looked for.

    ``label`` goes beside the progress bar.
    Raises DatasetError for a photo that cannot be read, or where no face counts.
    """
    lowered = running.Settings(
        weights=setting.weights,
        min_face=test_set.min_size,
        scale_factor=setting.scale_factor,
        thresholds=(*setting.thresholds[:2], SCORE_FLOOR),
        score_floor=None,  # the thresholds as they are: a score floor would lower those of P-Net and R-Net as well
    )
    ran = running.run(progress(label)(test_set.photos), running.OurDetector(lowered))
    for reason in ran.broken.values():
        raise DatasetError(reason)
    evaluated = detection.evaluate(
        test_set.photos, ran.found, min_size=test_set.min_size, overlaps=detection.OVERLAPS[:1], sizes=()
    )
    return _known(evaluated.curve.ap, test_set)


def baseline_precisions(
    pythons: Sequence[tuple[str, str]], yunet_model: str | None, data: Path, test_set: TestSet, folder: Path
) -> dict[str, float]:
    """Return the AP of each baseline (name, interpreter).

    What they find is cached in a folder below ``folder`` for this set and smallest face, and taken from there the next
    time. Raises ValueError where one fails.
    """
    photos = [(test_set.min_size, photo.name) for photo in test_set.photos]
    cache = folder / "baselines" / f"{test_set.name}_{test_set.min_size:g}"
    files = client.predict(pythons, data, photos, cache, threads=1, yunet_model=yunet_model) if pythons else {}
    found = {}
    for name, file in files.items():
        evaluated = evaluate_file([test_set], read_predictions(file)).sets[test_set.name]
        assert evaluated.figures.detection is not None
        found[name] = _known(evaluated.figures.detection.curve.ap, test_set)
    return found


def _known(ap: float | None, test_set: TestSet) -> float:
    if ap is None:
        raise DatasetError(f"{test_set.name}: no face of {test_set.min_size:g} pixels or more")
    return ap


def front(results: Sequence[Result]) -> list[Result]:
    """Return our results that no other of ours beats, the fastest first: each has a higher AP than all faster ones."""
    found: list[Result] = []
    mine = [result for result in results if result.setting is not None]
    for result in sorted(mine, key=lambda result: (result.timing.median, -result.ap)):
        if not found or result.ap > found[-1].ap:
            found.append(result)
    return found


def rows(results: Sequence[Result]) -> list[tuple[Any, ...]]:
    """Rows under `HEADER`: ours by set, fastest first, then baselines; cells that do not apply are None."""
    best, labels = front(results), list(dict.fromkeys(result.name for result in results if result.setting))
    places = {label: at for at, label in enumerate(labels)}
    ordered = sorted(results, key=lambda r: (places[r.name] if r.setting else len(labels), r.timing.median))
    found = []
    for result in ordered:
        setting, timing = result.setting, result.timing
        varied = (setting.scale_factor, *setting.thresholds) if setting else (None,) * 4
        times = (timing.median, timing.p95, len(timing.boxes))
        found.append((result.name, *varied, result.ap, *times, int(result in best) if setting else None))
    return found


def table(results: Sequence[Result]) -> str:
    """Return the table for the terminal."""
    header = ("detector", "scale", "P-Net", "R-Net", "O-Net", "AP", "median ms", "p95 ms", "faces", "front")
    lines = []
    for name, *varied, ap, median, p95, faces, on_front in rows(results):
        cells = [None if value is None else f"{value:g}" for value in varied]
        lines.append((name, *cells, ap, f"{median:.1f}", f"{p95:.1f}", faces, "*" if on_front else ""))
    return text_table(header, lines)


def sentence(result: Result, best: Sequence[Result]) -> str:
    """Say where a setting of ours stands relative to the front ``best``, which must be that of all results."""
    told = f"{result.setting}: AP {result.ap:.4f} in {result.timing.median:.1f} ms, "
    if result in best:
        return told + "on the front"
    surer = [each for each in best if each.timing.median <= result.timing.median][-1]
    faster = next(each for each in best if each.ap >= result.ap)
    named = [f"{each.setting} (AP {each.ap:.4f}, {each.timing.median:.1f} ms)" for each in (surer, faster)]
    return told + f"beaten at AP by {named[0]} and at time by {named[1]}"
