"""``python -m eval wider``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cascade.datasets import read_wider, read_wider_subsets, write_wider_predictions
from eval.commands import common
from eval.detection.predictions import to_json
from eval.detection.wider import LEVELS, MATCH, STEPS, WiderResult, evaluate
from eval.report import detection_figures as figures
from eval.report import files as report

HEADER = ("detector", "level", "threshold", "recall", "precision", "photos")


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("wider", help="WIDER FACE easy, medium and hard average precision")
    parser.add_argument(
        "--ground-truth",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of wider_face_val.mat and wider_{easy,medium,hard}_val.mat",
    )
    parser.add_argument(
        "--predictions", type=Path, metavar="DIR", help="folder or zip of event/photo.txt, or .json or .npz"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of the event folders: run our detector first"
    )
    common.add_shared(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    if (args.predictions is None) == (args.images is None):
        raise ValueError("wider: give either --predictions DIR, or --images DIR to run our detector")
    subsets = read_wider_subsets(args.ground_truth)
    images = args.images or args.ground_truth
    truth = read_wider(args.ground_truth / "wider_face_val.mat", images, require_images=False, strict=True)
    gathered = common.gather(args, list(truth), args.predictions, len(subsets.photos))
    results = {
        entry.name: evaluate(gathered.photos, subsets, entry.found, progress=common.progress(entry.name))
        for entry in gathered.entries
    }
    with report.output_folder(args.out) as folder:
        report.write_csv(folder / "curves.csv", HEADER, _rows(results, gathered))
        figures.draw_wider(folder / "curves.png", results, gathered.note)
        if gathered.ran is not None:
            main = gathered.entries[0]
            write_wider_predictions(folder / "predictions", main.found)
            (folder / "predictions.json").write_text(to_json(main.found, main.about), encoding="utf-8")
        parts = {name: _figures(each) for name, each in results.items()}
        summary = common.summary("wider", args, gathered, parts)
        summary["settings"] |= {"overlap": MATCH, "thresholds": STEPS, "missing": args.missing}
        report.write_summary(folder, summary)
    print(_table(results, gathered))


def _figures(result: WiderResult) -> dict[str, Any]:
    levels = result.levels()
    aps = {name: level.ap for name, level in levels.items()}
    return {
        **aps,
        "ap": aps,
        "faces": result.faces,
        "faces_counted": {name: level.faces for name, level in levels.items()},
    }


def _rows(results: dict[str, WiderResult], gathered: common.Gathered) -> Iterator[tuple[Any, ...]]:
    photos = f"{len(gathered.photos)} of {gathered.full}"
    for name, result in results.items():
        for level, curve in result.levels().items():
            columns = (result.thresholds.tolist(), curve.recall.tolist(), curve.precision.tolist())
            for row in zip(*columns, strict=True):
                yield (name, level, *row, photos)


def _table(results: dict[str, WiderResult], gathered: common.Gathered) -> str:
    rows = [[name, *(level.ap for level in result.levels().values())] for name, result in results.items()]
    first = next(iter(results.values()))
    counted = ", ".join(f"{level.faces:,} {name}" for name, level in first.levels().items())
    caption = f"Average precision on WIDER FACE validation; {gathered.note}; faces: {counted}"
    return f"{caption}\n{report.table(['WIDER FACE', *LEVELS], rows)}"
