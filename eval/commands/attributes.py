"""``python -m eval attributes``."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascade.datasets import LabelledPhoto, LabelledPhotos
from cascade.version import __version__
from eval.attributes.classification import ClassResult
from eval.attributes.evaluation import AttributeResult, evaluate_attributes
from eval.attributes.predictions import Predictions, read_attribute_predictions
from eval.attributes.protocols import PROTOCOLS, Protocol, chosen
from eval.commands import common
from eval.commands.age import figures_of_ages
from eval.report import files as report
from eval.report.age_figures import draw_ages
from eval.report.attribute_figures import draw_classes

CLASS_HEADER = ("model", "task", "class", "precision", "recall", "f1", "faces")
GROUP_HEADER = ("model", "task", "kind", "group", "figure", "value", "low", "high", "faces")
BIN_HEADER = ("low", "high", "answers", "confidence", "accuracy")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A model's answers for the photos, and what it reached."""

    name: str
    predictions: Predictions
    missing: tuple[str, ...]
    result: AttributeResult


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "attributes", help="what faces look like: UTKFace, FG-NET, FairFace, FER2013, GENKI-4K, CelebA"
    )
    parser.add_argument("--images", required=True, type=Path, metavar="DIR", help="the set's folder")
    parser.add_argument("--protocol", required=True, choices=tuple(PROTOCOLS), help="whose layout and words it has")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="of the set, where it is not where it is usually")
    parser.add_argument("--attribute", default="", metavar="NAME", help="folder: what the names of the folders say")
    parser.add_argument("--crops", action="store_true", help="folder: each photo is the crop of one face")
    parser.add_argument(
        "--where", action="append", default=[], type=_equation, metavar="NAME=LABEL", help="only photos with this label"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only N photos, always the same ones")
    common.add_report(parser)
    parser.add_argument("--name", help="name of the model in tables and figures")
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="evaluate these answers: .csv with the columns name, age and others by task, or .json with the same keys "
        "(default: run our network)",
    )
    group = parser.add_argument_group("our network, where it is run")
    group.add_argument("--weights", metavar="NAME|FILE", help="a shipped network or a file")
    group.add_argument("--threads", type=int, metavar="N")
    parser.set_defaults(execute=execute)


def _equation(text: str) -> tuple[str, str]:
    name, found, label = text.partition("=")
    if not name or not found:
        raise argparse.ArgumentTypeError(f"NAME=LABEL expected, got {text!r}")
    return name, label


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    protocol = PROTOCOLS[args.protocol]
    labelled = protocol.read(args.images, args.labels, args.attribute)
    photos = _limited(chosen(labelled, args.where), args.limit)
    entries = [_entry(name, each, photos, protocol) for name, each in _predictions(args, photos, protocol)]
    with report.output_folder(args.out) as folder:
        for at, entry in enumerate(entries):
            _write(folder if not at else folder / entry.name, entry, args.protocol)
        report.write_csv(folder / "classes.csv", CLASS_HEADER, (row for each in entries for row in _class_rows(each)))
        report.write_csv(folder / "groups.csv", GROUP_HEADER, (row for each in entries for row in _group_rows(each)))
        report.write_summary(folder, _summary(args, labelled, photos, entries))
    print("\n\n".join(_table(entry, args.protocol, len(photos)) for entry in entries))


def _limited(photos: tuple[LabelledPhoto, ...], limit: int | None) -> tuple[LabelledPhoto, ...]:
    if limit is None or limit >= len(photos):
        return photos
    if limit < 1:
        raise ValueError(f"--limit: expected at least 1, got {limit}")
    rows = np.sort(np.random.default_rng(0).permutation(len(photos))[:limit])
    return tuple(photos[row] for row in rows)


