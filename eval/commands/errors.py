"""``python -m eval errors``: a page of what a detector got wrong on one set."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cascade.version import __version__
from eval.commands import common
from eval.commands.sets import Evaluation, OnSet, add_data, evaluate_file, run_ours
from eval.detection.error_page import HEADER, Page, csv_rows, write_page
from eval.detection.errors import Kind, detections_of, find_mistakes
from eval.detection.predictions import read_predictions, to_json
from eval.detection.test_sets import SETS, read_set
from eval.report import files as report


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("errors", help="a page of pictures: missed faces, false alarms, landmarks far off")
    add_data(parser)
    parser.add_argument("--set", required=True, choices=tuple(SETS), metavar="NAME", help=f"one of {', '.join(SETS)}")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the page")
    parser.add_argument("--predictions", type=Path, metavar="FILE", help="(default: run our detector)")
    parser.add_argument(
        "--count", type=int, default=40, metavar="N", help="show no more of each kind (default: %(default)s)"
    )
    common.add_detector(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, write the page and print how many mistakes there are. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    if args.count < 1:
        raise ValueError(f"errors: --count of at least 1 expected, got {args.count}")
    test_set = read_set(args.data, args.set)
    if args.predictions is None:
        name, evaluated = common.OURS, run_ours(args, [test_set])
    else:
        name, evaluated = args.predictions.stem, evaluate_file([test_set], read_predictions(args.predictions))
    on_set = evaluated.sets[args.set]
    page = _page(name, evaluated, on_set)
    with report.output_folder(args.out) as folder:
        pictures, unread = write_page(folder, page, args.count)
        for problem in unread:
            print(f"warning: {problem}", file=sys.stderr)
        report.write_csv(folder / "errors.csv", HEADER, csv_rows(page, pictures))
        if args.predictions is None:
            ours = evaluated.predictions
            text = to_json(ours.found, ours.about, ours.usual)
            (folder / "predictions.json").write_text(text, encoding="utf-8")
        report.write_summary(folder, _summary(args, name, evaluated, page, unread))
    print("\n".join(page.facts))
    print(report.table(["mistake", "reason", "number"], page.reasons()))
    print(args.out / "page.html")


def _page(name: str, evaluated: Evaluation, on_set: OnSet) -> Page:
    test_set, default_score = on_set.test_set, evaluated.predictions.default_score
    lowest = min((each.scores.min() for each in on_set.found.values() if len(each)), default=None)
    facts = [
        f"{test_set.title}: {len(test_set.photos):,} photos; {test_set.note}.",
        "Evaluated: detections of any score." if default_score is None else f"Default score: {default_score:g}.",
        "Nothing was found." if lowest is None else f"Detections are known from a score of {lowest:.3g} on.",
    ]
    weights = evaluated.predictions.about.get("weights_sha256")
    facts += [] if weights is None else [f"SHA-256 of the weights: {weights}."]
    detections = detections_of(test_set, on_set.found, default_score, on_set.usual)
    mistakes = find_mistakes(test_set, detections)
    title = f"{name}: mistakes on {test_set.name}"
    return Page(title, facts, detections, default_score, mistakes, _totals(on_set))


def _totals(on_set: OnSet) -> dict[Kind, str]:
    """Return what each kind of mistake that the set shows is counted among."""
    figures = on_set.figures
    if figures.landmarks is not None:
        result = figures.landmarks
        return {"miss": f"of {result.faces:,} faces", "landmarks": f"of {result.matched:,} faces found"}
    assert figures.default is not None
    alarms: dict[Kind, str] = {"false_alarm": f"in {figures.default.photos:,} photos"}
    return alarms if figures.detection is None else {"miss": f"of {figures.default.curve.faces:,} faces", **alarms}


def _summary(
    args: argparse.Namespace, name: str, evaluated: Evaluation, page: Page, unread: list[str]
) -> Mapping[str, Any]:
    about = evaluated.predictions.about
    return {
        "task": "errors",
        "detector": name,
        "set": args.set,
        **evaluated.sets[args.set].summary(),
        "mistakes": {kind: len(page.of(kind)) for kind in page.totals},
        "reasons": [{"kind": kind, "reason": reason, "number": number} for kind, reason, number in page.reasons()],
        "broken_photos": len(evaluated.broken),
        "problems": [*evaluated.problems(), *unread],
        "default_score": page.default_score,
        "settings": about.get("settings", {}),
        "weights_sha256": about.get("weights_sha256"),
        "command": shlex.join(args.command_line),
        "version": __version__,
        "seconds": round(time.perf_counter() - args.started, 3),
    }
