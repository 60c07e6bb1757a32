"""``python -m eval anonymize``: which faces are hidden, and whether hidden ones can be recognised."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from cascade.anonymize.finding import FaceFinder
from cascade.anonymize.settings import METHODS, Hiding
from cascade.datasets import REGISTRY
from cascade.version import __version__
from eval.anonymize import coverage, recovery
from eval.anonymize.people import read_subjects
from eval.commands import common
from eval.detection.test_sets import SETS, TestSet, read_set
from eval.report import files as report
from eval.report.anonymize_figures import draw_coverage

PEOPLE_SETS = ("lfw_train", "lfw_pairs")
HIDING = tuple(field.name for field in fields(Hiding) if field.name not in ("method", "fill"))
FINDING = ("min_face", "scales", "rotations", "exposure", "threads", "weights")


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    known = [name for name, entry in SETS.items() if "boxes" in entry.labels or "no_face" in entry.labels]
    parser = verbs.add_parser("anonymize", help="which faces are hidden, and whether hidden ones can be recognised")
    parser.add_argument("--data", required=True, type=Path, metavar="ROOT", help="the data folder")
    parser.add_argument(
        "--set",
        required=True,
        choices=(*known, *PEOPLE_SETS),
        metavar="NAME",
        help=f"{', '.join(known)}: which faces are hidden; {', '.join(PEOPLE_SETS)}: whether they can be recognised",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the report")
    parser.add_argument("--people", type=int, default=400, metavar="N", help="most people to recognise (default: 400)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="to recognise faces behind")
    for name, kind in (("margin", float), ("padding", float), ("feather", float), ("cells", int), ("noise", float)):
        parser.add_argument(f"--{name}", type=kind, help="see cascade anonymize --help")
    parser.add_argument("--shape", choices=("ellipse", "box"))
    parser.add_argument("--min-score", type=float, metavar="S", help="the score that the summary tells (default: ours)")
    parser.add_argument("--min-face", type=float, metavar="N")
    parser.add_argument("--scales", type=float, nargs="+", metavar="F")
    parser.add_argument("--rotations", type=int, nargs="+", metavar="DEGREES")
    parser.add_argument("--exposure", choices=("auto", "none"))
    parser.add_argument("--weights", metavar="NAME|DIR")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    hiding = Hiding(**_given(args, HIDING))
    if args.set in PEOPLE_SETS:
        _recognise(args, hiding)
    else:
        _cover(args, hiding)


def _given(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}


def _cover(args: argparse.Namespace, hiding: Hiding) -> None:
    """How many faces are hidden, and how much else, by the score from which on they are."""
    test_set = read_set(args.data, args.set)
    finder = FaceFinder(**_given(args, FINDING))
    limit = finder.min_score if args.min_score is None else args.min_score
    scores = sorted({*coverage.SCORES, limit})
    curve, broken = coverage.measure(common.progress(args.set)(test_set.photos), finder, hiding, scores)
    chosen = next(each for each in curve if each.min_score == limit)
    header = ("min_score", "faces", "hidden", "recall", "outside_hidden", "outside_by_photo")
    rows = [(c.min_score, c.faces, c.hidden, c.recall, c.outside, c.by_photo) for c in curve]
    with report.output_folder(args.out) as folder:
        report.write_csv(folder / "curves.csv", header, rows)
        draw_coverage(folder / "curves.png", curve, limit, f"{test_set.title}, {len(test_set.photos):,} photos")
        figures: dict[str, Any] = {
            "min_score": limit,
            "recall": chosen.recall,
            "outside": chosen.outside,
            "by_photo": chosen.by_photo,
        }
        problems = [f"broken photo: {reason}" for reason in broken.values()]
        figures |= {"faces": chosen.faces, "photos": len(test_set.photos) - len(broken), "problems": problems}
        settings = {"hiding": asdict(hiding), **_about(finder)}
        report.write_summary(folder, _summary(args, figures | {"settings": settings}))
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    print(_title(test_set))
    print(report.table(header, rows))
    print(f"from {limit:g} on: {100 * chosen.recall:.1f} % hidden, and {100 * chosen.outside:.2f} % of other pixels")


def _about(finder: FaceFinder) -> dict[str, Any]:
    names = ("min_face", "scales", "mirrored", "rotations", "rotated_score", "exposure")
    return {name: getattr(finder, name) for name in names}


def _title(test_set: TestSet) -> str:
    smallest, covered = coverage.SMALLEST, 100 * coverage.COVERED
    return (
        f"{test_set.title}: {len(test_set.photos):,} photos. A face of {smallest:g} px and more is hidden if "
        f"{covered:g} % of its box is."
    )


def _recognise(args: argparse.Namespace, hiding: Hiding) -> None:
    """Whether hidden faces are found or recognised, as they are and after attacks."""
    from cascade.detect import Detector
    from cascade.recognize import Recognizer

    probes, gallery, others, problems = read_subjects(REGISTRY, args.data, args.set, args.people, args.threads)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    recognizer, detector = Recognizer(threads=args.threads), Detector(threads=args.threads)
    ways = [*recovery.CONTROLS, *recovery.ways_of(hiding, args.methods)]
    results = recovery.measure(common.progress("ways")(ways), probes, gallery, others, recognizer)
    found = {way.name: recovery.found_share(way, probes, detector) for way in ways}
    header = ("hidden by", "attack", "people", "rank1", f"tar_at_far_{recovery.FAR:g}")
    rows = [(each.way, each.attack, each.people, each.rank1, each.tar) for each in results]
    with report.output_folder(args.out) as folder:
        report.write_csv(folder / "recovery.csv", header, rows)
        figures = {
            "people": len(probes),
            "chance_rank1": 1 / len(probes),
            "found": found,
            "recovery": [asdict(each) for each in results],
            "problems": problems,
            "settings": {"hiding": asdict(hiding)},
            "weights_sha256": recognizer.weights.sha256,
        }
        report.write_summary(folder, _summary(args, figures))
    print(f"{len(probes):,} people, chance at rank 1: {1 / len(probes):.4f}")
    print(report.table(header, rows))
    print(report.table(("hidden by", "still found by the detector"), list(found.items())))


def _summary(args: argparse.Namespace, figures: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": "anonymize",
        "set": args.set,
        **figures,
        "command": shlex.join(args.command_line),
        "version": __version__,
        "seconds": round(time.perf_counter() - args.started, 3),
    }
