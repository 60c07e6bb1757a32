"""The search in a gallery: whose embeddings are most similar to a face's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Match", "best_matches", "each_person_once", "person_similarities", "unlike"]

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
    """Cosine between the face and the person's most similar embedding, −1 to 1."""


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
