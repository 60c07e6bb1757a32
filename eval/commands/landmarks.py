"""``python -m eval landmarks``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cascade.models.landmarks import POINTS
from eval.commands import common, points68
from eval.detection.landmark_sets import read_landmark_set
from eval.detection.landmarks import FAILURE, MATCH, LandmarkResult, evaluate
from eval.detection.predictions import to_json
from eval.report import detection_figures as figures
from eval.report import files as report

HEADER = ("detector", "normaliser", "error", "share_of_all_faces", "photos")


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("landmarks", help="errors of five landmarks or 68: COCO, AFLW or 300-W")
    common.add_labels(
        parser,
        data="COCO JSON with five keypoints, CUHK's list (.txt), AFLW's database (.sqlite) or a folder of 300-W's .pts "
        "files",
        predictions="FILE",
    )
    parser.add_argument(
        "--points",
        type=int,
        choices=(5, 68),
        default=5,
        help="how many; 68 are for a folder of 300-W, with predictions in an .npz file: names (N,) and points "
        "(N, 68, 2), NaN for a missed face (default: %(default)s)",
    )
    parser.add_argument("--landmark-weights", type=Path, metavar="FILE", help="our network for 68 landmarks")
    parser.set_defaults(execute=execute, score_floor=None)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    if args.points == POINTS:
        points68.execute(args)
        return
    truth = read_landmark_set(args.data, args.images)
    gathered = common.gather(args, list(truth), args.predictions, len(truth), own_score=True)
    results = {entry.name: evaluate(gathered.photos, entry.found) for entry in gathered.entries}
    title = common.title_of(args.data)
    with report.output_folder(args.out) as folder:
        report.write_csv(folder / "curves.csv", HEADER, _rows(results, gathered))
        figures.draw_landmarks(folder / "curves.png", results, f"landmarks, {title}, {gathered.note}")
        if gathered.ran is not None:
            main = gathered.entries[0]
            (folder / "predictions.json").write_text(to_json(main.found, main.about), encoding="utf-8")
        parts = {name: landmark_figures(each) for name, each in results.items()}
        summary = common.summary("landmarks", args, gathered, parts)
        summary["settings"] |= {"overlap": MATCH, "failure_above": FAILURE, "missing": args.missing}
        report.write_summary(folder, summary)
    print(_table(results, gathered, title))


def landmark_figures(result: LandmarkResult) -> dict[str, Any]:
    """Return the figures of one detector as summary.json has them."""
    return {
        "error_interocular": result.error_interocular,
        "error_box": result.error_box,
        "failure_rate": result.failure_rate,
        "failure_rate_of_all": result.failure_rate_of_all,
        "faces": result.faces,
        "matched": result.matched,
        "undetected": result.faces - result.matched,
        "incomplete": result.incomplete,
        "by_landmark": result.by_landmark(),
        "by_yaw": [asdict(each) for each in result.yaws],
        "by_roll": [asdict(each) for each in result.rolls],
        "yaw_source": result.yaw_source,
    }


def _rows(results: dict[str, LandmarkResult], gathered: common.Gathered) -> Iterator[tuple[Any, ...]]:
    photos = f"{len(gathered.photos)} of {gathered.full}"
    errors = figures.ERRORS
    for name, result in results.items():
        for normaliser in ("interocular", "box"):
            shares = result.cumulative(errors, box=normaliser == "box")
            for error, share in zip(errors.tolist(), shares.tolist(), strict=True):
                yield name, normaliser, error, share, photos


def _table(results: dict[str, LandmarkResult], gathered: common.Gathered, name: str) -> str:
    lines = [f"Landmarks of {name}; {gathered.note}"]
    header = ["mean error over", "eye distance", "√ box area", "failed", "or not found", "found", "faces"]
    rows = [
        [
            detector,
            result.error_interocular,
            result.error_box,
            result.failure_rate,
            result.failure_rate_of_all,
            result.matched,
            result.faces,
        ]
        for detector, result in results.items()
    ]
    lines.append(report.table(header, rows))
    for detector, result in results.items():
        points = [[point, *values.values()] for point, values in result.by_landmark().items()]
        lines += ["", report.table([f"{detector}, by landmark", "eye distance", "√ box area"], points)]
        for angle, classes in ((f"{result.yaw_source} yaw", result.yaws), ("roll", result.rolls)):
            angles = [
                [f"{one.smallest:g}–{one.largest:g}°", one.error_interocular, one.error_box, one.matched, one.faces]
                for one in classes
            ]
            title = f"{detector}, by {angle}"
            lines += ["", report.table([title, "eye distance", "√ box area", "found", "faces"], angles)]
    return "\n".join(lines)
