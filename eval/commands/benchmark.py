"""``python -m eval benchmark``, ``compare`` and ``photos``: all sets of a data folder in one go."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade.detect import Detector
from cascade.version import __version__
from eval.baselines import client
from eval.baselines.adapters import BASELINES
from eval.commands import common
from eval.commands.sets import Evaluation, OnSet, add_data, evaluate_file, run_ours
from eval.detection.predictions import Predictions, to_json
from eval.detection.running import OurDetector
from eval.detection.test_sets import (
    SETS,
    TEST_SETS,
    EqualFalsePositives,
    SetFigures,
    TestSet,
    equal_false_positives,
    read_set,
)
from eval.report import detection_figures as figures
from eval.report import files as report

FACES_HEADER = ("detector", "score", "recall", "precision", "false_positives")
COLUMNS = {
    "faces": (("AP", "ap"), ("recall", "recall"), ("false positives", "false_positives"), ("ms", "median_ms")),
    "no_face": (("false positives", "false_positives"),),
    "landmarks": (("mean error", "error_interocular"), ("matched of {}", "matched")),
}
"""The columns of the table for each kind of set: title, and key of the figure."""

LANDMARKS_HEADER = ("detector", "error_interocular", "share_of_all_faces")


def add_parsers(verbs: Any) -> None:
    """Add the three commands to the parser."""
    ours = verbs.add_parser("benchmark", help="our detector on all test sets of a data folder, beside baselines")
    _add_sets(ours)
    common.add_report(ours)
    client.add_options(ours)
    common.add_detector(ours)
    ours.add_argument("--name", default=common.OURS, help="name in tables and figures (default: %(default)s)")
    ours.set_defaults(execute=execute_benchmark)
    files = verbs.add_parser("compare", help="the same figures for prediction files alone")
    _add_sets(files)
    common.add_report(files)
    files.set_defaults(execute=execute_compare)
    listing = verbs.add_parser("photos", help="list the photos of the sets, to run another detector on them")
    _add_sets(listing)
    listing.set_defaults(execute=execute_photos)


def _add_sets(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument(
        "--set",
        dest="sets",
        nargs="+",
        choices=tuple(SETS),
        default=list(TEST_SETS),
        metavar="NAME",
        help=f"of {', '.join(SETS)} (default: the first four, which are for testing only)",
    )


def execute_photos(args: argparse.Namespace) -> None:
    """Print for each photo the smallest face to look for in pixels (0: as usual) and its path."""
    for name in args.sets:
        test_set = read_set(args.data, name)
        for photo in test_set.photos:
            print(f"{test_set.min_size:g} {photo.name}")


def execute_benchmark(args: argparse.Namespace) -> None:
    """Run and evaluate our detector, and evaluate the baselines and the files of --compare."""
    args.started = time.perf_counter()
    titles = [BASELINES[name].title for name, _ in args.baselines]
    common.check_names([args.name, *(name for name, _ in args.compare), *titles])
    sets = [read_set(args.data, name) for name in args.sets]
    # what needs no detector first, so that a wrong file or setting is told before the long work
    OurDetector(common.settings_of(args))
    others = _evaluate_files(args.compare, sets)
    others |= _evaluate_files(_run_baselines(args, sets), sets)
    ours = run_ours(args, sets)
    if ours.broken:  # all detectors are evaluated on the same photos
        sets = [each.test_set for each in ours.sets.values()]
        others = {name: evaluate_file(sets, each.predictions) for name, each in others.items()}
    _report(args, sets, {args.name: ours, **others}, ours.predictions)


def _evaluate_files(files: Sequence[tuple[str, Path]], sets: Sequence[TestSet]) -> dict[str, Evaluation]:
    evaluated = {}
    for name, predictions in common.read_compared(files, None).items():
        try:
            evaluated[name] = evaluate_file(sets, predictions)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return evaluated


def _run_baselines(args: argparse.Namespace, sets: Sequence[TestSet]) -> list[tuple[str, Path]]:
    """Run every --baseline on the photos of the sets with our number of threads; return titles and prediction files."""
    if not args.baselines:
        return []
    files = client.predict(
        args.baselines,
        args.data,
        [(test_set.min_size, photo.name) for test_set in sets for photo in test_set.photos],
        args.out / "baselines",
        threads=Detector(threads=args.threads).threads,
        yunet_model=args.yunet_model,
    )
    return [(BASELINES[name].title, file) for name, file in files.items()]


def execute_compare(args: argparse.Namespace) -> None:
    """Evaluate prediction files."""
    args.started = time.perf_counter()
    if not args.compare:
        raise ValueError("compare: give at least one --compare NAME=FILE")
    sets = [read_set(args.data, name) for name in args.sets]
    _report(args, sets, _evaluate_files(args.compare, sets), None)


def _report(
    args: argparse.Namespace,
    sets: Sequence[TestSet],
    evaluated: Mapping[str, Evaluation],
    ours: Predictions | None,
) -> None:
    header, rows = _table(sets, evaluated)
    notes = [f"{each.name}: {len(each.photos):,} photos; {each.note}." for each in sets]
    notes += _note_on_times(evaluated)
    with report.output_folder(args.out) as folder:
        text = report.markdown_table(header, rows) + "\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"
        (folder / "table.md").write_text(text, encoding="utf-8")
        for test_set in sets:
            _write_curve(folder, test_set, _on_set(evaluated, test_set))
        _draw(folder / "curves.png", sets, evaluated)
        if ours is not None:
            (folder / "predictions.json").write_text(to_json(ours.found, ours.about, ours.usual), encoding="utf-8")
        report.write_summary(folder, _summary(args, sets, evaluated))
    print(report.table(header, rows))
    print("\n".join(notes))


def _summary(args: argparse.Namespace, sets: Sequence[TestSet], evaluated: Mapping[str, Evaluation]) -> dict[str, Any]:
    equal = {test_set.name: _at_equal_false_positives(evaluated, test_set) for test_set in sets}
    detectors = {}
    for name, each in evaluated.items():
        about = each.predictions.about
        detectors[name] = {
            **{key: _set_summary(name, key, result, equal) for key, result in each.sets.items()},
            "broken_photos": len(each.broken),
            "problems": each.problems(),
            "default_score": each.predictions.default_score,
            "settings": about.get("settings", {}),
            "weights_sha256": about.get("weights_sha256"),
            "gflop_per_photo": about.get("gflop_per_photo"),
        }
    return {
        "task": args.verb,
        "detectors": detectors,
        "photos": {each.name: len(each.photos) for each in sets},
        "subset": {each.name: each.note for each in sets},
        "command": shlex.join(args.command_line),
        "version": __version__,
        "seconds": round(time.perf_counter() - args.started, 3),
    }


def _set_summary(name: str, set_name: str, result: OnSet, equal: Mapping[str, Any]) -> dict[str, Any]:
    figures = result.summary()
    if result.test_set.kind == "faces":
        figures["recall_at_false_positives_of"] = {
            reference: {"false_positives": each.false_positives, "recall": each.recall[name]}
            for reference, each in equal[set_name].items()
        }
    return figures


def _note_on_times(evaluated: Mapping[str, Evaluation]) -> list[str]:
    """Return what the times of a detection are, if any detector has them, with its number of threads."""
    timed = {name: each for name, each in evaluated.items() if any(result.median_ms for result in each.sets.values())}
    threads = [f"{name} {each.predictions.about.get('settings', {}).get('threads')}" for name, each in timed.items()]
    told = f"ms: median time of a detection, the photo already decoded; threads: {', '.join(threads)}."
    return [told] if timed else []


def _table(sets: Sequence[TestSet], evaluated: Mapping[str, Evaluation]) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows: one detector a row, the figures of all sets beside each other."""
    header = ["detector"]
    rows: list[list[Any]] = [[name] for name in evaluated]
    for test_set in sets:
        for title, key in COLUMNS[test_set.kind]:
            header.append(f"{test_set.name} {title.format(len(test_set.photos))}")
            for row, each in zip(rows, evaluated.values(), strict=True):
                value = each.sets[test_set.name].summary()[key]
                row.append(f"{value:.1f}" if key == "median_ms" and value is not None else value)
        for reference, equal in _at_equal_false_positives(evaluated, test_set).items():
            header.append(f"{test_set.name} recall at {reference}'s {equal.false_positives} false positives")
            for row, recall in zip(rows, equal.recall.values(), strict=True):
                row.append(recall)
    return header, rows


