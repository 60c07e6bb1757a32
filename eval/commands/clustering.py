"""``python -m eval clustering``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.archive import Index
from cascade.archive.people import join_threshold
from cascade.datasets import (
    People,
    PersonPhoto,
    Problem,
    people_in_folds,
    read_celeba_people,
    read_cfp_people,
    read_fgnet,
    read_identities,
)
from cascade.operating_point import OperatingPoint
from cascade.recognize import Recognizer
from eval.commands import common, recognition
from eval.recognition.clustering import Grouping, dbscan, from_index, grouped, hdbscan, score, seconds_for
from eval.recognition.embedding import Embeddings
from eval.report import files as report
from eval.report.recognition_figures import draw_groupings

FGNET, LFW, CFP, CELEBA, FOLDERS = "fgnet", "lfw", "cfp", "celeba", "folders"
WHOLE: Mapping[str, Callable[[Path], People]] = {
    FGNET: read_fgnet,
    CFP: read_cfp_people,
    CELEBA: read_celeba_people,
    FOLDERS: read_identities,
}
"""The sets of which all people take part."""

THRESHOLDS = tuple(round(0.30 + 0.02 * step, 2) for step in range(14))
"""Similarities at which our groups join, for the curve."""

EPSILONS = tuple(round(0.30 + 0.02 * step, 2) for step in range(21))
"""Distances of DBSCAN, 1 - cosine."""

CORES = (2, 3, 5)
"""Faces that make a core of DBSCAN, and the least group of HDBSCAN."""

OURS = "cascade"
MEASURES = ("precision", "recall", "f", "pair_precision", "pair_recall", "pair_f")
HEADER = ("method", "setting", *MEASURES, "groups", "largest")


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("clustering", help="grouping faces by person, beside DBSCAN and HDBSCAN")
    parser.add_argument(
        "--protocol",
        required=True,
        choices=(LFW, *WHOLE),
        help=f"{FGNET}, {CFP}, {CELEBA}: all photos of the set; {LFW}: those of the people in --folds or in none of "
        f"--without-folds; {FOLDERS}: a folder per person",
    )
    parser.add_argument("--pairs", type=Path, metavar="FILE", help="the official list of pairs of LFW")
    folds = parser.add_mutually_exclusive_group()
    folds.add_argument("--folds", type=int, nargs="+", metavar="N", help="of LFW: the people in these folds, from 1")
    folds.add_argument("--without-folds", type=int, nargs="+", metavar="N", help="the people in none of these folds")
    parser.add_argument(
        "--index",
        type=Path,
        metavar="DIR",
        help="take the faces from this index, which cascade index made of the same photos: then small, blurred and "
        "profile faces join people but make none, as in cascade cluster",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="similarity at which our groups join (default: that of cascade cluster for the recogniser)",
    )
    parser.add_argument(
        "--time",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="also time our grouping of so many faces, made by perturbing the embeddings",
    )
    recognition.add_options(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError or OSError for unfit input."""
    args.started = time.perf_counter()
    people = _read(args)
    recognizer = Recognizer(args.weights)
    point = recognizer.operating_point
    embedded, followers = _embedded(args, list(people), point)
    threshold = args.threshold
    if threshold is None:
        threshold = _own_threshold(embedded, recognizer)
    kept = np.ones(len(people), bool)
    if args.missed == recognition.LEAVE_OUT:
        kept = ~embedded.missed_photos
    names = [str(photo.person) for photo, keep in zip(people, kept.tolist(), strict=True) if keep]
    vectors, followers = embedded.vectors[kept], followers[kept]
    started = time.perf_counter()
    ours = score(OURS, threshold, grouped(vectors, threshold, followers), names)
    seconds = time.perf_counter() - started
    timed = {faces: seconds_for(vectors, faces, threshold) for faces in args.time}
    swept = _sweep(vectors, followers, names)
    name = args.name or embedded.name
    with report.output_folder(args.out) as folder:
        hashes = recognition.keep_embeddings(folder, [embedded])
        report.write_csv(folder / "groupings.csv", HEADER, map(_row, [ours, *swept]))
        draw_groupings(folder / "clustering.png", ours, swept, f"{name}, {_title(args)}, {len(names):,} photos")
        figures = {
            "people": len(set(names)),
            "threshold": threshold,
            "unclear_faces": int(followers.sum()),
            "grouping_seconds": round(seconds, 3),
            "seconds_by_faces": {
                str(faces): {"processor": round(processor, 2), "elapsed": round(elapsed, 2)}
                for faces, (processor, elapsed) in timed.items()
            },
            "ours": _figures(ours),
            "best": {each.method: _figures(each) for each in _best(swept)},
        }
        summary = recognition.summary("clustering", args, [embedded], figures, people.problems)
        report.write_summary(folder, summary | hashes)
    print(f"{_title(args)}: {len(names):,} photos of {len(set(names)):,} people; {embedded.missed:,} missed faces")
    print(_table(ours, _best(swept)))
    for faces, (processor, elapsed) in timed.items():
        print(f"{faces:,} faces: {processor:.1f} s of a processor, {elapsed:.1f} s elapsed")


