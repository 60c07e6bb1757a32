"""``python -m eval identification``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.datasets import People, PersonPhoto, Problem, read_fgnet, read_folder, read_identities
from eval.commands import common, recognition
from eval.recognition.groups import PROBE_BANDS, in_bands
from eval.recognition.identification import Ranks, gallery_probe, leave_one_out, megaface
from eval.recognition.similarity import FloatArray, pair_scores, unit_rows
from eval.recognition.verification import VerificationResult, evaluate
from eval.report import files as report
from eval.report.recognition_figures import draw_cmc, draw_roc, roc_label

FGNET, GALLERY_PROBE = "fgnet-loo", "gallery-probe"
DEEPEST = 20
DISTRACTORS = "distractors"
AGE_HEADER = ("rank 1", "searches", "photos")
CMC_HEADER = ("search", "rank", "share")


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """The ranks by the kind of search, the headline first, and the verification of all the pairs in it.

    ``ages`` (N,) are those of the photos that ``Ranks.probes`` counts.
    """

    ranks: dict[str, Ranks]
    pairs: VerificationResult
    ages: FloatArray

    @property
    def headline(self) -> Ranks:
        return next(iter(self.ranks.values()))


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("identification", help="who is it: FG-NET leave-one-out, MF1, gallery and probe")
    parser.add_argument(
        "--protocol",
        required=True,
        choices=(FGNET, GALLERY_PROBE),
        help=f"{FGNET}: each photo of FG-NET among all the others; {GALLERY_PROBE}: --images holds the folders "
        "gallery and probe, each with a folder per person",
    )
    parser.add_argument(
        "--distractors",
        type=Path,
        metavar="DIR",
        help=f"photos of strangers, one each; {FGNET}: search among them and one photo of the person, as in "
        f"MegaFace's MF1; {GALLERY_PROBE}: add them to the gallery",
    )
    recognition.add_options(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    people, problems = _read(args)
    embedded = recognition.collect(args, people)
    strangers = None if args.distractors is None else _distractors(args)
    kept: NDArray[np.bool_] = np.ones(len(people), bool)
    if args.missed == recognition.LEAVE_OUT:
        kept = np.asarray(~np.isnan(embedded.vectors).any(axis=1))
    photos = [photo for photo, keep in zip(people, kept, strict=True) if keep]
    search = _search_fgnet if args.protocol == FGNET else _search_gallery
    found = search(photos, embedded.vectors[kept], None if strangers is None else strangers.vectors)
    name = args.name or embedded.name
    parts = [embedded] if strangers is None else [embedded, strangers]
    with report.output_folder(args.out) as folder:
        hashes = recognition.keep_embeddings(folder, parts)
        _write(folder, found, f"{name}, {args.protocol}")
        figures = _figures(found) | {"distractors": 0 if strangers is None else len(strangers.photos)}
        figures["missed_distractors"] = 0 if strangers is None else strangers.missed
        summary = recognition.summary("identification", args, parts, figures, problems)
        report.write_summary(folder, summary | hashes)
    print(_table(found, name, args.protocol, embedded))


def _read(args: argparse.Namespace) -> tuple[list[PersonPhoto], list[Problem]]:
    if args.protocol == FGNET:
        fgnet = read_fgnet(args.images)
        return list(fgnet), list(fgnet.problems)
    photos: list[PersonPhoto] = []
    problems: list[Problem] = []
    for part in ("gallery", "probe"):
        people: People = read_identities(args.images / part)
        photos += [PersonPhoto(each.path, f"{part}/{each.name}", each.person) for each in people]
        problems += people.problems
    return photos, problems


def _distractors(args: argparse.Namespace) -> recognition.PhotoEmbeddings:
    """Return the embeddings of the strangers, by names that begin with "distractors/"."""
    photos = [PersonPhoto(each.path, f"{DISTRACTORS}/{each.name}", None) for each in read_folder(args.distractors)]
    return recognition.collect(args, photos, align=recognition.DETECT)


def _search_fgnet(photos: Sequence[PersonPhoto], vectors: NDArray[Any], strangers: NDArray[Any] | None) -> Searched:
    names = [str(photo.person) for photo in photos]
    ages = np.array([photo.age for photo in photos])
    ranks = {"leave-one-out": leave_one_out(vectors, names, ages, progress=common.progress("leave-one-out"))}
    if strangers is not None:
        ranks = {"MF1": megaface(vectors, names, strangers, progress=common.progress("MF1")), **ranks}
    first, second = np.triu_indices(len(names), 1)
    return Searched(ranks, _verify(vectors, first, second, names, ages), ages)


def _search_gallery(photos: Sequence[PersonPhoto], vectors: NDArray[Any], strangers: NDArray[Any] | None) -> Searched:
    names = [str(photo.person) for photo in photos]
    probe = np.array([photo.name.startswith("probe/") for photo in photos])
    held, asked = np.flatnonzero(~probe), np.flatnonzero(probe)
    if not len(held) or not len(asked):
        raise ValueError("gallery-probe: photos with a face are needed both in gallery and in probe")
    ranks = gallery_probe(
        vectors[held],
        [names[at] for at in held],
        vectors[asked],
        [names[at] for at in asked],
        strangers,
        progress=common.progress("searching"),
    )
    first, second = np.repeat(asked, len(held)), np.tile(held, len(asked))
    ages = np.array([photo.age for photo in photos])
    return Searched({"gallery and probe": ranks}, _verify(vectors, first, second, names, ages), ages[asked])


def _verify(
    vectors: NDArray[Any], first: NDArray[Any], second: NDArray[Any], names: Sequence[str], ages: FloatArray
) -> VerificationResult:
    people = np.array(names)
    scores = pair_scores(unit_rows(vectors), first, second)
    return evaluate(scores, people[first] == people[second], None, ages[first] - ages[second])


def _figures(found: Searched) -> dict[str, Any]:
    headline, pairs = found.headline, found.pairs
    by_gap = recognition.gap_figures(pairs)
    for ranks in found.ranks.values():
        for gap in ranks.gaps:
            if by_gap is not None and gap.name in by_gap:
                by_gap[gap.name] |= {"probes": gap.probes, "rank1": gap.rank1}
    return {
        "rank1": headline.rank1,
        "cmc": _cmc(headline),
        "searches": len(headline.ranks),
        "probes": len(np.unique(headline.probes)),
        "people": headline.people,
        "by_search": {
            name: {"rank1": ranks.rank1, "cmc": _cmc(ranks), "searches": len(ranks.ranks), "people": ranks.people}
            for name, ranks in found.ranks.items()
        },
        "eer": pairs.roc.eer,
        "tar_at_far": pairs.tar_at_far(),
        "by_age_gap": by_gap,
        "by_age": _by_age(headline, found.ages),
        "genuine_pairs": pairs.roc.genuine,
        "impostor_pairs": pairs.roc.impostors,
    }


def _by_age(ranks: Ranks, ages: FloatArray) -> dict[str, dict[str, Any]] | None:
    """Return the rate by the probe's age; None where no age is known."""
    years = ages[ranks.probes]
    if np.isnan(years).all():
        return None
    first = ranks.ranks == 1
    return {
        band: {
            "probes": len(np.unique(ranks.probes[members])),
            "searches": int(members.sum()),
            "rank1": float(first[members].mean()) if members.any() else None,
        }
        for band, members in in_bands(years, PROBE_BANDS).items()
    }


