"""From the lines of a list of pairs to photos on disk: what the readers of verification protocols share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ._images import ImageFinder, ProblemLog, without_suffix
from .people import Pair, Pairs, PersonPhoto
from .photo import DatasetError


@dataclass(frozen=True, slots=True)
class Side:
    """One photo of a pair as a list names it; names are compared without image suffix."""

    name: str
    person: str | None
    age: float = math.nan


@dataclass(frozen=True, slots=True)
class ListedPair:
    """One pair of a list; ``fold`` counts from 1."""

    a: Side
    b: Side
    same: bool
    fold: int


def find_pairs(
    title: str,
    listed: Sequence[ListedPair],
    source: Path,
    roots: Sequence[Path],
    log: ProblemLog,
    require_images: bool,
) -> Pairs:
    """Return the pairs with their photos, looked for by stem below each of ``roots``.

    A photo that is nowhere gets the path that it would have below the first root; with ``require_images``
    its pairs are left out, and all missing photos are noted as one problem of ``source``. Raises DatasetError
    when no pair is left.
    """
    finders = [ImageFinder(root) for root in roots]
    photos: dict[str, PersonPhoto] = {}
    missing: list[str] = []
    for side in (side for pair in listed for side in (pair.a, pair.b)):
        if side.name in photos:
            continue
        stem = without_suffix(side.name)
        path = next((found for finder in finders if (found := finder.by_stem(stem))), None)
        if path is None:
            missing.append(side.name)
            path = roots[0] / (side.name if stem != side.name else f"{stem}.jpg")
        photos[side.name] = PersonPhoto(path, side.name, side.person, side.age)
    if require_images:
        log.add_missing(source, missing, len(photos), roots[0])
    gone = set(missing) if require_images else set()
    kept = [pair for pair in listed if pair.a.name not in gone and pair.b.name not in gone]
    if not kept:
        raise DatasetError(f"{source}: no pair of photos to compare")
    pairs = tuple(Pair(photos[pair.a.name], photos[pair.b.name], pair.same, pair.fold) for pair in kept)
    return Pairs(title, pairs, tuple(log.problems))


def existing(root: Path, *folders: str) -> list[Path]:
    """Return ``root`` and those of its folders that exist: places where a set's photos lie as distributed."""
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    return [root, *(root / folder for folder in folders if (root / folder).is_dir())]


def folds_in_order(count: int, folds: int) -> list[int]:
    """Return the fold (from 1) of each of ``count`` pairs that stand in the list one fold after the other."""
    return [at * folds // count + 1 for at in range(count)]
