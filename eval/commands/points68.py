"""``python -m eval landmarks --points 68``."""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from cascade.datasets import DatasetError, PointsPhoto, read_points68
from cascade.imaging.reading import ImageError, read_image
from cascade.npz import read_npz
from cascade.version import __version__
from eval.commands import common
from eval.detection.average_precision import FloatArray
from eval.detection.landmarks import FAILURE
from eval.detection.points68 import OVERLAP, PointsResult, evaluate_points, points_of
from eval.detection.predictions import match_names
from eval.detection.running import OurDetector
from eval.report import detection_figures as figures
from eval.report import files as report

Points = dict[str, "FloatArray | None"]

HEADER = ("detector", "error", "share_of_all_faces", "photos")


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    photos = list(read_points68(args.data))
    broken: dict[str, str] = {}
    about: dict[str, Any] = {}
    name = args.name or (common.OURS if args.predictions is None else args.predictions.stem)
    common.check_names([name, *(other for other, _ in args.compare)])
    if args.predictions is None:
        found, about = _run(args, photos, broken)
    else:
        found, about = _read(args.predictions, photos)
    entries = {name: found, **{other: _read(file, photos)[0] for other, file in args.compare}}
    results = {each: evaluate_points(photos, [points[p.name] for p in photos]) for each, points in entries.items()}
    title = common.title_of(args.data)
    with report.output_folder(args.out) as folder:
        report.write_csv(folder / "curves.csv", HEADER, _curve_rows(results, len(photos)))
        figures.draw_points(folder / "curves.png", results, f"68 landmarks, {title}, {len(photos):,} photos")
        if args.predictions is None:
            missing = np.full((68, 2), np.nan)
            rows = np.stack([missing if (p := found[photo.name]) is None else p for photo in photos])
            np.savez(folder / "points.npz", names=np.array([photo.name for photo in photos]), points=rows)
        for photo, reason in broken.items():
            print(f"warning: broken photo: {photo}: {reason}", file=sys.stderr)
        summary = {
            "task": "landmarks",
            "points": 68,
            "detector": name,
            **points_figures(results[name]),
            "photos": len(photos),
            "broken_photos": len(broken),
            "problems": [f"broken photo: {photo}: {reason}" for photo, reason in broken.items()],
            "settings": {**about, "failure_above": FAILURE, "overlap": OVERLAP},
            "compared": {each: points_figures(result) for each, result in results.items() if each != name},
            "command": shlex.join(args.command_line),
            "version": __version__,
            "seconds": round(time.perf_counter() - args.started, 3),
        }
        report.write_summary(folder, summary)
    print(_table(results, title, len(photos)))


def points_figures(result: PointsResult) -> dict[str, Any]:
    """Return the figures as summary.json has them."""
    return {
        "nme_outer_corners": result.nme,
        "failure_rate": result.failure_rate,
        "failure_rate_of_all": result.failure_rate_of_all,
        "auc": result.auc,
        "faces": len(result.errors),
        "found": int(result.found.sum()),
        "by_part": result.by_part(),
        "by_yaw": {
            name: {"nme_outer_corners": part.nme, "found": int(part.found.sum()), "faces": len(part.errors)}
            for name, part in result.by_yaw().items()
        },
    }


def _run(
    args: argparse.Namespace, photos: Sequence[PointsPhoto], broken: dict[str, str]
) -> tuple[Points, dict[str, Any]]:
    """The points that our network finds."""
    from cascade.landmarks import LandmarkEstimator

    settings = common.settings_of(args)
    if (settings.score_floor, settings.input_rule, settings.scales) != (None, "original", (1.0,)):
        raise ValueError("--score-floor, --input, --scales: 68 points are found in photos as they are")
    ours = OurDetector(settings)
    estimator = LandmarkEstimator(args.landmark_weights, args.threads, max_yaw=90, detector=ours.detector)
    found: Points = {}
    for photo in common.progress("landmarks")(photos):
        try:
            found[photo.name] = points_of(estimator, read_image(photo.path), photo.points.astype(np.float64))
        except ImageError as error:
            broken[photo.name], found[photo.name] = str(error), None
    about = {
        "weights_sha256": estimator.weights.sha256,
        "detector_sha256": estimator.detector.weights.sha256,
        "passes": estimator.passes,
        **ours.about()["settings"],
    }
    return found, about


def _read(file: Path, photos: Sequence[PointsPhoto]) -> tuple[Points, dict[str, Any]]:
    """Points in an .npz file: names (N,) and points (N, 68, 2), NaN for a missed face. Raises DatasetError."""
    try:
        arrays = read_npz(file, ("names", "points"))
        names, points = arrays["names"], arrays["points"]
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{file}: not a file of points: {str(error)[:200]}") from error
    if (
        names.ndim != 1
        or names.dtype.kind != "U"
        or points.shape != (len(names), 68, 2)
        or points.dtype.kind not in "fiu"
    ):
        raise DatasetError(f"{file}: expected names (N,) and points (N, 68, 2), got {names.shape} and {points.shape}")
    rows = dict(zip(names.tolist(), points.astype(np.float64), strict=True))
    matched = match_names([photo.name for photo in photos], cast(Any, rows))
    if not matched.found:
        raise DatasetError(f"{file}: none of its {len(names)} names is among the photos")
    given = cast(Mapping[str, FloatArray], matched.found)
    found = {photo.name: given.get(photo.name) for photo in photos}
    complete = {name: each if each is not None and np.isfinite(each).all() else None for name, each in found.items()}
    return complete, {"predictions_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def _curve_rows(results: Mapping[str, PointsResult], photos: int) -> Iterator[tuple[Any, ...]]:
    for name, result in results.items():
        shares = result.cumulative(figures.ERRORS)
        for error, share in zip(figures.ERRORS.tolist(), shares.tolist(), strict=True):
            yield name, error, share, photos


def _table(results: Mapping[str, PointsResult], name: str, photos: int) -> str:
    lines = [f"68 landmarks of {name}; {photos:,} photos; errors over the distance of the eyes' outer corners"]
    header = ["", "mean error", "failed", "or not found", "AUC", "found", "faces"]
    rows = [
        [who, r.nme, r.failure_rate, r.failure_rate_of_all, r.auc, int(r.found.sum()), len(r.errors)]
        for who, r in results.items()
    ]
    lines.append(report.table(header, rows))
    for who, result in results.items():
        parts = [[part, error] for part, error in result.by_part().items()]
        lines += ["", report.table([f"{who}, by part", "mean error"], parts)]
        yaws = [[f"{yaw}°", part.nme, int(part.found.sum()), len(part.errors)] for yaw, part in result.by_yaw().items()]
        lines += ["", report.table([f"{who}, by estimated yaw", "mean error", "found", "faces"], yaws)]
    return "\n".join(lines)
