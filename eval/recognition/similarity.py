"""Comparing embeddings: cosine similarity, with NaN where a face was missed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FloatArray", "ProtocolError", "pair_scores", "similarities", "unit_rows"]

FloatArray = NDArray[np.float64]

# Sums of products come out in another order for another shape of the arrays: what differs by less is a tie.
DIGITS = 9


class ProtocolError(ValueError):
    """A protocol cannot be carried out on what was given; the message names the argument."""


def unit_rows(embeddings: ArrayLike, argument: str = "embeddings") -> FloatArray:
    """Scale every row to length 1: (N, D) numbers → (N, D) float64.

    A row that holds NaN, or is all zeros and so has no direction, stands for a missed face and becomes NaN.
    Raises ProtocolError for another shape and for infinity.
    """
    try:
        rows = np.array(embeddings, np.float64)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"{argument}: an array of numbers expected: {error}") from error
    if rows.ndim != 2 or 0 in rows.shape:
        raise ProtocolError(f"{argument}: one row of numbers for each face expected, got shape {rows.shape}")
    if np.isinf(rows).any():
        raise ProtocolError(f"{argument}: finite numbers expected, or NaN for a missed face; got infinity")
    # First to about 1, so that no square can overflow.
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows /= np.where(largest > 0, largest, np.nan)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def similarities(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the (N, M) cosines between unit rows (N, D) and (M, D); −inf where either face was missed."""
    with np.errstate(invalid="ignore"):
        cosines = np.round(a @ b.T, DIGITS)
    cosines[np.isnan(cosines)] = -np.inf
    return cosines


def pair_scores(rows: FloatArray, first: NDArray[Any], second: NDArray[Any]) -> FloatArray:
    """Return the (P,) cosines of pairs of unit rows, given by two arrays of P indices; NaN for a missed face."""
    scores = np.empty(len(first))
    for start in range(0, len(first), 1 << 16):  # the rows themselves would not fit for millions of pairs
        part = slice(start, start + (1 << 16))
        scores[part] = np.einsum("pd,pd->p", rows[first[part]], rows[second[part]])
    return np.round(scores, DIGITS)