def _predictions(
    args: argparse.Namespace, photos: Sequence[LabelledPhoto], protocol: Protocol
) -> Iterator[tuple[str, Predictions]]:
    """The answers to evaluate with their models' names, the main one first."""
    if args.predictions is None:
        from cascade.attributes import AttributeEstimator
        from cascade.models.attributes import load_attributes
        from eval.attributes.running import run_on_photos

        weights = load_attributes(args.weights)
        _check_names(args, weights.name)
        labels = {name for photo in photos for name in photo.labels}
        tasks = [task.name for task in weights.tasks if task.name in labels]
        if not tasks:
            known = ", ".join(task.name for task in weights.tasks)
            raise ValueError(f"--weights: {weights.path} knows {known}, of which the photos have no label")
        estimator = AttributeEstimator(weights, tasks, args.threads)
        main = run_on_photos(photos, common.progress("estimating")(photos), estimator, protocol.crops or args.crops)
    else:
        main = read_attribute_predictions(args.predictions)
        _check_names(args, str(main.about["model"]))
    yield args.name or str(main.about["model"]), main
    for name, file in args.compare:
        yield name, read_attribute_predictions(file)


def _check_names(args: argparse.Namespace, model: str) -> None:
    common.check_names([args.name or model, *(name for name, _ in args.compare)])


def _entry(name: str, predictions: Predictions, photos: Sequence[LabelledPhoto], protocol: Protocol) -> Entry:
    matched, missing = predictions.of([photo.name for photo in photos])
    if len(missing) == len(photos):
        first = f"it has {predictions.names[0]}, the set {photos[0].name}"
        raise ValueError(f"{name}: none of its {len(predictions.names)} names is among the photos ({first})")
    return Entry(name, matched, missing, evaluate_attributes(photos, matched, protocol))


# --------------------------------------------------------------------------------------------------
# Files


