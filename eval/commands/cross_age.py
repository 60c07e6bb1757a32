"""``python -m eval cross-age``."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.datasets import read_fgnet
from eval.commands import recognition
from eval.recognition.similarity import FloatArray, pair_scores, unit_rows
from eval.recognition.verification import VerificationResult, evaluate
from eval.report import files as report
from eval.report.recognition_figures import draw_roc, roc_label

CHILD = 12.0
"""Oldest age in years of the pairs of children."""

APART = 20.0
"""Fewest years between the photos of the cross-age pairs."""


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("cross-age", help="pairs of children, and pairs of photos taken 20 years apart: FG-NET")
    parser.add_argument("--protocol", default="fgnet", choices=("fgnet",))
    recognition.add_options(parser)
    parser.set_defaults(execute=execute)


def kinds_of_pairs(ages: FloatArray) -> dict[str, tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The indices (P,) of both photos of all pairs of children, and of all pairs taken long after each other.

    ages  (N,) years, NaN where unknown: such photos are in no pair

    Pairs of one person and of two are chosen by the same rule, so that a false accept is one between such photos.
    """
    first, second = np.triu_indices(len(ages), 1)
    children = np.maximum(ages[first], ages[second]) < CHILD + 1
    apart = np.abs(ages[first] - ages[second]) >= APART
    return {
        "children": (first[children], second[children]),
        "cross-age": (first[apart], second[apart]),
    }


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    people = read_fgnet(args.images)
    embedded = recognition.collect(args, list(people))
    names = np.array([str(photo.person) for photo in people])
    ages = np.array([photo.age for photo in people], np.float64)
    rows = unit_rows(embedded.vectors)
    leave_out = args.missed == recognition.LEAVE_OUT
    found: dict[str, VerificationResult] = {}
    for kind, (first, second) in kinds_of_pairs(ages).items():
        scores = pair_scores(rows, first, second)
        kept = ~np.isnan(scores) if leave_out else np.ones(len(scores), bool)
        found[kind] = evaluate(scores[kept], (names[first] == names[second])[kept])
    name = args.name or embedded.name
    with report.output_folder(args.out) as folder:
        hashes = recognition.keep_embeddings(folder, [embedded])
        curves = {kind: {roc_label(name, result.roc): result.roc} for kind, result in found.items()}
        draw_roc(folder / "roc.png", curves, f"{name} on FG-NET")
        figures = {"kinds": {kind: _figures(result) for kind, result in found.items()}}
        summary = recognition.summary("cross-age", args, [embedded], figures, people.problems)
        report.write_summary(folder, summary | hashes)
    print(_table(found, name, embedded.missed))


def _figures(result: VerificationResult) -> dict[str, Any]:
    return {
        "eer": result.roc.eer,
        "tar_at_far": result.tar_at_far(),
        "genuine_pairs": result.roc.genuine,
        "impostor_pairs": result.roc.impostors,
        "missed_pairs": result.missed_pairs,
    }


def _table(found: dict[str, VerificationResult], name: str, missed: int) -> str:
    rows = [
        [kind, result.roc.eer, *result.tar_at_far().values(), result.roc.genuine, result.roc.impostors]
        for kind, result in found.items()
    ]
    tar = next(iter(found.values())).tar_at_far()
    header = [name, "EER", *(f"TAR at {far}" for far in tar), "genuine", "impostors"]
    about = f"children: both at most {CHILD:.0f} years old; cross-age: at least {APART:.0f} years apart"
    return f"{about}; {missed:,} missed faces\n{report.table(header, rows)}"