def _at_equal_false_positives(evaluated: Mapping[str, Evaluation], test_set: TestSet) -> dict[str, EqualFalsePositives]:
    """Return recalls beside each file's and baseline's own, where these say their default score."""
    given = [name for name, each in evaluated.items() if not each.ours and each.predictions.default_score is not None]
    return equal_false_positives(_on_set(evaluated, test_set), given)


def _on_set(evaluated: Mapping[str, Evaluation], test_set: TestSet) -> dict[str, SetFigures]:
    return {name: each.sets[test_set.name].figures for name, each in evaluated.items()}


def _write_curve(folder: Path, test_set: TestSet, results: Mapping[str, SetFigures]) -> None:
    """Write a set's curves of all detectors as CSV; a set without faces has none."""
    rows: list[tuple[Any, ...]] = []
    for name, result in results.items():
        if result.detection is not None:
            curve = result.detection.curve
            parts = (curve.scores, curve.recall, curve.precision, curve.false_positives)
            rows += [(name, *row) for row in zip(*(part.tolist() for part in parts), strict=True)]
        elif result.landmarks is not None:
            errors = figures.ERRORS
            shares = result.landmarks.cumulative(errors)
            rows += [(name, *row) for row in zip(errors.tolist(), shares.tolist(), strict=True)]
    if test_set.kind != "no_face":
        header = FACES_HEADER if test_set.kind == "faces" else LANDMARKS_HEADER
        report.write_csv(folder / f"{test_set.name}.csv", header, rows)


def _draw(file: Path, sets: Sequence[TestSet], evaluated: Mapping[str, Evaluation]) -> None:
    """Draw one panel for each set that has curves."""
    drawn = [each for each in sets if each.kind != "no_face"]
    if not drawn:
        return
    chart, panels = figures.figure(len(drawn), "All detectors evaluated on the same photos in the same way")
    for test_set, panel in zip(drawn, panels, strict=True):
        title = f"{test_set.title} ({len(test_set.photos):,} photos)"
        figures.set_panel(panel, title, _on_set(evaluated, test_set))
    figures.save(chart, file)
