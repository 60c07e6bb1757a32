"""Running and evaluating detectors on the sets of a data folder, for the commands that do so."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade.cli.console import counted
from cascade.datasets import Photo
from eval.commands import common
from eval.detection.predictions import Found, Predictions, match_names
from eval.detection.running import OurDetector, Settings, run
from eval.detection.test_sets import SetFigures, TestSet, evaluate_detector

__all__ = ["Evaluation", "OnSet", "add_data", "evaluate_file", "evenly_spaced", "run_ours"]


@dataclass(frozen=True, slots=True, eq=False)
class OnSet:
    """One detector on one set.

    test_set   with the photos that were evaluated
    found      down to low scores, by photo name; a photo without an entry counts as one in which nothing was found
    usual      what the detector finds by default; None: what ``found`` has at the default score and better
    median_ms  median time of a detection in milliseconds, the photo already decoded; None where not told
    """

    test_set: TestSet
    found: Mapping[str, Found]
    figures: SetFigures
    median_ms: float | None
    usual: Mapping[str, Found] | None = None

    def summary(self) -> dict[str, Any]:
        """Return the figures by name as summary.json has them."""
        return {**self.figures.summary(), "median_ms": self.median_ms}


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """One detector: all it found and what is said of it, the results by set, and why photos could not be read.

    ``ours`` tells our detector, run here, from what a file says.
    """

    predictions: Predictions
    sets: Mapping[str, OnSet]
    broken: Mapping[str, str]
    ours: bool = False

    def problems(self) -> list[str]:
        """Return what went wrong in words, after saying so on stderr."""
        reasons = [f"broken photo: {reason}" for reason in self.broken.values()]
        for reason in reasons:
            print(f"warning: {reason}", file=sys.stderr)
        return reasons


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the data folder to a command's options."""
    parser.add_argument("--data", required=True, type=Path, metavar="ROOT", help="the data folder")


def evenly_spaced(photos: tuple[Photo, ...], limit: int | None) -> tuple[Photo, ...]:
    """All photos, or as many of them as ``limit`` says, evenly spaced."""
    if limit is None or limit >= len(photos):
        return photos
    return tuple(photos[k * len(photos) // limit] for k in range(limit))


def run_ours(args: argparse.Namespace, sets: Sequence[TestSet]) -> Evaluation:
    """Run our detector on every set, by default for times and counts and down to low scores for the curves.

    Photos that cannot be read are left out of the figures. Raises ValueError for a set of which none can be read.
    """
    settings = common.settings_of(args)
    ours = OurDetector(settings)
    found: dict[str, Found] = {}
    usual: dict[str, Found] = {}
    broken: dict[str, str] = {}
    milliseconds: dict[str, float] = {}
    gflop: dict[str, float] = {}
    results: dict[str, OnSet] = {}
    min_faces: dict[str, float] = {}
    for test_set in sets:
        wanted = _settings_for(settings, test_set)
        if wanted.min_face is not None:
            min_faces[test_set.name] = wanted.min_face
        detector = OurDetector(replace(wanted, score_floor=None))
        ran = run(common.progress(test_set.name)(test_set.photos), detector)
        if not ran.found:
            first = next(iter(ran.broken.values()), "it has none")
            raise ValueError(f"{test_set.name}: no photo of the set can be read (first: {first})")
        broken |= ran.broken
        milliseconds |= ran.milliseconds
        gflop[test_set.name] = round(detector.gflop / max(len(ran.found), 1), 4)
        readable = replace(test_set, photos=tuple(photo for photo in test_set.photos if photo.name in ran.found))
        curve = ran.found
        if wanted.score_floor is not None:
            curve = run(common.progress(f"{test_set.name}, curve")(readable.photos), OurDetector(wanted)).found
        found |= curve
        usual |= ran.found
        figures = evaluate_detector(readable, curve, ours.default_score, ran.found)
        results[test_set.name] = OnSet(readable, curve, figures, _median(readable, ran.milliseconds), ran.found)
    about = ours.about()
    about["settings"]["min_face_by_set"] = min_faces
    about |= {"gflop_per_photo": gflop, "milliseconds": milliseconds}
    predictions = Predictions(found, about, None if settings.score_floor is None else usual)
    return Evaluation(predictions, results, broken, ours=True)


def _settings_for(settings: Settings, test_set: TestSet) -> Settings:
    """Look for faces from the size on that the set counts, unless the options say another size."""
    given = settings.min_face is not None or not test_set.min_size
    return settings if given else replace(settings, min_face=test_set.min_size)


def evaluate_file(sets: Iterable[TestSet], predictions: Predictions) -> Evaluation:
    """Score predictions on every set; raises ValueError where a set is entirely missing from them."""
    results = {}
    for test_set in sets:
        matched = match_names([photo.name for photo in test_set.photos], predictions.found)
        if not matched.found:
            raise ValueError(f"the predictions hold no photo of {test_set.name}")
        if matched.missing:
            print(
                f"warning: {test_set.name}: {counted(len(matched.missing), 'photo')} without predictions",
                file=sys.stderr,
            )
        usual = None
        if predictions.usual is not None:
            usual = match_names([photo.name for photo in test_set.photos], predictions.usual).found
        figures = evaluate_detector(test_set, matched.found, predictions.default_score, usual)
        median = _median(test_set, predictions.milliseconds)
        results[test_set.name] = OnSet(test_set, matched.found, figures, median, usual)
    return Evaluation(predictions, results, {})


def _median(test_set: TestSet, milliseconds: Mapping[str, float]) -> float | None:
    """Return the median time over the photos of a set; None unless every one was timed."""
    times = [milliseconds.get(photo.name) for photo in test_set.photos]
    known = [time for time in times if time is not None]
    return round(statistics.median(known), 3) if known and len(known) == len(times) else None
