"""``python -m eval detection``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

from cascade.datasets import Dataset, read_coco, read_folder, read_photo_list, read_wider
from eval.commands import common
from eval.detection.precision_recall import OVERLAPS, DetectionResult, SizeResult, evaluate
from eval.detection.predictions import to_json
from eval.report import detection_figures as figures
from eval.report import files as report

HEADER = (
    *("detector", "score", "recall", "precision"),
    *("false_positives", "false_positives_per_photo", "photos"),
)
WIDER_MIN_SIZE = 12.0
UNLABELLED = "photos may hold faces without a label: AP, precision and false positives mean little here"


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("detection", help="plain average precision on any labelled photos")
    common.add_labels(
        parser,
        data="COCO JSON file, WIDER FACE annotation (.mat, _bbx_gt.txt), or a folder of photos without faces",
        predictions="FILE|DIR",
    )
    parser.add_argument("--photos", type=Path, metavar="FILE", help="evaluate only the photos listed here")
    parser.add_argument(
        "--min-size",
        type=common.finite_number,
        metavar="PX",
        help="ignore faces whose shorter side is smaller (default: 12 for WIDER FACE, else 0)",
    )
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    truth, full = read_truth(args)
    min_size = args.min_size if args.min_size is not None else WIDER_MIN_SIZE if is_wider(args.data) else 0.0
    gathered = common.gather(args, list(truth), args.predictions, full)
    results = {e.name: evaluate(gathered.photos, e.found, min_size=min_size) for e in gathered.entries}
    labelled = all(photo.fully_labelled for photo in gathered.photos)
    if not labelled:
        print(f"warning: {UNLABELLED}", file=sys.stderr)
    title = common.title_of(args.data)
    with report.output_folder(args.out) as folder:
        report.write_csv(folder / "curves.csv", HEADER, _rows(results, gathered))
        figures.draw_detection(folder / "curves.png", results, f"{title}, {gathered.note}")
        if gathered.ran is not None:
            main = gathered.entries[0]
            (folder / "predictions.json").write_text(to_json(main.found, main.about), encoding="utf-8")
        parts = {name: detection_figures(each) for name, each in results.items()}
        summary = common.summary("detection", args, gathered, parts)
        summary["fully_labelled"] = labelled
        summary["settings"] |= {"overlaps": list(OVERLAPS), "min_size": min_size, "missing": args.missing}
        report.write_summary(folder, summary)
    print(_table(results, gathered, title))


def is_wider(data: Path) -> bool:
    """Tell a WIDER FACE annotation by its suffix."""
    return data.suffix.lower() in (".mat", ".txt")


def read_truth(args: argparse.Namespace) -> tuple[Dataset, int]:
    """Read the labels, those of the photos asked for, and the number of photos of the full set.

    A WIDER FACE annotation names the photos of all events; where some of them are on disk, those are evaluated.
    """
    listed = None if args.photos is None else read_photo_list(args.photos)
    if is_wider(args.data):
        every = read_wider(args.data, args.images, require_images=False, strict=True)
        if listed is not None:
            chosen = read_wider(args.data, args.images, photos=listed, require_images=False, strict=True)
            return chosen, len(every)
        present = tuple(photo for photo in every if photo.path.is_file())
        return Dataset(every.name, present or every.photos), len(every)
    if args.data.is_dir():
        every_photo = read_folder(args.data, fully_labelled=True, strict=True)
    else:
        every_photo = read_coco(args.data, args.images, require_images=False, strict=True)
    if listed is None:
        return every_photo, len(every_photo)
    by_name = every_photo.by_name()
    unknown = [name for name in listed if name not in by_name]
    if unknown:
        raise ValueError(f"{args.photos}: {len(unknown)} photos are not in {args.data}, such as {unknown[0]}")
    return Dataset(every_photo.name, tuple(by_name[name] for name in listed)), len(every_photo)


def detection_figures(result: DetectionResult) -> dict[str, Any]:
    """Return the figures of one detector as summary.json has them."""
    curve = result.curve
    return {
        "ap": curve.ap,
        "ap_50_95": result.ap_50_95,
        "recall": curve.final_recall,
        "false_positives": curve.false_positive_count,
        "recall_at_fp_per_photo": result.recall_at_false_positives(),
        "faces": curve.faces,
        "by_size": [
            {
                "smallest": each.smallest,
                "largest": each.largest,
                "faces": each.faces,
                "ap": each.ap,
                "recall": each.recall,
            }
            for each in result.sizes
        ],
    }


def _size_label(size: SizeResult) -> str:
    return f"from {size.smallest:g} px" if size.largest == inf else f"{size.smallest:g}–{size.largest:g} px"


def _rows(results: dict[str, DetectionResult], gathered: common.Gathered) -> Iterator[tuple[Any, ...]]:
    photos = f"{len(gathered.photos)} of {gathered.full}"
    for name, result in results.items():
        curve = result.curve
        parts = (curve.scores, curve.recall, curve.precision, curve.false_positives)
        for score, recall, precision, count in zip(*(part.tolist() for part in parts), strict=True):
            yield name, score, recall, precision, count, count / result.photos, photos


def _table(results: dict[str, DetectionResult], gathered: common.Gathered, name: str) -> str:
    rates = list(next(iter(results.values())).recall_at_false_positives())
    recalls = [f"recall at {rate} FP/photo" for rate in rates]
    header = ["detector", "AP 0.5", "AP 0.5:0.95", "recall", "false positives", *recalls]
    rows: list[list[Any]] = []
    for detector, result in results.items():
        part = detection_figures(result)
        row = [detector, *(part[key] for key in ("ap", "ap_50_95", "recall", "false_positives"))]
        rows.append([*row, *part["recall_at_fp_per_photo"].values()])
    faces = next(iter(results.values())).curve.faces
    lines = [f"{name}; {gathered.note}, {faces:,} faces", report.table(header, rows)]
    for detector, result in results.items():
        sizes = [[_size_label(each), each.faces, each.ap, each.recall] for each in result.sizes if each.faces]
        if sizes:
            title = f"{detector}, by shorter side"
            lines += ["", report.table([title, "faces", "AP 0.5", "recall"], sizes)]
    return "\n".join(lines)
