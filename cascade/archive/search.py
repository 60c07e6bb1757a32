"""Searching an index for the faces that are most similar to given ones: exact, over all of them.

It holds all embeddings in memory, 256 bytes a face, and compares each. That is meant for up to about a million faces;
for more, the embeddings belong into a database with an index of its own. See the guide to people, search, duplicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.archive.index import Index
from cascade.archive.neighbours import NOBODY, nearest
from cascade.archive.schema import path_of
from cascade.checks import integer, number

__all__ = ["FaceSearch", "Hit"]


@dataclass(frozen=True)
class Hit:
    """A face of the index that is similar to a probe."""

    face_id: str
    path: str
    """The photo."""
    face: int
    """The face's number in its photo, from 1."""
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels of the photo."""
    similarity: float
    """Cosine, −1 to 1."""


class FaceSearch:
    """The embeddings of an index in memory, to be searched many times, also by several threads.

    Raises `ArchiveError` for an index that cannot be read.
    """

    def __init__(self, index: Index) -> None:
        self.model = index.manifest.model
        self._embeddings = index.embeddings()
        self._faces = index.faces(["face_id", "path", "raw_path", "face", "box"])

    def __len__(self) -> int:
        return len(self._embeddings)

    def search(self, embeddings: npt.ArrayLike, top: int = 10, threshold: float | None = None) -> list[list[Hit]]:
        """The ``top`` most similar faces for each probe, best first, none below the ``threshold``.

        ``embeddings``: probes (N, D), rows of length 1, or a single one (D,), of the network of the index. Raises
        `cascade.GalleryError` for other arrays, ValueError or TypeError for wrong settings.
        """
        integer("top", top, 1)
        limit = -1.0 if threshold is None else number("threshold", threshold, -1.0, 1.0)
        probes = self.model.checked_rows(embeddings)
        if not len(self) or not len(probes):
            return [[] for _ in probes]
        found = nearest(probes, self._embeddings, count=min(top, len(self)), floor=limit)
        there = found.indices != NOBODY
        faces = iter(self._faces.take(found.indices[there]).to_pylist())
        similar = np.clip(found.similarities, -1.0, 1.0)
        return [
            [_hit(next(faces), float(value)) for value in row[present]]
            for row, present in zip(similar, there, strict=True)
        ]


def _hit(face: dict[str, Any], similarity: float) -> Hit:
    path = path_of(face["path"], face["raw_path"])
    x1, y1, x2, y2 = face["box"]
    return Hit(face["face_id"], path, face["face"], (x1, y1, x2, y2), round(similarity, 6))
