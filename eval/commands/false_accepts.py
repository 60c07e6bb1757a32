"""``python -m eval false-accepts``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cascade.checks import is_finite_number
from cascade.datasets import People, read_utkface
from eval.commands import common, recognition
from eval.recognition.embedding import our_embedder
from eval.recognition.false_accepts import NEAR_DUPLICATE, FalseAccepts, evaluate
from eval.recognition.groups import by_label, combined
from eval.report import files as report
from eval.report.recognition_figures import draw_false_accepts

AT_LEAST = 50
"""Photos with a face that a combination of groups needs to be told of."""

ALL, COMBINATION = "all", "combination"
KINDS = ("age", "gender", "race")
HEADER = ("kind", "group", "photos", "missed_faces", "pairs", "accepted", "near_duplicates")
RATES = ("rate", "rate_low", "rate_high", "ratio", "ratio_low", "ratio_high")

Figures = dict[str, dict[str, FalseAccepts]]


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "false-accepts", help="how often two people are taken for one, by age, gender and race: UTKFace"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="similarity from which on a pair is accepted (default: that of the recogniser, measured elsewhere)",
    )
    parser.add_argument(
        "--near-duplicate",
        type=float,
        default=NEAR_DUPLICATE,
        metavar="S",
        help="similarity above which two photos are taken for one and the pair is left out (default: %(default)s)",
    )
    recognition.add_options(parser, missed=False)
    parser.set_defaults(execute=execute, protocol="utkface")


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    for option, value in (("--threshold", args.threshold), ("--near-duplicate", args.near_duplicate)):
        if value is not None and not -1 <= value <= 1:
            raise ValueError(f"{option}: a similarity from -1 to 1 expected, got {value}")
    people = read_utkface(args.images)
    embedded, threshold = _collect(args, people)
    found = _evaluate(args, people, embedded, threshold)
    name = args.name or embedded.name
    title = f"{name}: pairs of different people accepted at {threshold:.3f}, {args.protocol}, {len(people):,} photos"
    with report.output_folder(args.out) as folder:
        hashes = recognition.keep_embeddings(folder, [embedded])
        report.write_csv(folder / "false_accepts.csv", (*HEADER, *RATES), _rows(found))
        draw_false_accepts(folder / "false_accepts.png", found, title)
        figures = {"threshold": threshold, **_summary(found)}
        summary = recognition.summary("false-accepts", args, [embedded], figures, people.problems)
        summary["settings"] |= {"near_duplicate": args.near_duplicate, "combinations_at_least": AT_LEAST}
        report.write_summary(folder, summary | hashes)
    print(_table(found, name, args, threshold))


def _collect(args: argparse.Namespace, people: People) -> tuple[recognition.PhotoEmbeddings, float]:
    """Return the embeddings and the threshold; it is kept with the embeddings, so that they can be embedded again."""
    if args.embeddings is not None:
        embedded = recognition.collect(args, people.photos)
        stated = embedded.source.about.get("threshold")
    else:
        embedder = our_embedder(args.weights, flip=args.flip)
        stated = embedder.threshold
        _chosen(args.threshold, stated)  # before the long run
        embedded = recognition.embed(args, people.photos, embedder)
        if stated is not None:
            about = {**embedded.source.about, "threshold": stated}
            embedded = replace(embedded, source=replace(embedded.source, about=about))
    return embedded, _chosen(args.threshold, stated)


def _chosen(threshold: float | None, stated: Any) -> float:
    if threshold is not None:
        return threshold
    if not is_finite_number(stated):
        raise ValueError("--threshold T is needed: nothing says which threshold the network verifies with")
    return float(stated)


def _evaluate(
    args: argparse.Namespace, people: People, embedded: recognition.PhotoEmbeddings, threshold: float
) -> Figures:
    """Return the figures by kind and group; "all" and "combination" are kinds too."""
    missed = embedded.missed_photos
    labels = by_label(people.photos)
    seen = {kind: {name: members & ~missed for name, members in each.items()} for kind, each in labels.items()}
    kept = combined(seen, AT_LEAST)
    groups = {**labels, COMBINATION: {name: each for name, each in combined(labels, 1).items() if name in kept}}
    flat = {name: members for each in groups.values() for name, members in each.items()}
    every_pair, parts = evaluate(
        embedded.vectors,
        threshold,
        flat,
        near_duplicate=args.near_duplicate,
        progress=common.progress("comparing"),
    )
    return {ALL: {ALL: every_pair}, **{kind: {name: parts[name] for name in each} for kind, each in groups.items()}}


def _rows(found: Figures) -> Iterator[tuple[Any, ...]]:
    for kind, groups in found.items():
        for name, each in groups.items():
            figures = _figures(each)
            rate, ratio = (figures[key] or ("", "") for key in ("rate_interval", "ratio_interval"))
            plain = ["" if figures[key] is None else figures[key] for key in ("rate", "ratio")]
            yield kind, name, *(figures[key] for key in HEADER[2:]), plain[0], *rate, plain[1], *ratio


def _figures(each: FalseAccepts) -> dict[str, Any]:
    return {
        "rate": each.rate,
        "rate_interval": each.interval,
        "ratio": each.ratio,
        "ratio_interval": each.ratio_interval,
        "pairs": each.pairs,
        "accepted": each.accepted,
        "near_duplicates": each.near_duplicates,
        "photos": each.photos,
        "missed_faces": each.missed,
    }


def _summary(found: Figures) -> dict[str, Any]:
    overall = _figures(found[ALL][ALL])
    every_pair = {"false_accept_rate": overall["rate"], "false_accept_rate_interval": overall["rate_interval"]}
    every_pair |= {key: overall[key] for key in ("pairs", "accepted", "near_duplicates")}
    parts = {
        f"by_{kind}": {name: _figures(each) for name, each in found[kind].items()} if kind in found else None
        for kind in (*KINDS, COMBINATION)
    }
    return every_pair | parts


def _table(found: Figures, name: str, args: argparse.Namespace, threshold: float) -> str:
    every_pair = found[ALL][ALL]
    left_out = f"{every_pair.near_duplicates:,} pairs above {args.near_duplicate:g} left out as near-duplicates"
    lines = [
        f"{args.protocol}; {every_pair.photos + every_pair.missed:,} photos, {every_pair.missed:,} missed faces; "
        f"accepted from {threshold:.4f} on; {left_out}",
        report.table(["accepted pairs of different photos", *_header()], [[name, *_cells(every_pair)]]),
    ]
    for kind, groups in found.items():
        if kind != ALL and groups:
            rows = [[group, *_cells(each)] for group, each in groups.items()]
            lines += ["", report.table([f"both in one {kind}", *_header()], rows)]
    return "\n".join(lines)


def _header() -> list[str]:
    return ["share", "95 % interval", "of that of all", "95 % interval", "accepted", "pairs", "photos"]


def _cells(each: FalseAccepts) -> list[Any]:
    spread = None if each.interval is None else "{:.2e}–{:.2e}".format(*each.interval)
    times = None if each.ratio_interval is None else "{:.2f}–{:.2f}".format(*each.ratio_interval)
    rate = None if each.rate is None else f"{each.rate:.2e}"
    ratio = None if each.ratio is None else f"{each.ratio:.2f}"
    return [rate, spread, ratio, times, each.accepted, each.pairs, each.photos]
