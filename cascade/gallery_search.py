"""The search in a gallery: whose embeddings are most similar to a face's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "Match",
    "best_matches",
    "each_person_once",
    "person_similarities",
    "pooled",
    "pooled_people",
    "unlike",
]

DIGITS = 6
"""Decimals of a similarity. BLAS gives equal rows different last bits in different places; rounding removes them."""

NOBODY = -2.0
"""The similarity of a face and a person that do not belong together, below every cosine."""

UNLIKE_SHARE = 0.6
"""The share of the threshold below which a face is unlike a person's others."""

FloatArray = npt.NDArray[np.float32]


class Match(NamedTuple):
    """A person of the gallery that a face may be."""

    name: str
    similarity: float
    """Cosine between the face and the person's most similar embedding, or the mean of all of them, −1 to 1."""


def person_similarities(
    probes: FloatArray, rows: FloatArray, starts: npt.NDArray[np.intp], left_out: list[int]
) -> FloatArray:
    """The similarity (probes, people) of each person's most similar embedding.

    ``rows`` (n, D): person after person, from ``starts`` (people,) on. ``left_out``: the numbers of people who get
    `NOBODY`.
    """
    found: FloatArray = np.maximum.reduceat(probes @ rows.T, starts, axis=1)
    if left_out:
        found[:, left_out] = NOBODY
    return found


def pooled(embeddings: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> FloatArray:
    """The mean direction (D,) of embeddings (n, D) of one person, n ≥ 1: a template of somebody by several photos.

    ``weights`` (n,) are not negative, and not all 0; None: all alike. Raises ValueError for others, and for embeddings
    that cancel out.
    """
    rows = np.asarray(embeddings, np.float64)
    shares = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"embeddings: expected shape (n, D) with n ≥ 1, got {rows.shape}")
    if shares.shape != (len(rows),) or not (shares >= 0).all() or not shares.any():
        raise ValueError(f"weights: expected {len(rows)} numbers that are not negative, and not all 0, got {weights!r}")
    mean = shares @ rows
    length = float(np.linalg.norm(mean))
    if not length > 1e-6 * shares.sum():
        raise ValueError("embeddings: they cancel out, so they have no mean direction")
    return np.asarray(mean / length, np.float32)


def pooled_people(rows: FloatArray, starts: npt.NDArray[np.intp]) -> FloatArray:
    """The mean direction (people, D) of each person's embeddings; the first one where they cancel out."""
    sums = np.add.reduceat(rows, starts, axis=0, dtype=np.float64)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-12), rows[starts]), np.float32)


def best_matches(similarities: FloatArray, names: tuple[str, ...], count: int, limit: float) -> list[Match]:
    """The ``count`` most similar people that reach the ``limit``, from similarities (people,)."""
    similarities = np.round(similarities, DIGITS)
    likely = np.flatnonzero(similarities >= max(limit, -1.5))
    if len(likely) > count:
        last = np.partition(similarities[likely], -count)[-count]
        likely = likely[similarities[likely] >= last]
    order = likely[np.argsort(-similarities[likely], kind="stable")][:count]
    return [Match(names[at], min(1.0, max(-1.0, float(similarities[at])))) for at in order]


def each_person_once(similarities: FloatArray, limit: float) -> FloatArray:
    """The similarities (faces, people), `NOBODY` where the face or the person belongs to another one."""
    left = np.round(similarities, DIGITS)
    found = left.copy()
    for _ in range(min(left.shape)):
        face, person = np.unravel_index(int(np.argmax(left)), left.shape)
        if left[face, person] < max(limit, -1):
            break
        found[np.arange(len(found)) != face, person] = NOBODY
        left[face], left[:, person] = NOBODY, NOBODY
    return found


def unlike(embeddings: npt.ArrayLike, threshold: float) -> npt.NDArray[np.bool_]:
    """Which embeddings (n, D) are not of the person whom most of them show: (n,) bool.

    That person's are those that reach the ``threshold``, which is a Recognizer's, with the embedding that most others
    do. The others are compared with the mean of these, and may be a good deal less similar: 97 of 100 pairs of photos
    of one person reach that, but 2 of 100 pairs of different people do too.
    """
    rows = np.asarray(embeddings, np.float32)
    if len(rows) < 2:
        return np.zeros(len(rows), bool)
    similar = rows @ rows.T
    centre = rows[similar[int(np.argmax((similar >= threshold).sum(axis=1)))] >= threshold].sum(axis=0)
    found: npt.NDArray[Any] = rows @ (centre / np.linalg.norm(centre)) < UNLIKE_SHARE * threshold
    return found
