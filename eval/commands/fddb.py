"""``python -m eval fddb``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cascade.datasets import read_fddb, write_fddb_detections
from eval.commands import common
from eval.detection.fddb import FALSE_POSITIVES, LONGEST_SIDE, MATCH, FddbResult, evaluate
from eval.detection.predictions import to_json
from eval.detection.running import run
from eval.report import detection_figures as figures
from eval.report import files as report

HEADER = ("detector", "score", "false_positives", "discrete", "continuous", "photos")


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("fddb", help="FDDB's discrete and continuous curves")
    parser.add_argument(
        "--annotations",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of FDDB-fold-NN-ellipseList.txt",
    )
    parser.add_argument("--detections", type=Path, metavar="FILE", help="FDDB text file, or .json or .npz")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of 2002/ and 2003/: our detector is run on the photos; with --detections only their sizes "
        "are read, so that regions end where the photos end",
    )
    parser.add_argument("--folds", type=int, nargs="+", metavar="N", help="only these (default: all that are there)")
    common.add_shared(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    if args.detections is None and args.images is None:
        raise ValueError("fddb: give --detections FILE, or --images DIR to run our detector")
    every = read_fddb(args.annotations, args.images, require_images=False, strict=True)
    chosen = every if args.folds is None else _folds(args)
    gathered = common.gather(args, list(chosen), args.detections, len(every))
    sizes = gathered.ran.sizes if gathered.ran else {}
    if args.detections is not None and args.images is not None:
        present = [photo for photo in gathered.photos if photo.path.is_file()]
        sizes = run(common.progress("sizes")(present), None).sizes
    results = {
        entry.name: evaluate(gathered.photos, entry.found, sizes=sizes, progress=common.progress(entry.name))
        for entry in gathered.entries
    }
    with report.output_folder(args.out) as folder:
        _write(folder, results, gathered)
        parts = {name: _figures(each) for name, each in results.items()}
        summary = common.summary("fddb", args, gathered, parts)
        known = sum(photo.name in sizes for photo in gathered.photos)
        summary["settings"] |= {"overlap": MATCH, "photo_sizes_known": known, "unknown_side": LONGEST_SIDE}
        summary["settings"] |= {"folds": args.folds, "missing": args.missing}
        report.write_summary(folder, summary)
    print(_table(results, gathered))


def _folds(args: argparse.Namespace) -> Any:
    return read_fddb(args.annotations, args.images, args.folds, require_images=False, strict=True)


def _figures(result: FddbResult) -> dict[str, Any]:
    return {"tpr_at_fp": result.rates(), "faces": result.faces}


def _write(folder: Path, results: dict[str, FddbResult], gathered: common.Gathered) -> None:
    report.write_csv(folder / "curves.csv", HEADER, _rows(results, gathered))
    figures.draw_fddb(folder / "curves.png", results, gathered.note)
    main, result = gathered.entries[0], next(iter(results.values()))
    # The very files of the official tool, lowest score first, for whoever has scripts for them.
    points = list(zip(*_columns(result), strict=True))[::-1]
    disc = "".join(f"{rate:.6g} {count} {score:.6g}\n" for score, count, rate, _ in points)
    cont = "".join(f"{rate:.6g} {count}\n" for _, count, _, rate in points)
    (folder / "DiscROC.txt").write_text(disc, encoding="ascii")
    (folder / "ContROC.txt").write_text(cont, encoding="ascii")
    if gathered.ran is not None:
        write_fddb_detections(folder / "detections.txt", main.found)
        (folder / "predictions.json").write_text(to_json(main.found, main.about), encoding="utf-8")


def _columns(result: FddbResult) -> tuple[list[float], list[int], list[float], list[float]]:
    curves = (result.thresholds, result.false_positives, result.discrete, result.continuous)
    return tuple(curve.tolist() for curve in curves)


def _rows(results: dict[str, FddbResult], gathered: common.Gathered) -> Iterator[tuple[Any, ...]]:
    photos = f"{len(gathered.photos)} of {gathered.full}"
    for name, result in results.items():
        for row in zip(*_columns(result), strict=True):
            yield (name, *row, photos)


def _table(results: dict[str, FddbResult], gathered: common.Gathered) -> str:
    header = ["FDDB", *(f"{kind} {k:,}" for kind in ("discrete", "continuous") for k in FALSE_POSITIVES)]
    rows = [
        [name, *(rate for kind in result.rates().values() for rate in kind.values())]
        for name, result in results.items()
    ]
    faces = next(iter(results.values())).faces
    caption = f"True positive rate by false positives; {gathered.note}, {faces:,} faces"
    return f"{caption}\n{report.table(header, rows)}"
