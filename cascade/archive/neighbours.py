"""The most similar rows of many: exact, block by block, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cascade.checks import integer, number

__all__ = ["NOBODY", "Neighbours", "best_of", "nearest"]

NOBODY = -1
"""The index of a neighbour that a row lacks."""

ROWS, COLUMNS = 2048, 8192
"""Similarities computed at once: 64 MB of float32."""

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]
Progress = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The most similar rows of each row, best first.

    indices       (N, k) int64, `NOBODY` where fewer reach the floor
    similarities  (N, k) float32 cosines, −inf there
    """

    indices: IndexArray
    similarities: FloatArray

    def pairs(self) -> tuple[IndexArray, IndexArray]:
        """Each row with each of its neighbours: two arrays of E indices."""
        rows = np.repeat(np.arange(len(self.indices)), self.indices.shape[1])
        others = self.indices.ravel()
        there = others != NOBODY
        return rows[there], others[there]

    def mutual_pairs(self) -> tuple[IndexArray, IndexArray]:
        """The pairs of rows that are neighbours of each other, each once with the lower index first.

        Only of rows that were compared with each other.
        """
        count = max(len(self.indices), 1)
        rows, others = self.pairs()
        codes, times = np.unique(np.minimum(rows, others) * count + np.maximum(rows, others), return_counts=True)
        codes = codes[times > 1]
        return codes // count, codes % count


def nearest(
    rows: npt.NDArray[np.floating],
    among: npt.NDArray[np.floating] | None = None,
    *,
    count: int,
    floor: float = -1.0,
    progress: Progress | None = None,
) -> Neighbours:
    """The ``count`` most similar rows of each row, none below the ``floor``.

    ``rows`` (N, D) and ``among`` (M, D) have length 1, float32 or float16; the indices are those of ``among``. Without
    it, the rows are compared with each other, and none is its own neighbour. ``progress`` wraps the sequence of blocks.

    It compares all pairs: N·M·D multiply-adds. Beside the arguments and the result it needs some 100 MB.

    Raises ValueError or TypeError for other shapes, counts and floors.
    """
    itself = among is None
    others = rows if among is None else among
    for name, array in (("rows", rows), ("among", others)):
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
            raise ValueError(f"{name}: expected (N, D) floats, got {getattr(array, 'shape', type(array).__name__)}")
    if rows.shape[1] != others.shape[1]:
        raise ValueError(f"among: expected rows of {rows.shape[1]} numbers, got {others.shape[1]}")
    count, floor = integer("count", count, 1), number("floor", floor, -1.0, 1.0)
    indices = np.full((len(rows), count), NOBODY, np.int64)
    similarities = np.full((len(rows), count), -np.inf, np.float32)
    starts = range(0, len(rows), ROWS)
    for start in starts if progress is None else progress(starts):
        part = slice(start, min(start + ROWS, len(rows)))
        probes = np.asarray(rows[part], np.float32)
        for first in range(0, len(others), COLUMNS):
            block = probes @ np.asarray(others[first : first + COLUMNS], np.float32).T
            if itself:
                own = np.arange(part.start, part.stop) - first
                inside = (own >= 0) & (own < block.shape[1])
                block[np.flatnonzero(inside), own[inside]] = -np.inf
            best_of(block, first, floor, indices[part], similarities[part])
    order = np.argsort(-similarities, axis=1, kind="stable")
    return Neighbours(np.take_along_axis(indices, order, 1), np.take_along_axis(similarities, order, 1))


def best_of(block: FloatArray, first: int, floor: float, indices: IndexArray, similarities: FloatArray) -> None:
    """Take what is more similar than the least of each row's best into ``indices`` and ``similarities`` (R, k).

    ``block`` (R, C): similarities of R rows with those from index ``first`` on. The best are in no order.
    """
    # Most blocks hold few such similarities, so that comparing costs more than collecting.
    least = similarities.min(axis=1)
    taken = np.flatnonzero(block > np.maximum(least, np.float32(floor) - np.float32(1e-6))[:, None])
    rows, columns = taken // block.shape[1], taken % block.shape[1]
    if not len(rows):
        return
    found, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    kept = similarities.shape[1]
    places = np.arange(len(rows)) - np.repeat(starts, counts) + kept
    at = np.repeat(np.arange(len(found)), counts)
    values = np.full((len(found), kept + int(counts.max())), -np.inf, np.float32)
    labels = np.full(values.shape, NOBODY, np.int64)
    values[:, :kept], labels[:, :kept] = similarities[found], indices[found]
    values[at, places], labels[at, places] = block[rows, columns], columns + first
    best = np.argpartition(-values, kept - 1, axis=1)[:, :kept]
    similarities[found] = np.take_along_axis(values, best, 1)
    indices[found] = np.take_along_axis(labels, best, 1)
