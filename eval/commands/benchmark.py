"""``python -m eval benchmark``, ``compare`` and ``photos``: all sets of a data folder in one go."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade.version import __version__
from eval import figures, report
from eval.commands import common
from eval.predictions import Found, Predictions, match_names, to_json
from eval.running import OurDetector, Settings, run
from eval.testsets import SETS, TEST_SETS, SetFigures, TestSet, judge, read_set

FACES_HEADER = ("detector", "score", "recall", "precision", "false_positives")
COLUMNS = {
    "faces": (("AP", "ap"), ("recall", "recall"), ("false positives", "false_positives")),
    "no_face": (("false positives", "false_positives"),),
    "landmarks": (("mean error", "error_interocular"), ("matched of {}", "matched")),
}
"""The columns of the table for each kind of set: title, and key of the figure."""

LANDMARKS_HEADER = ("detector", "error_interocular", "share_of_all_faces")


def add_parsers(verbs: Any) -> None:
    """Add the three commands to the parser."""
    ours = verbs.add_parser("benchmark", help="our detector on all test sets of a data folder, beside others")
    _add_sets(ours)
    _add_report(ours)
    common.add_detector(ours)
    ours.add_argument("--name", default=common.OURS, help="name in tables and figures (default: %(default)s)")
    ours.set_defaults(execute=execute_benchmark)
    others = verbs.add_parser("compare", help="the same figures for prediction files alone")
    _add_sets(others)
    _add_report(others)
    others.set_defaults(execute=execute_compare)
    listing = verbs.add_parser("photos", help="list the photos of the sets, to run another detector on them")
    _add_sets(listing)
    listing.set_defaults(execute=execute_photos)


def _add_sets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, type=Path, metavar="ROOT", help="the data folder")
    parser.add_argument(
        "--set",
        dest="sets",
        nargs="+",
        choices=tuple(SETS),
        default=list(TEST_SETS),
        metavar="NAME",
        help=f"of {', '.join(SETS)} (default: the first four, which are for testing only)",
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the report")
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        type=common.name_and_file,
        metavar="NAME=FILE",
        help="judge these predictions too (may be repeated)",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """One detector: what it found on all sets, its figures by set, and photos that could not be read."""

    predictions: Predictions
    figures: Mapping[str, SetFigures]
    broken: Mapping[str, str]


def execute_photos(args: argparse.Namespace) -> None:
    """Print for each photo the smallest face to look for in pixels (0: as usual) and its path."""
    for name in args.sets:
        test_set = read_set(args.data, name)
        for photo in test_set.photos:
            print(f"{test_set.min_size:g} {photo.name}")


def execute_benchmark(args: argparse.Namespace) -> None:
    """Run and judge our detector, and judge those of --compare."""
    args.started = time.perf_counter()
    sets = [read_set(args.data, name) for name in args.sets]
    compared = common.read_compared(args.compare, args.name)
    ours = _run_ours(args, sets)
    judged = {args.name: ours, **{name: _judge_file(sets, each) for name, each in compared.items()}}
    _report(args, sets, judged, ours.predictions)


def execute_compare(args: argparse.Namespace) -> None:
    """Judge prediction files."""
    args.started = time.perf_counter()
    if not args.compare:
        raise ValueError("compare: give at least one --compare NAME=FILE")
    sets = [read_set(args.data, name) for name in args.sets]
    compared = common.read_compared(args.compare, None)
    _report(args, sets, {name: _judge_file(sets, each) for name, each in compared.items()}, None)


def _run_ours(args: argparse.Namespace, sets: Sequence[TestSet]) -> _Judged:
    """Run our detector on every set; photos that cannot be read are left out of the figures."""
    settings = common.settings_of(args)
    usual = OurDetector(settings)
    found: dict[str, Found] = {}
    broken: dict[str, str] = {}
    results: dict[str, SetFigures] = {}
    for test_set in sets:
        detector = OurDetector(_settings_for(settings, test_set)) if test_set.min_size else usual
        ran = run(common.progress(test_set.name)(test_set.photos), detector)
        found |= ran.found
        broken |= ran.broken
        readable = tuple(photo for photo in test_set.photos if photo.name in ran.found)
        results[test_set.name] = judge(replace(test_set, photos=readable), ran.found, usual.default_score)
    about = usual.about()
    about["settings"]["min_face_by_set"] = {each.name: each.min_size for each in sets if each.min_size}
    return _Judged(Predictions(found, about), results, broken)


def _settings_for(settings: Settings, test_set: TestSet) -> Settings:
    """Look for faces from the size on that the set counts, unless the options say another size."""
    return settings if settings.min_face is not None else replace(settings, min_face=test_set.min_size)


def _judge_file(sets: Sequence[TestSet], predictions: Predictions) -> _Judged:
    """Judge predictions on every set; raises ValueError where a set is wholly missing from them."""
    results = {}
    for test_set in sets:
        matched = match_names([photo.name for photo in test_set.photos], predictions.found)
        if not matched.found:
            raise ValueError(f"the predictions hold no photo of {test_set.name}")
        if matched.missing:
            print(
                f"warning: {test_set.name}: {len(matched.missing)} photos without predictions",
                file=sys.stderr,
            )
        results[test_set.name] = judge(test_set, matched.found, predictions.default_score)
    return _Judged(predictions, results, {})


def _report(
    args: argparse.Namespace,
    sets: Sequence[TestSet],
    judged: Mapping[str, _Judged],
    ours: Predictions | None,
) -> None:
    header, rows = _table(sets, judged)
    notes = [f"{each.name}: {len(each.photos):,} photos; {each.note}." for each in sets]
    with report.output_folder(args.out) as folder:
        text = report.markdown_table(header, rows) + "\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"
        (folder / "table.md").write_text(text, encoding="utf-8")
        for test_set in sets:
            _write_curve(folder, test_set, _on_set(judged, test_set))
        _draw(folder / "curves.png", sets, judged)
        if ours is not None:
            (folder / "predictions.json").write_text(to_json(ours.found, ours.about), encoding="utf-8")
        report.write_summary(folder, _summary(args, sets, judged))
    print(report.table(header, rows))
    print("\n".join(notes))


def _summary(args: argparse.Namespace, sets: Sequence[TestSet], judged: Mapping[str, _Judged]) -> dict[str, Any]:
    detectors = {}
    for name, each in judged.items():
        for reason in each.broken.values():
            print(f"warning: broken photo: {reason}", file=sys.stderr)
        detectors[name] = {
            **{key: figures.summary() for key, figures in each.figures.items()},
            "broken_photos": len(each.broken),
            "problems": [f"broken photo: {reason}" for reason in each.broken.values()],
            "default_score": each.predictions.default_score,
            "settings": each.predictions.about.get("settings", {}),
            "weights_sha256": each.predictions.about.get("weights_sha256"),
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


def _table(sets: Sequence[TestSet], judged: Mapping[str, _Judged]) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows: one detector a row, the figures of all sets beside each other."""
    header = ["detector"]
    rows: list[list[Any]] = [[name] for name in judged]
    for test_set in sets:
        for title, key in COLUMNS[test_set.kind]:
            header.append(f"{test_set.name} {title.format(len(test_set.photos))}")
            for row, each in zip(rows, judged.values(), strict=True):
                row.append(each.figures[test_set.name].summary()[key])
    return header, rows


def _on_set(judged: Mapping[str, _Judged], test_set: TestSet) -> dict[str, SetFigures]:
    return {name: each.figures[test_set.name] for name, each in judged.items()}


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


def _draw(file: Path, sets: Sequence[TestSet], judged: Mapping[str, _Judged]) -> None:
    """Draw one panel for each set that has curves."""
    drawn = [each for each in sets if each.kind != "no_face"]
    if not drawn:
        return
    chart, panels = figures.figure(len(drawn), "All detectors judged on the same photos in the same way")
    for test_set, panel in zip(drawn, panels, strict=True):
        title = f"{test_set.title} ({len(test_set.photos):,} photos)"
        figures.set_panel(panel, title, _on_set(judged, test_set))
    figures.save(chart, file)
