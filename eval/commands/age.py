"""``python -m eval age``."""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cascade.datasets import People, read_fgnet, read_utkface
from eval.commands import recognition
from eval.recognition.ages import WITHIN, AgeErrors, AgeResult, evaluate, read_ages
from eval.recognition.embedding import our_age_estimator
from eval.recognition.groups import GENDERS, by_label
from eval.recognition.similarity import FloatArray
from eval.report import files as report
from eval.report.age_figures import CURVE, draw_ages

SETS: dict[str, Callable[[Path], People]] = {"utkface": read_utkface, "fgnet": read_fgnet}
KINDS = ("age", "gender", "race")

AGES = "ages.csv"
AGES_HEADER = ("name", "age", "true_age", "error", *KINDS[1:])
SCORE_HEADER = ("years", "share", "share_of_all")


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("age", help="how far estimated ages are off: UTKFace, FG-NET")
    parser.add_argument("--protocol", required=True, choices=tuple(SETS), help="whose layout the photos have")
    recognition.add_report(parser)
    parser.add_argument(
        "--ages",
        type=Path,
        metavar="FILE",
        help="evaluate these estimates: .csv with the columns name and age, empty for a missed face, or .npz with "
        "names (N,) and ages (N,), NaN for a missed face (default: run our recogniser)",
    )
    recognition.add_recogniser(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    people = SETS[args.protocol](args.images)
    embedded = _collect(args, people)
    if embedded.vectors.shape[1] != 1:
        raise ValueError("--ages: one number for each photo expected")
    result = _evaluate(people, embedded.vectors[:, 0].astype(np.float64))
    name = args.name = args.name or (embedded.name if args.ages is None else args.ages.stem)
    with report.output_folder(args.out) as folder:
        report.write_csv(folder / AGES, AGES_HEADER, _rows(people, result))
        report.write_csv(folder / "cumulative_score.csv", SCORE_HEADER, _score_rows(result.overall))
        draw_ages(folder / "ages.png", result, f"{name} on {args.protocol}, {len(people):,} photos")
        summary = recognition.summary("age", args, [embedded], figures_of_ages(result), people.problems)
        summary["missing_ages"] = summary.pop("missing_embeddings")
        own = hashlib.sha256((folder / AGES).read_bytes()).hexdigest()
        report.write_summary(folder, summary | {"ages_sha256": embedded.source.about.get("ages_sha256", own)})
    print(_table(result, name, args.protocol))


def _collect(args: argparse.Namespace, people: People) -> recognition.PhotoEmbeddings:
    """Return the estimates as embeddings of one number."""
    if args.ages is not None:
        return recognition.matched(args.ages, read_ages(args.ages), people.photos)
    return recognition.embed(args, people.photos, our_age_estimator(args.weights))


def _evaluate(people: People, estimates: FloatArray) -> AgeResult:
    known = all(photo.person is not None for photo in people)
    return evaluate(
        [photo.age for photo in people],
        estimates,
        by_label(people.photos),
        [photo.person for photo in people] if known else None,
    )


def _rows(people: People, result: AgeResult) -> Iterator[tuple[Any, ...]]:
    races = list(result.groups.get("race", ()))
    for photo, true, age in zip(people, result.ages.tolist(), result.estimates.tolist(), strict=True):
        gender, race = (photo.attributes.get(kind) for kind in ("gender", "race"))
        labels = ("" if gender is None else GENDERS[gender], "" if race is None else races[race])
        yield (photo.name, *(("", true, "") if np.isnan(age) else (age, true, age - true)), *labels)


def _score_rows(errors: AgeErrors) -> Iterator[tuple[Any, ...]]:
    for years in CURVE:
        yield years, errors.within(years), errors.of_all(years)


def figures_of_ages(result: AgeResult, kinds: Iterable[str] = KINDS) -> dict[str, Any]:
    """Return the figures as summary.json has them, with those by groups of these kinds, None where there are none."""
    overall = result.overall
    by_kind = {
        f"by_{kind}": {name: _group(errors) for name, errors in result.groups[kind].items()}
        if kind in result.groups
        else None
        for kind in kinds
    }
    figures = _group(overall) | {f"cs{years}_of_all": overall.of_all(years) for years in WITHIN}
    figures["found"] = overall.photos - overall.missed
    return {key: value for key, value in figures.items() if key not in ("photos", "missed_faces")} | by_kind


def _group(errors: AgeErrors) -> dict[str, Any]:
    return {
        "photos": errors.photos,
        "missed_faces": errors.missed,
        "mae": errors.mae,
        "mae_interval": errors.mae_interval,
        "bias": errors.bias,
        **{f"cs{years}": errors.within(years) for years in WITHIN},
    }


def _table(result: AgeResult, name: str, protocol: str) -> str:
    overall = result.overall
    missed = ", ".join(f"within {years} years {overall.of_all(years):.4f}" for years in WITHIN)
    lines = [
        f"{protocol}; {overall.photos:,} photos; {overall.missed:,} missed faces, which are in no figure but "
        f"their number (of all photos: {missed})",
        report.table(["age", *_header()], [[name, *_cells(overall)]]),
    ]
    for kind, groups in result.groups.items():
        rows = [[group, *_cells(errors)] for group, errors in groups.items()]
        lines += ["", report.table([f"by {kind}", *_header()], rows)]
    return "\n".join(lines)


def _header() -> list[str]:
    return ["mean error", "95 % interval", "bias", *(f"within {years}" for years in WITHIN), "photos", "missed"]


def _cells(errors: AgeErrors) -> list[Any]:
    spread = None if errors.mae_interval is None else "{:.2f}–{:.2f}".format(*errors.mae_interval)
    years = [None if each is None else f"{each:{sign}.2f}" for each, sign in ((errors.mae, ""), (errors.bias, "+"))]
    shares = (errors.within(limit) for limit in WITHIN)
    return [years[0], spread, years[1], *shares, errors.photos, errors.missed]