def _read(args: argparse.Namespace) -> People:
    if args.protocol in WHOLE:
        return WHOLE[args.protocol](args.images)
    people = read_identities(args.images)
    folds = args.folds or args.without_folds
    if args.pairs is None or not folds:
        raise ValueError(f"clustering: --protocol {LFW} needs --pairs FILE and --folds N … or --without-folds N …")
    tested = people_in_folds(args.pairs, args.images, tuple(folds))
    wanted = bool(args.folds)
    photos: Sequence[PersonPhoto] = [photo for photo in people if (photo.person in tested) == wanted]
    problems: Sequence[Problem] = people.problems
    return People(people.name, tuple(photos), tuple(problems))


def _embedded(
    args: argparse.Namespace, photos: list[PersonPhoto], point: OperatingPoint | None
) -> tuple[recognition.PhotoEmbeddings, NDArray[np.bool_]]:
    """Return the photos' embeddings, and which faces are unclear: none where that is not known."""
    if args.index is None:
        return recognition.collect(args, photos), np.zeros(len(photos), bool)
    index = Index.open(args.index)
    smallest = 0.0 if point is None else point.smallest_good_face
    vectors, followers = from_index(index, photos, smallest)
    about = {"model": index.manifest.recognizer.name, "weights_sha256": index.manifest.recognizer.sha256}
    source = Embeddings(tuple(photo.name for photo in photos), vectors, about)
    return recognition.PhotoEmbeddings(tuple(photos), vectors, source, (), None), followers


def _own_threshold(embedded: recognition.PhotoEmbeddings, recognizer: Recognizer) -> float:
    """The threshold of cascade cluster. Raises ValueError for embeddings of another network, which it does not fit."""
    made_by = embedded.source.about.get("weights_sha256")
    if made_by != recognizer.weights.sha256:
        raise ValueError("--threshold: embeddings of other weights than --weights need one of their own")
    return join_threshold(recognizer.operating_point)


def _title(args: argparse.Namespace) -> str:
    folds = "".join(
        f", {word} {' and '.join(map(str, numbers))}"
        for word, numbers in (("folds", args.folds), ("without folds", args.without_folds))
        if numbers
    )
    return f"{args.protocol}{folds}"


def _sweep(vectors: NDArray[Any], followers: NDArray[np.bool_], names: Sequence[str]) -> list[Grouping]:
    """Return our groups at each threshold, and the others' at each of their settings."""
    found = [
        score(f"{OURS}, best", limit, grouped(vectors, limit, followers), names)
        for limit in common.progress(OURS)(THRESHOLDS)
    ]
    for least in CORES:
        for epsilon in common.progress(f"DBSCAN {least}")(EPSILONS):
            found.append(score(f"DBSCAN, cores of {least}", epsilon, dbscan(vectors, epsilon, least), names))
    return found + [score("HDBSCAN", least, hdbscan(vectors, least), names) for least in CORES]


def _best(swept: Sequence[Grouping]) -> list[Grouping]:
    """Return the setting of each method with the highest B-cubed F."""
    methods = dict.fromkeys(each.method for each in swept)
    settings = ([each for each in swept if each.method == method] for method in methods)
    return [max(each, key=lambda one: one.b_cubed.f) for each in settings]


def _row(each: Grouping) -> list[Any]:
    both = [value for one in (each.b_cubed, each.pairs) for value in (one.precision, one.recall, one.f)]
    return [each.method, each.setting, *both, each.groups, each.largest]


def _figures(each: Grouping) -> dict[str, Any]:
    return dict(zip(HEADER[1:], _row(each)[1:], strict=True))


def _table(ours: Grouping, best: Sequence[Grouping]) -> str:
    header = ["method", "setting", "B³ P", "B³ R", "B³ F", "pair P", "pair R", "pair F", "groups", "largest"]
    return report.table(header, [_row(each) for each in (ours, *best)])
