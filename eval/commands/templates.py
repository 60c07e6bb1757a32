"""``python -m eval templates``."""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cascade.datasets import PersonPhoto, Problem, read_fgnet, read_lfw_pairs
from eval.commands import common, recognition
from eval.commands.verification import in_folds
from eval.recognition.identification import leave_one_out
from eval.recognition.similarity import FloatArray, pair_scores, similarities, unit_rows
from eval.recognition.templates import Kind, known_pairs_attack, projections, protect, reconstruct
from eval.recognition.verification import evaluate
from eval.report import files as report

LFW, FGNET = "lfw", "fgnet-loo"
BITS = (128, 256, 512, 1024, 2048)
KNOWN_SHARES = (0.5, 1, 2)
"""Pairs that the attacker knows, as multiples of the numbers of an embedding."""

Figures = dict[str, float]
Measure = Callable[[FloatArray], Figures]


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("templates", help="what protected templates cost: keyed rotations, keyed signs")
    parser.add_argument("--protocol", required=True, choices=(LFW, FGNET))
    parser.add_argument("--pairs", type=Path, metavar="FILE", help="the official list of pairs of LFW")
    parser.add_argument("--folds", type=int, nargs="+", metavar="N", help="of LFW: evaluate these folds only, from 1")
    parser.add_argument("--bits", type=int, nargs="+", default=BITS, metavar="N", help="signs of a template")
    parser.add_argument("--keys", type=int, default=5, metavar="N", help="keys to average over (default: %(default)s)")
    recognition.add_options(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    if args.keys < 2:
        raise ValueError(f"--keys: at least 2 expected, got {args.keys}")
    photos, problems, measure_with = _fgnet(args) if args.protocol == FGNET else _lfw(args)
    embedded = recognition.collect(args, photos)
    rows = unit_rows(embedded.vectors)
    measure = measure_with(embedded.photos)
    kinds = [Kind(), *map(Kind, args.bits)]
    figures: dict[str, Any] = {"embeddings": measure(rows)}
    for kind in common.progress("templates")(kinds):
        figures[kind.name] = _of_kind(kind, rows, measure, args.keys)
    with report.output_folder(args.out) as folder:
        hashes = recognition.keep_embeddings(folder, [embedded])
        summary = recognition.summary("templates", args, [embedded], {"keys": args.keys, "kinds": figures}, problems)
        report.write_summary(folder, summary | hashes)
    print(
        _table(figures, f"{args.protocol}; {len(photos):,} photos; {args.keys} keys; {embedded.missed:,} missed faces")
    )


def _lfw(args: argparse.Namespace) -> tuple[Sequence[PersonPhoto], Sequence[Problem], Any]:
    if args.pairs is None:
        raise ValueError(f"templates: --protocol {LFW} needs --pairs FILE")
    everything = read_lfw_pairs(args.pairs, args.images, require_images=False, strict=True)
    pairs = list(in_folds(everything, args.folds))
    if len({pair.fold for pair in pairs}) < 2:
        raise ValueError("--folds: at least two of the list's folds expected")
    names = {photo.name for pair in pairs for photo in (pair.image_a, pair.image_b)}
    photos = [photo for photo in everything.photos() if photo.name in names]

    def measure_with(photos: Sequence[PersonPhoto]) -> Measure:
        places = {photo.name: at for at, photo in enumerate(photos)}
        first = np.array([places[pair.image_a.name] for pair in pairs])
        second = np.array([places[pair.image_b.name] for pair in pairs])
        same, folds = np.array([pair.same for pair in pairs]), np.array([pair.fold for pair in pairs])

        def measure(rows: FloatArray) -> Figures:
            found = evaluate(pair_scores(rows, first, second), same, folds, None)
            assert found.folds is not None  # they were given
            return {"accuracy": found.folds.accuracy, "eer": found.roc.eer}

        return measure

    return photos, everything.problems, measure_with


def _fgnet(args: argparse.Namespace) -> tuple[Sequence[PersonPhoto], Sequence[Problem], Any]:
    photos = read_fgnet(args.images)

    def measure_with(photos: Sequence[PersonPhoto]) -> Measure:
        people = np.array([str(photo.person) for photo in photos])
        first, second = np.triu_indices(len(people), 1)

        def measure(rows: FloatArray) -> Figures:
            scores = similarities(rows, rows)[first, second]  # all pairs: one product is quicker than pair_scores
            scores[np.isneginf(scores)] = np.nan
            pairs = evaluate(scores, people[first] == people[second], None, None)
            return {"rank1": leave_one_out(rows, people.tolist()).rank1, "eer": pairs.roc.eer}

        return measure

    return list(photos), list(photos.problems), measure_with


def _of_kind(kind: Kind, rows: FloatArray, measure: Measure, count: int) -> dict[str, Any]:
    """Return the mean and standard deviation over keys of accuracy, and what attacks gain, with the first two keys."""
    present = rows[~np.isnan(rows).any(axis=1)]
    dimension = rows.shape[1]
    keys = [hashlib.sha256(f"key {number}".encode()).digest() for number in range(count)]
    matrices = [projections(kind, key, dimension) for key in keys]
    each = [measure(protect(kind, rows, matrix)) for matrix in matrices]
    found: dict[str, Any] = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    found |= {f"{name}_std": float(np.std([one[name] for one in each], ddof=1)) for name in each[0]}
    templates, others = (protect(kind, present, matrix) for matrix in matrices[:2])
    with_key = (reconstruct(templates, matrices[0]) * present).sum(axis=1)
    across = (templates * others).sum(axis=1)
    known = [round(share * dimension) for share in KNOWN_SHARES]
    return found | {
        "cosine_with_key": float(with_key.mean()),
        "cosine_across_keys": {"mean": float(across.mean()), "std": float(across.std())},
        "cosine_known_pairs": {
            str(pairs): known_pairs_attack(present, templates, pairs) for pairs in known if pairs < len(present)
        },
    }


def _table(figures: dict[str, Any], note: str) -> str:
    measured = list(figures["embeddings"])
    known = list(figures["rotation"]["cosine_known_pairs"])
    header = ["template", *(word for name in measured for word in (name, "± std"))]
    header += ["with the key", "across keys", *(f"{pairs} known pairs" for pairs in known)]
    rows: list[list[Any]] = [
        [name, *(cell for one in measured for cell in (each[one], each.get(f"{one}_std")))]
        + (
            [each["cosine_with_key"], each["cosine_across_keys"]["mean"], *each["cosine_known_pairs"].values()]
            if "cosine_with_key" in each
            else [None] * (2 + len(known))
        )
        for name, each in figures.items()
    ]
    last = "Right of the accuracy: mean cosine between the embedding and what attackers compute, and across two keys."
    return "\n".join([note, report.table(header, rows), last])
