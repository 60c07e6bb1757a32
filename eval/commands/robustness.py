"""``python -m eval robustness``: which faces are still found when the photo changes."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cascade.datasets import Photo
from cascade.imaging.reading import RGBImage
from cascade.version import __version__
from eval.baselines import client
from eval.baselines.adapters import BASELINES
from eval.baselines.client import BaselineError, BaselineProcess
from eval.commands import common
from eval.commands.sets import add_data, evenly_spaced
from eval.detection import robustness
from eval.detection.robustness import CONDITIONS, Boxes, Detect, Measurement
from eval.detection.running import OurDetector
from eval.detection.test_sets import SETS, TestSet, read_set
from eval.photos import images_of
from eval.report import files as report
from eval.report.robustness_figures import draw_shares

ROTATING = f"{common.OURS}, rotations"
"""Name of our detector with the angles of --rotations; without them it has a row of its own."""

HEADER = ("condition", "group", "detector", "photos", "faces", "found", "share")


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("robustness", help="share of faces still found in other light, rotated, cut or close up")
    add_data(parser)
    names = tuple(name for name, entry in SETS.items() if "boxes" in entry.labels)
    parser.add_argument(
        "--set", dest="sets", required=True, nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the report")
    parser.add_argument("--limit", type=int, metavar="N", help="no more photos of a set than that, evenly spaced")
    parser.add_argument(
        "--faces", type=int, default=8, metavar="N", help="no more faces of a photo, the largest (default: %(default)s)"
    )
    client.add_options(parser)
    common.add_detector(parser)
    parser.set_defaults(execute=execute, score_floor=None)


def execute(args: argparse.Namespace) -> None:
    """Run all detectors under all conditions and report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    for name, value in (("--limit", args.limit), ("--faces", args.faces)):
        if value is not None and value < 1:
            raise ValueError(f"robustness: {name} of at least 1 expected, got {value}")
    sets = [read_set(args.data, name) for name in args.sets]
    chosen = [replace(each, photos=evenly_spaced(each.photos, args.limit)) for each in sets]
    ours = _ours(args)
    with _run_baselines(args, ours[common.OURS].detector.threads) as baselines:
        measurement = Measurement({**{name: _boxes_of(each) for name, each in ours.items()}, **baselines}, args.faces)
        broken = _measure([photo for each in chosen for photo in each.photos], measurement)
        problems = [*broken, *(problem for each in baselines.values() for problem in each.problems())]
        about = {**{name: each.about() for name, each in ours.items()}, **{n: b.about() for n, b in baselines.items()}}
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    if not measurement.faces:
        raise ValueError(f"robustness: {', '.join(args.sets)}: no labelled face that every detector finds")
    summary = {**_figures(measurement, sets, chosen), "detectors": about}
    summary |= {"broken_photos": len(broken), "problems": problems, "command": shlex.join(args.command_line)}
    _report(args, measurement, summary)


def _ours(args: argparse.Namespace) -> dict[str, OurDetector]:
    """Our detector as it is by default, and with further orientations where the options name some."""
    settings = common.settings_of(args)
    detectors = {common.OURS: OurDetector(replace(settings, rotations=None))}
    return detectors if settings.rotations is None else {**detectors, ROTATING: OurDetector(settings)}


def _boxes_of(detector: OurDetector) -> Detect:
    return lambda image: detector(image).boxes