def _write(folder: Path, entry: Entry, protocol: str) -> None:
    """Write a model's answers, confusion matrices, reliability and pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(entry.predictions.rows())
    report.write_csv(folder / "predictions.csv", tuple(rows[0]), (tuple(row.values()) for row in rows))
    for task, result in entry.result.classes.items():
        matrix = ((name, *row) for name, row in zip(result.classes, result.matrix.tolist(), strict=True))
        report.write_csv(folder / f"confusion_{task}.csv", ("truth", *result.classes), matrix)
        if result.calibration_error is not None:
            bins = ((b.low, b.high, b.answers, b.confidence, b.accuracy) for b in result.calibration())
            report.write_csv(folder / f"calibration_{task}.csv", BIN_HEADER, bins)
        title = f"{entry.name} on {protocol}: {task}, {len(result.truth):,} faces"
        draw_classes(folder / f"{task}.png", result, title)
    if entry.result.ages is not None:
        ages = entry.result.ages
        draw_ages(folder / "ages.png", ages, f"{entry.name} on {protocol}, {len(ages.ages):,} photos")


def _class_rows(entry: Entry) -> Iterator[tuple[Any, ...]]:
    for task, result in entry.result.classes.items():
        for each in result.by_class():
            yield entry.name, task, each.name, each.precision, each.recall, each.f1, each.faces


def _group_rows(entry: Entry) -> Iterator[tuple[Any, ...]]:
    for task in entry.result.classes:
        for kind, name, result in entry.result.by_group(task):
            low, high = result.accuracy_interval or (None, None)
            yield entry.name, task, kind, name, "accuracy", result.accuracy, low, high, len(result.truth)
    ages = entry.result.ages
    for kind, parts in ages.groups.items() if ages else ():
        for name, errors in parts.items():
            low, high = errors.mae_interval or (None, None)
            yield entry.name, "age", kind, name, "mae", errors.mae, low, high, errors.photos
            yield entry.name, "age", kind, name, "bias", errors.bias, None, None, errors.photos


# --------------------------------------------------------------------------------------------------
# Figures


def _summary(
    args: argparse.Namespace, labelled: LabelledPhotos, photos: Sequence[LabelledPhoto], entries: Sequence[Entry]
) -> dict[str, Any]:
    main, *others = entries
    problems = [*map(str, labelled.problems), *(problem for entry in entries for problem in _problems(entry))]
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    about = dict(main.predictions.about)
    own = {name: about.pop(name, None) for name in ("weights_sha256", "predictions_sha256")}
    return {
        "task": "attributes",
        "protocol": args.protocol,
        "note": PROTOCOLS[args.protocol].note or None,
        "model": main.name,
        **_figures(main),
        "photos": len(photos),
        "photos_in_set": len(labelled),
        "subset": report.subset_note(len(photos), len(labelled)),
        "broken_photos": len(main.predictions.broken),
        "missing_predictions": len(main.missing),
        "problems": problems,
        "settings": {**about, "where": dict(args.where), "limit": args.limit},
        **own,
        "compared": {each.name: _figures(each) for each in others},
        "command": shlex.join(args.command_line),
        "version": __version__,
        "seconds": round(time.perf_counter() - args.started, 3),
    }


def _figures(entry: Entry) -> dict[str, Any]:
    result = entry.result
    return {
        "tasks": {task: _task_figures(result, task) for task in result.classes},
        "age": None if result.ages is None else figures_of_ages(result.ages, result.ages.groups),
    }


def _task_figures(result: AttributeResult, task: str) -> dict[str, Any]:
    figures = _class_figures(result.classes[task])
    figures["by_class"] = {
        each.name: {"precision": each.precision, "recall": each.recall, "f1": each.f1, "faces": each.faces}
        for each in result.classes[task].by_class()
    }
    groups: dict[str, dict[str, Any]] = {}
    for kind, name, part in result.by_group(task):
        figures_of_part = {"accuracy": part.accuracy, "accuracy_interval": part.accuracy_interval}
        groups.setdefault(f"by_{kind}", {})[name] = {**figures_of_part, "faces": len(part.truth)}
    return {**figures, **groups}


def _class_figures(result: ClassResult) -> dict[str, Any]:
    return {
        "accuracy": result.accuracy,
        "accuracy_interval": result.accuracy_interval,
        "accuracy_of_all": result.accuracy_of_all,
        "balanced_accuracy": result.balanced_accuracy,
        "macro_f1": result.macro_f1,
        "calibration_error": result.calibration_error,
        "faces": len(result.truth),
        "without_answer": int((~result.answered).sum()),
    }


def _problems(entry: Entry) -> Iterator[str]:
    yield from (f"broken photo: {reason}" for reason in entry.predictions.broken.values())
    if entry.missing:
        yield f"{entry.name}: no row for {common.listed(entry.missing)}"


def _table(entry: Entry, protocol: str, photos: int) -> str:
    header = [
        f"{entry.name} on {protocol}",
        "accuracy",
        "95 % interval",
        "balanced",
        "macro F1",
        "ECE",
        "faces",
        "none",
    ]
    rows: list[list[Any]] = []
    for task, result in entry.result.classes.items():
        spread = result.accuracy_interval
        shown = None if spread is None else f"{spread[0]:.3f}–{spread[1]:.3f}"
        figures = [result.accuracy, shown, result.balanced_accuracy, result.macro_f1, result.calibration_error]
        rows.append([task, *figures, len(result.truth), int((~result.answered).sum())])
    lines = [f"{photos:,} photos", report.table(header, rows)] if rows else []
    for task in entry.result.classes:
        groups = [
            [f"{kind}: {name}", part.accuracy, len(part.truth)] for kind, name, part in entry.result.by_group(task)
        ]
        if groups and not task.startswith("age_"):
            lines += ["", report.table([f"{task} by", "accuracy", "faces"], groups)]
    ages = entry.result.ages
    if ages is not None:
        parts = [
            ("all", ages.overall),
            *((f"{kind}: {name}", e) for kind, p in ages.groups.items() for name, e in p.items()),
        ]
        years = [
            [name, *(None if y is None else f"{y:.2f}" for y in (e.mae, e.bias)), e.within(5), e.photos]
            for name, e in parts
        ]
        lines += ["", report.table(["age", "mean error", "bias", "within 5", "photos"], years)]
    return "\n".join(lines)
