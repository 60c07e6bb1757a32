"""What the commands for face recognition share: options, embeddings for the photos, and the parts of a summary."""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.datasets import PersonPhoto, Problem
from cascade.version import __version__
from eval.commands import common
from eval.recognition.embedding import (
    DetectedPoints,
    Embedder,
    Embeddings,
    Floats,
    Locate,
    embed_photos,
    given_points,
    our_embedder,
    read_embeddings,
    write_embeddings,
)
from eval.recognition.verification import VerificationResult
from eval.report import files as report

__all__ = [
    "PhotoEmbeddings",
    "add_options",
    "add_recogniser",
    "add_report",
    "collect",
    "embed",
    "gap_figures",
    "gap_table",
    "keep_embeddings",
    "matched",
    "roc_rows",
    "summary",
]

FAIL, LEAVE_OUT = "fail", "leave-out"
POINTS, DETECT = "points", "detect"

EMBEDDINGS = "embeddings.npz"
ROC_HEADER = ("curve", "threshold", "far", "tar")

TOLD_ELSEWHERE = ("model", "weights_sha256", "embeddings_sha256", "ages_sha256", "threshold")
"""What is known of embeddings that has a key of its own in summary.json, outside the settings."""


@dataclass(frozen=True, slots=True, eq=False)
class PhotoEmbeddings:
    """The photos of a protocol and their embeddings.

    vectors   (N, D) float32, one row for each photo, NaN where a face was missed
    source    all embeddings as they were read or made
    missing   photos that the file of embeddings has no row for
    file      that the embeddings were read from; None where they were made
    """

    photos: tuple[PersonPhoto, ...]
    vectors: Floats
    source: Embeddings
    missing: tuple[str, ...]
    file: Path | None

    @property
    def missed_photos(self) -> NDArray[np.bool_]:
        """Which photos have no embedding, for whatever reason: (N,)."""
        return np.asarray(np.isnan(self.vectors).any(axis=1))

    @property
    def missed(self) -> int:
        """Number of photos without an embedding."""
        return int(self.missed_photos.sum())

    @property
    def faceless(self) -> tuple[str, ...]:
        """Photos that could be read, but have no embedding: no face was found."""
        unread = {*self.broken, *self.missing}
        names = (self.photos[at].name for at in np.flatnonzero(self.missed_photos).tolist())
        return tuple(name for name in names if name not in unread)

    @property
    def broken(self) -> dict[str, str]:
        """Why photos could not be read, by name."""
        names = {photo.name for photo in self.photos}
        return {name: reason for name, reason in self.source.broken.items() if name in names}

    @property
    def name(self) -> str:
        """What the network is called where it is known."""
        return str(self.source.about.get("model", "embeddings"))


def add_options(parser: argparse.ArgumentParser, *, missed: bool = True) -> None:
    """Add the options of the commands that evaluate embeddings; ``missed``: also what missed faces count as."""
    add_report(parser)
    parser.add_argument(
        "--embeddings",
        type=Path,
        metavar="FILE.npz",
        help="evaluate these embeddings: names (N,) and embeddings (N, D), NaN for a missed face "
        "(default: run our recogniser)",
    )
    if missed:
        parser.add_argument(
            "--missed",
            choices=(FAIL, LEAVE_OUT),
            default=FAIL,
            help="photos in which no face was found count as failures, or are left out (default: %(default)s)",
        )
    add_recogniser(parser).add_argument(
        "--flip", action="store_true", help="embed mirror images too, as Recognizer(flip=True) does"
    )


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add where the photos are and where the report goes."""
    parser.add_argument("--images", required=True, type=Path, metavar="DIR", help="the set's folder as distributed")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the report")
    parser.add_argument("--name", help="name of the network in tables and figures")


def add_recogniser(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of our own recogniser and of the detector before it; return the group that they are in."""
    group = parser.add_argument_group("our recogniser and detector, where they are run")
    group.add_argument("--weights", metavar="NAME|FILE", help="of the recogniser")
    group.add_argument(
        "--align",
        choices=(POINTS, DETECT),
        default=DETECT,
        help="align faces by the landmarks of the set, or by those that our detector finds (default: %(default)s)",
    )
    group.add_argument("--detector-weights", metavar="NAME|DIR", help="a shipped set or a folder")
    group.add_argument("--min-face", type=float, default=20, metavar="PX", help="smallest face in pixels")
    group.add_argument("--thresholds", type=float, nargs=3, metavar=("P", "R", "O"), help="of the detector's networks")
    group.add_argument("--threads", type=int, metavar="N")
    return group


def collect(args: argparse.Namespace, photos: Sequence[PersonPhoto], *, align: str | None = None) -> PhotoEmbeddings:
    """Read the photos' embeddings from the file of --embeddings, or run our recogniser on them.

    ``align`` is "points" or "detect" where it is not to be that of the options. Raises ValueError where no
    photo has an embedding, for "points" where no photo has landmarks, and for --flip with a file of embeddings;
    ImportError without a recogniser.
    """
    if args.embeddings is not None:
        if args.flip:
            raise ValueError("--flip: the embeddings of a file stay as they are")
        return matched(args.embeddings, read_embeddings(args.embeddings), photos)
    return embed(args, photos, our_embedder(args.weights, flip=args.flip), align=align)


