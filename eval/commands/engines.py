"""``python -m eval engines``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from cascade.detect import Detector
from cascade.models.detector import load_detector
from eval.commands import common
from eval.commands.sets import add_data, evenly_spaced
from eval.detection.agreement import SAME_BOX, Agreement, compare
from eval.detection.test_sets import SETS, read_set
from eval.photos import images_of
from eval.report import files as report

HEADER = ("set", "photos", "faces", "missing", "added", "box px", "landmark px", "score", "time ratio")


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("engines", help="whether another engine finds the faces that the native one finds")
    add_data(parser)
    parser.add_argument(
        "--set", dest="sets", required=True, nargs="+", choices=tuple(SETS), metavar="NAME", help=", ".join(SETS)
    )
    parser.add_argument("--engine", required=True, choices=("onnx", "torch"), help="compared with native in float32")
    parser.add_argument(
        "--reference", choices=("float32", "int8"), default="float32", help="precision of the native engine"
    )
    parser.add_argument(
        "--precision", choices=("float32", "int8"), default="float32", help="of the engine (default: %(default)s)"
    )
    parser.add_argument("--weights", metavar="NAME|DIR", help="trained detector (default: the default set)")
    parser.add_argument("--limit", type=int, metavar="N", help="no more photos of a set than that, evenly spaced")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for summary.json")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Compare, print and write the report. Raises ValueError or OSError for unfit input."""
    if args.limit is not None and args.limit < 1:
        raise ValueError(f"engines: --limit of at least 1 expected, got {args.limit}")
    sets = [read_set(args.data, name) for name in args.sets]
    weights = load_detector(args.weights)
    reference = Detector(weights=weights, precision=args.reference, threads=1)
    other = Detector(weights=weights, engine=args.engine, precision=args.precision, threads=1)
    results, problems = {}, list[str]()
    for each in sets:
        broken: dict[str, str] = {}
        results[each.name] = Agreement()
        photos = common.progress(each.name)(evenly_spaced(each.photos, args.limit))
        for _, image in images_of(photos, broken):
            compare(reference, other, image, results[each.name])
        problems += [f"broken photo: {reason}" for reason in broken.values()]
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    summary = {
        "weights_sha256": weights.sha256,
        "same_box": SAME_BOX,
        "sets": {name: each.summary() for name, each in results.items()},
        "problems": problems,
        "command": shlex.join(args.command_line),
    }
    with report.output_folder(args.out) as folder:
        report.write_summary(folder, summary)
    print(report.table(list(HEADER), [[name, *each.summary().values()] for name, each in results.items()]))
