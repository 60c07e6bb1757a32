"""Protected templates: what they cost in accuracy, and what is left of the embedding for whoever attacks them.

Two kinds, each under a secret key: the embedding rotated (`cascade.templates`), and the signs of keyed projections, as
in A. T. B. Jin et al., Biohashing: two factor authentication featuring fingerprint data and tokenised random number,
Pattern Recognition 37, 2004. The projections are the rows of as many keyed rotations as the bits take, which loses less
than independent ones (J. Ji et al., Super-bit locality-sensitive hashing, NeurIPS 2012).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from cascade.templates import rotation_matrix
from eval.recognition.similarity import FloatArray, ProtocolError

__all__ = ["Kind", "known_pairs_attack", "projections", "protect", "reconstruct"]


@dataclass(frozen=True)
class Kind:
    """A kind of template. ``bits`` is None for rotations."""

    bits: int | None = None

    def __post_init__(self) -> None:
        if self.bits is not None and self.bits < 1:
            raise ProtocolError(f"bits: at least 1 expected, got {self.bits}")

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "rotation" if self.bits is None else f"{self.bits:,} signs"


def projections(kind: Kind, key: bytes, dimension: int) -> FloatArray:
    """Return the columns (D, outputs) on which embeddings are projected."""
    if kind.bits is None:
        return rotation_matrix(key, dimension)
    blocks = range(-(-kind.bits // dimension))
    matrices = [rotation_matrix(hashlib.sha256(key + bytes([block])).digest(), dimension) for block in blocks]
    return np.concatenate(matrices, axis=1)[:, : kind.bits]


def protect(kind: Kind, rows: FloatArray, matrix: FloatArray) -> FloatArray:
    """Return the templates (N, outputs) of unit rows (N, D), scaled to length 1; NaN where a face was missed.

    The cosine of two templates of signs is 1 − 2 h, where h is the share of signs that differ.
    """
    projected: FloatArray = rows @ matrix
    if kind.bits is None:
        return projected
    signs: FloatArray = np.where(projected >= 0, 1.0, -1.0) / np.sqrt(kind.bits)
    signs[np.isnan(projected).any(axis=1)] = np.nan
    return signs


def reconstruct(templates: FloatArray, matrix: FloatArray) -> FloatArray:
    """Return the unit rows (N, D) that whoever has the key computes from the templates."""
    found = templates @ np.linalg.pinv(matrix)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def known_pairs_attack(rows: FloatArray, templates: FloatArray, known: int) -> float:
    """Return the mean cosine between embeddings and what is computed of their templates without the key.

    The attacker has the first ``known`` embeddings with their templates, fits a linear map by least squares, and maps
    the templates of the others.
    """
    if not 0 < known < len(rows):
        raise ProtocolError(f"known: 1 to {len(rows) - 1:,} pairs expected, got {known:,}")
    fitted = np.linalg.lstsq(templates[:known], rows[:known], rcond=None)[0]
    found = templates[known:] @ fitted
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return float((found * rows[known:]).sum(axis=1).mean())
