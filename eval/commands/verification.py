"""``python -m eval verification``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cascade.datasets import (
    Pairs,
    read_agedb_pairs,
    read_cacd_pairs,
    read_calfw_pairs,
    read_cfp_pairs,
    read_lfw_pairs,
)
from eval.commands import recognition
from eval.recognition.similarity import FloatArray, pair_scores, unit_rows
from eval.recognition.verification import FoldAccuracy, VerificationResult, evaluate
from eval.report import files as report
from eval.report.recognition_figures import draw_roc, roc_label

LISTS = {"lfw": read_lfw_pairs, "calfw": read_calfw_pairs, "agedb30": read_agedb_pairs}
NUMBERED = "cacd-vs"
CFP: dict[str, Literal["FF", "FP"]] = {"cfp-ff": "FF", "cfp-fp": "FP"}


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("verification", help="same person or not: LFW, CALFW, AgeDB-30, CACD-VS, CFP")
    parser.add_argument("--protocol", required=True, choices=(*LISTS, NUMBERED, *CFP))
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="FILE",
        help=f"the official list of pairs; {NUMBERED} has none, but numbers, and CFP has its lists in its folder",
    )
    parser.add_argument(
        "--folds",
        type=int,
        nargs="+",
        metavar="N",
        help="evaluate these folds only, from 1; the threshold for each comes from the others of them",
    )
    recognition.add_options(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    everything = _read(args)
    pairs = in_folds(everything, args.folds)
    if len(pairs.folds()) < 2:
        got = _listed(pairs.folds())
        raise ValueError(f"folds: expected at least two, as each takes its threshold from the others, got only {got}")
    embedded = recognition.collect(args, pairs.photos())
    places = {photo.name: at for at, photo in enumerate(embedded.photos)}
    first, second = (
        np.array([places[photo.name] for photo in side])
        for side in ([pair.image_a for pair in pairs], [pair.image_b for pair in pairs])
    )
    scores = pair_scores(unit_rows(embedded.vectors), first, second)
    result, count = _evaluate(pairs, scores, leave_out=args.missed == recognition.LEAVE_OUT)
    note = f"{count:,} pairs" if count == len(everything) else f"subset: {count:,} of {len(everything):,} pairs"
    name = args.name or embedded.name
    with report.output_folder(args.out) as folder:
        hashes = recognition.keep_embeddings(folder, [embedded])
        report.write_csv(folder / "roc.csv", recognition.ROC_HEADER, recognition.roc_rows(result))
        _draw(folder / "roc.png", result, f"{name} on {args.protocol}, {note}")
        figures = _figures(result) | {
            "pairs": count,
            "pairs_in_set": len(everything),
            "subset": None if count == len(everything) else f"{count:,} of {len(everything):,} pairs",
            "missed_pairs": result.missed_pairs,
        }
        summary = recognition.summary("verification", args, [embedded], figures, pairs.problems)
        report.write_summary(folder, summary | hashes)
    print(_table(result, name, f"{args.protocol}; {note.replace('pairs', 'pairs of photos')}", embedded.missed))


def _read(args: argparse.Namespace) -> Pairs:
    if args.protocol == NUMBERED:
        if args.pairs is not None:
            print(f"warning: --pairs is not read: {NUMBERED} has its pairs in the file names", file=sys.stderr)
        return read_cacd_pairs(args.images, require_images=False)
    if args.protocol in CFP:
        if args.pairs is not None:
            print("warning: --pairs is not read: CFP has its lists of pairs in its folder", file=sys.stderr)
        return read_cfp_pairs(args.images, CFP[args.protocol], require_images=False, strict=True)
    if args.pairs is None:
        raise ValueError(f"verification: --protocol {args.protocol} needs --pairs FILE")
    return LISTS[args.protocol](args.pairs, args.images, require_images=False, strict=True)


def in_folds(pairs: Pairs, folds: list[int] | None) -> Pairs:
    """The pairs of these folds. Raises ValueError for a fold that the list does not have."""
    if folds is None:
        return pairs
    unknown = sorted(set(folds) - set(pairs.folds()))
    if unknown:
        raise ValueError(f"--folds: there is no fold {unknown[0]}, only {_listed(pairs.folds())}")
    return replace(pairs, pairs=tuple(pair for pair in pairs if pair.fold in folds))


def _listed(folds: Sequence[int]) -> str:
    return ", ".join(map(str, folds))


def _evaluate(pairs: Pairs, scores: FloatArray, *, leave_out: bool) -> tuple[VerificationResult, int]:
    """Return the figures and the number of pairs embedded."""
    kept = ~np.isnan(scores) if leave_out else np.ones(len(scores), bool)
    same = np.array([pair.same for pair in pairs])
    folds = np.array([pair.fold for pair in pairs])
    gaps = np.array([pair.age_a - pair.age_b for pair in pairs])
    return evaluate(scores[kept], same[kept], folds[kept], gaps[kept]), int(kept.sum())


def _figures(result: VerificationResult) -> dict[str, Any]:
    folds = _folds_of(result)
    by_fold = [
        {"fold": fold, "accuracy": accuracy, "threshold": threshold}
        for fold, accuracy, threshold in zip(folds.folds, folds.accuracies, folds.thresholds, strict=True)
    ]
    return {
        "accuracy": folds.accuracy,
        "accuracy_std": folds.std,
        "accuracy_standard_error": folds.standard_error,
        "by_fold": by_fold,
        "eer": result.roc.eer,
        "tar_at_far": result.tar_at_far(),
        "by_age_gap": recognition.gap_figures(result),
        "genuine_pairs": result.roc.genuine,
        "impostor_pairs": result.roc.impostors,
    }


def _folds_of(result: VerificationResult) -> FoldAccuracy:
    assert result.folds is not None  # every protocol here has folds
    return result.folds


def _draw(file: Path, result: VerificationResult, title: str) -> None:
    labels = {roc_label(name, curve): curve for name, curve in result.curves().items()}
    everything = dict(list(labels.items())[:1])
    panels = {"all pairs": everything}
    if len(labels) > 1:
        panels["by age gap"] = dict(list(labels.items())[1:])
    draw_roc(file, panels, title)


def _table(result: VerificationResult, name: str, note: str, missed: int) -> str:
    folds = _folds_of(result)
    tar = result.tar_at_far()
    header = ["verification", "accuracy", "± std", "EER", *(f"TAR at {far}" for far in tar)]
    row = [name, folds.accuracy, folds.std, result.roc.eer, *tar.values()]
    lines = [f"{note}; {len(folds.folds)} folds; {missed:,} missed faces", report.table(header, [row])]
    if result.roc.impostors < 1e4:
        lines.append(f"A FAR below 1/{result.roc.impostors:,} means no false accept among the impostors.")
    return "\n".join(lines) + recognition.gap_table(result, f"{name}, years between the photos")