def _cmc(ranks: Ranks) -> FloatArray:
    return ranks.cmc(min(DEEPEST, ranks.people))


def _write(folder: Path, found: Searched, title: str) -> None:
    shares = {name: _cmc(ranks) for name, ranks in found.ranks.items()}
    rows = [(name, rank, share) for name, curve in shares.items() for rank, share in enumerate(curve.tolist(), start=1)]
    report.write_csv(folder / "cmc.csv", CMC_HEADER, rows)
    report.write_csv(folder / "roc.csv", recognition.ROC_HEADER, recognition.roc_rows(found.pairs))
    labels = {f"{name}: rank 1 {ranks.rank1:.3f}": shares[name] for name, ranks in found.ranks.items()}
    gaps = {
        f"rank 1, {name}": {gap.name: gap.rank1 for gap in ranks.gaps}
        for name, ranks in found.ranks.items()
        if ranks.gaps
    }
    if gaps:
        gaps["TAR at FAR 1e-3"] = {gap.name: gap.tar_at_far["1e-3"] for gap in found.pairs.gaps}
    draw_cmc(folder / "cmc.png", labels, gaps, title)
    curves = {roc_label(name, curve): curve for name, curve in found.pairs.curves().items()}
    every, bands = dict(list(curves.items())[:1]), dict(list(curves.items())[1:])
    draw_roc(folder / "roc.png", {"all pairs": every, **({"by age gap": bands} if bands else {})}, title)


def _table(found: Searched, name: str, protocol: str, embedded: recognition.PhotoEmbeddings) -> str:
    pairs = found.pairs
    depths = (1, 5, 10, 20)
    rows = [
        [f"{name}, {kind}", *ranks.cmc(DEEPEST)[np.array(depths) - 1].tolist(), len(ranks.ranks), ranks.people]
        for kind, ranks in found.ranks.items()
    ]
    header = ["identification", *(f"rank {depth}" for depth in depths), "searches", "people"]
    tar = pairs.tar_at_far()
    lines = [
        f"{protocol}; {len(embedded.photos):,} photos; {embedded.missed:,} missed faces",
        report.table(header, rows),
        "",
        report.table(
            ["all pairs", "EER", *(f"TAR at {far}" for far in tar), "genuine", "impostors"],
            [[name, pairs.roc.eer, *tar.values(), pairs.roc.genuine, pairs.roc.impostors]],
        ),
    ]
    if by_age := _by_age(found.headline, found.ages):
        rows = [[band, each["rank1"], each["searches"], each["probes"]] for band, each in by_age.items()]
        lines += ["", report.table([f"age of who is searched for, {next(iter(found.ranks))}", *AGE_HEADER], rows)]
    gaps = {gap.name: gap.rank1 for ranks in found.ranks.values() for gap in ranks.gaps}
    if not gaps:
        return "\n".join(lines)
    by_gap = [[gap.name, gaps.get(gap.name), gap.eer, *gap.tar_at_far.values(), gap.genuine] for gap in pairs.gaps]
    head = ["years between the photos", "rank 1", "EER", *(f"TAR at {far}" for far in tar), "genuine pairs"]
    return "\n".join([*lines, "", report.table(head, by_gap)])