class _Baseline:
    """A baseline as something to call with an image, which reaches its process as a file.

    A photo on which it fails counts as one in which it finds nothing. Raises ValueError where it fails on the first.
    """

    def __init__(self, process: BaselineProcess, min_face: float, file: Path) -> None:
        self.process, self.min_face, self.file = process, min_face, file
        self.failures: list[str] = []

    def __call__(self, image: RGBImage) -> Boxes:
        cv2.imwrite(str(self.file), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        try:
            return np.asarray(self.process.open(self.file, self.min_face), np.float64)
        except BaselineError as error:
            if self.process.version is None:
                raise ValueError(f"--baseline {error}") from error
            self.failures.append(str(error))
            return np.zeros((0, 4))

    def problems(self) -> list[str]:
        """What went wrong in words."""
        count = len(self.failures)
        return [f"{count} changed photos taken for empty, first: {self.failures[0]}"] if count else []

    def about(self) -> dict[str, Any]:
        """Return its settings as plain values."""
        baseline, process = BASELINES[self.process.name], self.process
        settings = {**baseline.settings, "min_face": self.min_face or baseline.min_face or None}
        settings |= {"threads": process.threads, "version": process.version}
        return {
            "detector": process.name,
            "default_score": baseline.default_score,
            "settings": settings,
            "failures": len(self.failures),
        }


@contextlib.contextmanager
def _run_baselines(args: argparse.Namespace, threads: int) -> Iterator[dict[str, _Baseline]]:
    """Give the baselines of --baseline by title; their processes end with the context."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        baselines = {}
        for name, python in args.baselines:
            process = stack.enter_context(BaselineProcess(name, python, threads, yunet_model=args.yunet_model))
            baselines[BASELINES[name].title] = _Baseline(process, args.min_face or 0.0, folder / f"{name}.png")
        if len(baselines) < len(args.baselines):
            raise ValueError(f"two detectors have the same name: {', '.join(name for name, _ in args.baselines)}")
        yield baselines


def _measure(photos: Sequence[Photo], measurement: Measurement) -> list[str]:
    """Take in all photos; return which could not be read, in words."""
    broken: dict[str, str] = {}
    for photo, image in images_of(common.progress("robustness")(photos), broken):
        measurement.add(image, photo.boxes[~photo.ignored].astype(np.float64))
    return [f"broken photo: {reason}" for reason in broken.values()]


def _figures(measurement: Measurement, sets: Sequence[TestSet], chosen: Sequence[TestSet]) -> dict[str, Any]:
    """Return what was measured on what, as summary.json has it."""
    conditions = {}
    for condition in CONDITIONS:
        tallies = measurement.tallies[condition.name]
        counts = next(iter(tallies.values()))
        shares = {name: tally.share for name, tally in tallies.items()}
        conditions[condition.name] = {
            "group": condition.group,
            "photos": counts.photos,
            "faces": counts.faces,
            "share_found": shares,
        }
    return {
        "task": "robustness",
        "conditions": conditions,
        "photos_with_faces": measurement.photos,
        "faces": measurement.faces,
        "photos": {each.name: len(each.photos) for each in chosen},
        "photos_in_set": {each.name: len(each.photos) for each in sets},
        "notes": _notes(measurement, sets, chosen),
        "protocol": {
            "long_side": robustness.LONG_SIDE,
            "smallest_face": robustness.SMALLEST,
            "faces_per_photo": measurement.most,
            "overlap": robustness.OVERLAP,
            "close_up_side": robustness.CLOSE_UP_SIDE,
            "visible": robustness.VISIBLE,
        },
    }


def _notes(measurement: Measurement, sets: Sequence[TestSet], chosen: Sequence[TestSet]) -> list[str]:
    """Return what the figures are taken on, and what they must not be taken for."""
    notes = []
    for full, part in zip(sets, chosen, strict=True):
        subset = report.subset_note(len(part.photos), len(full.photos))
        count = f"subset: {subset}" if subset else f"{len(full.photos):,} photos"
        notes.append(f"{full.name}: {count}; {full.note}.")
    return [
        *notes,
        f"{measurement.faces:,} reference faces in {measurement.photos:,} photos, from {robustness.SMALLEST:g} px at a "
        f"long side of {robustness.LONG_SIDE}: the largest of a photo, at most {measurement.most}, of those that all "
        "detectors named here find in the unchanged photo.",
        "Shares are comparable within a run only: with other detectors the reference faces are others.",
    ]


def _report(args: argparse.Namespace, measurement: Measurement, summary: Mapping[str, Any]) -> None:
    tallies = measurement.tallies
    with report.output_folder(args.out) as folder:
        rows = [
            (condition.name, condition.group, name, tally.photos, tally.faces, tally.found, tally.share)
            for condition in CONDITIONS
            for name, tally in tallies[condition.name].items()
        ]
        report.write_csv(folder / "robustness.csv", HEADER, rows)
        title = f"{', '.join(args.sets)}: {measurement.faces:,} faces in {measurement.photos:,} photos"
        draw_shares(folder / "robustness.png", tallies, title)
        done = {"version": __version__, "seconds": round(time.perf_counter() - args.started, 3)}
        report.write_summary(folder, {**summary, **done})
    cells = [
        [name, next(iter(each.values())).faces, *(f"{tally.share:.1%}" for tally in each.values())]
        for name, each in tallies.items()
    ]
    print(report.table(["still found", "faces", *measurement.detectors], cells))
    print("\n".join(summary["notes"]))
