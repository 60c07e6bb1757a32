"""Photos that are the same, nearly the same, or hold the same picture of a face. It reports; it deletes nothing.

- **identical**: files with the same bytes.
- **near-identical**: the same photo in another size, with another quality, or a little cropped.
- **same face picture**: the photos differ, but one picture of a face is in both, as when a portrait was cut out of a
  group photo. Only in an index, which has the embeddings and landmarks of the faces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.archive.index import Index
from cascade.archive.locations import read_photo
from cascade.archive.neighbours import nearest
from cascade.archive.photo_prints import PhotoPrint, likeness
from cascade.archive.schema import path_of
from cascade.checks import number
from cascade.imaging.alignment import align
from cascade.imaging.errors import ImageError

__all__ = [
    "FACE_PICTURE",
    "IDENTICAL",
    "NEAR",
    "Duplicate",
    "identical",
    "near_identical",
    "same_face_pictures",
    "sets_of",
]

IDENTICAL, NEAR, FACE_PICTURE = "identical", "near-identical", "same face picture"

LEAST_HASH = 0.55
"""Cosine of the hashes from which the small pictures of two photos are compared."""

LEAST_LIKENESS = 0.92
"""Correlation of the small pictures from which two photos are near-identical."""

CANDIDATES = 32
"""Photos that each photo is compared with, and faces that each face is."""

LEAST_SIMILARITY, LEAST_FACE_LIKENESS = 0.85, 0.95
"""Cosine of the embeddings and correlation of the aligned crops from which two pictures of a face are one."""

FACE_BLUR = 4  # pixels of a crop that are averaged, so that JPEG and scaling do not count

Progress = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True)
class Duplicate:
    """Two photos by their indices, the lower one first, what they have in common, and how sure that is, up to 1."""

    a: int
    b: int
    kind: str
    likeness: float


def identical(digests: Sequence[bytes | None]) -> list[Duplicate]:
    """The photos of the same SHA-256, each with the first of its kind; those of None with none."""
    first: dict[bytes, int] = {}
    found = []
    for at, digest in enumerate(digests):
        if digest is not None and first.setdefault(digest, at) != at:
            found.append(Duplicate(first[digest], at, IDENTICAL, 1.0))
    return found


def near_identical(
    prints: Sequence[PhotoPrint],
    *,
    least: float = LEAST_LIKENESS,
    progress: Progress | None = None,
) -> list[Duplicate]:
    """The pairs of photos that are nearly the same, by rising index.

    Each photo is compared with the 32 of the most similar hashes; those of at least the likeness ``least`` are pairs.
    Flat photos are in none. Raises ValueError or TypeError for another ``least``.
    """
    limit = number("least", least, -1.0, 1.0)
    shown = [at for at, each in enumerate(prints) if not each.flat]
    if len(shown) < 2:
        return []
    rows = np.stack([prints[at].hash for at in shown])
    found = nearest(rows, count=CANDIDATES, floor=LEAST_HASH, progress=progress)
    one, other = found.pairs()
    codes = np.unique(np.minimum(one, other) * len(shown) + np.maximum(one, other))
    pairs = ((shown[code // len(shown)], shown[code % len(shown)]) for code in codes)
    compared = ((a, b, likeness(prints[a], prints[b])) for a, b in pairs)
    return [Duplicate(a, b, NEAR, min(1.0, round(value, 4))) for a, b, value in compared if value >= limit]


def same_face_pictures(
    index: Index, photos: Sequence[str], *, progress: Progress | None = None
) -> tuple[list[Duplicate], list[str]]:
    """The pairs of photos of an index in which one picture of a face is, and which photos could not be read.

    ``photos``: the paths that the result's indices are of. Raises `ArchiveError`.
    """
    table = index.faces(["path", "raw_path", "landmarks"]).to_pylist()
    place = {path: at for at, path in enumerate(photos)}
    owners = np.array([place.get(path_of(face["path"], face["raw_path"]), -1) for face in table], np.int64)
    a, b = nearest(index.embeddings(), count=CANDIDATES, floor=LEAST_SIMILARITY, progress=progress).mutual_pairs()
    other = (owners[a] != owners[b]) & (owners[a] >= 0) & (owners[b] >= 0)
    a, b = a[other], b[other]
    crops, problems = _face_crops(table, owners, np.unique(np.concatenate([a, b])), photos)
    best: dict[tuple[int, int], float] = {}
    for one, two in zip(a.tolist(), b.tolist(), strict=True):
        if one in crops and two in crops:
            pair = (int(min(owners[one], owners[two])), int(max(owners[one], owners[two])))
            best[pair] = max(best.get(pair, -1.0), float(crops[one] @ crops[two]))
    found = [
        Duplicate(*pair, FACE_PICTURE, min(1.0, round(value, 4)))
        for pair, value in sorted(best.items())
        if value >= LEAST_FACE_LIKENESS
    ]
    return found, problems


def _face_crops(
    table: list[dict[str, Any]], owners: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], photos: Sequence[str]
) -> tuple[dict[int, npt.NDArray[np.float32]], list[str]]:
    """The aligned crops of faces by row, blurred, as vectors of mean 0 and length 1; each photo is read once."""
    found: dict[int, npt.NDArray[np.float32]] = {}
    problems = []
    rows = rows[np.argsort(owners[rows], kind="stable")]
    numbers, starts = np.unique(owners[rows], return_index=True)
    for photo, part in zip(numbers.tolist(), np.split(rows, starts[1:]), strict=True):
        of_photo = part.tolist()
        points = np.array([table[row]["landmarks"] for row in of_photo], np.float32).reshape(-1, 5, 2)
        try:
            crops = align(read_photo(photos[photo]), points)
        except ImageError as error:
            problems.append(f"{photos[photo]}: {str(error).removeprefix('image: ')}")
            continue
        side = crops.shape[1] // FACE_BLUR
        gray = crops.mean(axis=3, dtype=np.float32).reshape(-1, side, FACE_BLUR, side, FACE_BLUR).mean(axis=(2, 4))
        flat = gray.reshape(len(gray), -1)
        flat = flat - flat.mean(axis=1, keepdims=True)
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
        found.update(zip(of_photo, flat, strict=True))
    return found, problems


def sets_of(pairs: Iterable[Duplicate]) -> list[list[int]]:
    """The photos that are joined by pairs, as sets of two or more, by rising index."""
    parent: dict[int, int] = {}

    def root(at: int) -> int:
        while parent.setdefault(at, at) != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for pair in pairs:
        low, high = sorted((root(pair.a), root(pair.b)))
        parent[high] = low
    sets: dict[int, list[int]] = {}
    for at in sorted(parent):
        sets.setdefault(root(at), []).append(at)
    return list(sets.values())