def matched(file: Path, source: Embeddings, photos: Sequence[PersonPhoto]) -> PhotoEmbeddings:
    """Find the photos' rows in what was read from a file. Raises ValueError where no photo has one."""
    vectors, missing = source.of([photo.name for photo in photos])
    if len(missing) == len(photos):
        first = f"it has {source.names[0]}, the protocol {photos[0].name}"
        raise ValueError(f"{file}: none of its {len(source)} names is among the photos ({first})")
    return PhotoEmbeddings(tuple(photos), vectors, source, missing, file)


def embed(
    args: argparse.Namespace, photos: Sequence[PersonPhoto], embedder: Embedder, *, align: str | None = None
) -> PhotoEmbeddings:
    """Run a network on the photos; see ``collect``."""
    locate, about = _locator(args, photos, align or args.align)
    if getattr(embedder, "flip", False):
        about["flip"] = True
    source = embed_photos(common.progress("embedding")(photos), embedder, locate, about=about)
    return PhotoEmbeddings(tuple(photos), source.vectors, source, (), None)


def _locator(args: argparse.Namespace, photos: Iterable[PersonPhoto], align: str) -> tuple[Locate, dict[str, Any]]:
    if align == POINTS:
        if all(photo.landmarks is None for photo in photos):
            raise ValueError("--align points: the set has no landmarks, use --align detect")
        return given_points, {"align": POINTS}
    from cascade.detect import Detector

    settings: dict[str, Any] = {"min_face": args.min_face, "threads": args.threads, "weights": args.detector_weights}
    if args.thresholds is not None:
        settings["thresholds"] = tuple(args.thresholds)
    detector = Detector(**settings)
    about = {
        "align": DETECT,
        "min_face": detector.min_face,
        "thresholds": list(detector.thresholds),
        "detector_sha256": detector.weights.sha256,
    }
    return DetectedPoints(detector), about


def keep_embeddings(folder: Path, embedded: Sequence[PhotoEmbeddings]) -> dict[str, Any]:
    """Write embeddings.npz where they were made here; return the hash of the file that has them."""
    if embedded[0].file is not None:
        return {"embeddings_sha256": embedded[0].source.about.get("embeddings_sha256")}
    names = tuple(name for each in embedded for name in each.source.names)
    vectors = np.concatenate([each.source.vectors for each in embedded])
    broken = {name: reason for each in embedded for name, reason in each.source.broken.items()}
    write_embeddings(folder / EMBEDDINGS, Embeddings(names, vectors, embedded[0].source.about, broken))
    return {"embeddings_sha256": hashlib.sha256((folder / EMBEDDINGS).read_bytes()).hexdigest()}


def summary(
    task: str,
    args: argparse.Namespace,
    parts: Sequence[PhotoEmbeddings],
    figures: Mapping[str, Any],
    problems: Iterable[Problem],
) -> dict[str, Any]:
    """Return what summary.json holds for all these commands; what went wrong is also said on stderr.

    ``parts`` are the photos of the protocol and perhaps distractors, ``problems`` the reader's.
    """
    embedded = parts[0]
    told = [*map(str, problems), *(problem for part in parts for problem in _problems(part))]
    for problem in told:
        print(f"warning: {problem}", file=sys.stderr)
    about = {key: value for key, value in embedded.source.about.items() if key not in TOLD_ELSEWHERE}
    if "missed" in args:
        about["missed"] = args.missed
    return {
        "task": task,
        "protocol": args.protocol,
        "model": args.name or embedded.name,
        **figures,
        "photos": len(embedded.photos),
        "missed_faces": embedded.missed,
        "broken_photos": sum(len(part.broken) for part in parts),
        "missing_embeddings": len(embedded.missing),
        "problems": told,
        "settings": about,
        "weights_sha256": embedded.source.about.get("weights_sha256"),
        "command": shlex.join(args.command_line),
        "version": __version__,
        "seconds": round(time.perf_counter() - args.started, 3),
    }


def _problems(embedded: PhotoEmbeddings) -> Iterator[str]:
    yield from (f"broken photo: {reason}" for reason in embedded.broken.values())
    for what, names in (
        (f"{embedded.file}: no row for", embedded.missing),
        ("no face found in", embedded.faceless),
    ):
        if names:
            yield f"{what} {common.listed(names)}"


def gap_figures(result: VerificationResult) -> dict[str, dict[str, Any]] | None:
    """Return the figures by age gap as summary.json has them; None where no age is known."""
    found = {
        gap.name: {"genuine_pairs": gap.genuine, "eer": gap.eer, "tar_at_far": gap.tar_at_far} for gap in result.gaps
    }
    return found or None


def roc_rows(result: VerificationResult) -> Iterable[tuple[Any, ...]]:
    """Yield the rows of roc.csv under ``ROC_HEADER``: the points at which each curve turns."""
    for name, curve in result.curves().items():
        kept = curve.corners()
        columns = (curve.thresholds[kept].tolist(), curve.far[kept].tolist(), curve.tar[kept].tolist())
        for row in zip(*columns, strict=True):
            yield (name, *row)


def gap_table(result: VerificationResult, title: str) -> str:
    """Return the table of the figures by age gap; empty where no age is known."""
    if not result.gaps:
        return ""
    rows = [[gap.name, gap.genuine, gap.eer, *gap.tar_at_far.values()] for gap in result.gaps]
    header = [title, "genuine pairs", "EER", *(f"TAR at {name}" for name in result.tar_at_far())]
    return "\n\n" + report.table(header, rows)
