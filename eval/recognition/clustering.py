"""How well groups of faces agree with the people in them: B-cubed and pairwise; and other ways of grouping.

B-cubed (A. Bagga, B. Baldwin, Entity-Based Cross-Document Coreferencing Using the Vector Space Model, 1998) averages
over faces: which share of the face's group is of its person (precision), and which share of its person is in its group
(recall). Pairwise measures count pairs of faces, so that people with many photos weigh more. A face without an
embedding, a row of NaN, is a group of its own.

DBSCAN and HDBSCAN are scikit-learn's. What they call noise is counted as groups of one face.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.archive import Index
from cascade.archive.grouping import group_faces
from cascade.archive.people import unclear_faces
from cascade.archive.schema import path_of
from cascade.datasets import PersonPhoto
from cascade.faces import Faces
from eval.recognition.embedding import main_face
from eval.recognition.similarity import ProtocolError, unit_rows

__all__ = [
    "Agreement",
    "Grouping",
    "b_cubed",
    "dbscan",
    "from_index",
    "grouped",
    "hdbscan",
    "pairwise",
    "score",
    "seconds_for",
]

NOISE = -1

PERTURBATION = 0.6
"""Length of what is added to embeddings of length 1, at random, for faces that are made up: they stay 0.86 similar."""

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Precision and recall, 0 to 1."""

    precision: float
    recall: float

    @property
    def f(self) -> float:
        """Their harmonic mean."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Grouping:
    """One way of grouping with its setting, and how well it agrees with the truth.

    largest  faces of the largest group, which chaining makes large
    """

    method: str
    setting: float
    b_cubed: Agreement
    pairs: Agreement
    groups: int
    largest: int


def b_cubed(groups: ArrayLike, people: Sequence[object]) -> Agreement:
    """Return B-cubed precision and recall of N faces' groups. Raises ProtocolError for arrays that do not fit."""
    group, person, both = _counted(groups, people)
    return Agreement(float((both / group).mean()), float((both / person).mean()))


def pairwise(groups: ArrayLike, people: Sequence[object]) -> Agreement:
    """Return the shares of pairs in one group that are of one person, and of pairs of one person in one group.

    Where there is no such pair, the share is 1. Raises ProtocolError for arrays that do not fit.
    """
    # Each face is in (its count - 1) pairs, and each pair has two faces.
    group, person, both = ((counts - 1).sum() / 2 for counts in _counted(groups, people))
    return Agreement(float(both / group) if group else 1.0, float(both / person) if person else 1.0)


def _counted(groups: ArrayLike, people: Sequence[object]) -> list[NDArray[np.int64]]:
    """For each face: faces in its group, of its person, and in both."""
    labels = np.asarray(groups)
    names = np.asarray(people)
    if labels.shape != (len(names),) or not len(names):
        raise ProtocolError(f"groups: one for each of {len(names)} faces expected, got shape {labels.shape}")
    one, other = (np.unique(each, return_inverse=True)[1].astype(np.int64) for each in (labels, names))
    both = np.unique(one * (other.max() + 1) + other, return_inverse=True)[1]
    return [np.bincount(each)[each] for each in (one, other, both)]


def grouped(embeddings: ArrayLike, threshold: float, followers: NDArray[np.bool_] | None = None) -> Labels:
    """Return the groups of ``cascade cluster`` for (N, D) embeddings, each of another photo.

    ``followers`` (N,): the faces that join people but make none; none where it is not known.
    """
    follow = np.zeros(len(np.asarray(embeddings)), bool) if followers is None else followers
    present = ~np.isnan(np.asarray(embeddings)).any(axis=1)

    def fit(rows: NDArray[np.float32]) -> Labels:
        return group_faces(rows, np.arange(len(rows)), threshold=threshold, followers=follow[present])

    return _alone(embeddings, fit)


def from_index(
    index: Index, photos: Sequence[PersonPhoto], smallest: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the embeddings (N, D) of the main faces of N photos in an index, and which faces (N,) are unclear.

    A photo without a face has NaN. Raises ProtocolError where the index has none of the photos.
    """
    columns = index.faces(["path", "raw_path", "box", "score", "landmarks"]).to_pylist()
    rows_of: dict[str, list[int]] = {}
    for row, face in enumerate(columns):
        rows_of.setdefault(path_of(face["path"], face["raw_path"]), []).append(row)
    sizes = index.photos(["path", "raw_path", "width", "height"]).to_pylist()
    size_of = {path_of(each["path"], each["raw_path"]): (each["width"], each["height"]) for each in sizes}
    unclear, embeddings = unclear_faces(index, smallest), index.embeddings().astype(np.float32)
    vectors = np.full((len(photos), embeddings.shape[1]), np.nan, np.float32)
    followers = np.zeros(len(photos), bool)
    for at, photo in enumerate(photos):
        path = os.path.abspath(photo.path)
        rows = rows_of.get(path, [])
        if rows:
            boxes, scores, points = ([columns[row][name] for row in rows] for name in ("box", "score", "landmarks"))
            faces = Faces(boxes, scores, np.reshape(points, (-1, 5, 2)))
            row = rows[main_face(faces, *size_of[path])]
            vectors[at], followers[at] = embeddings[row], unclear[row]
    if np.isnan(vectors).all():
        raise ProtocolError(f"{index.folder}: has a face in none of the {len(photos)} photos")
    return vectors, followers


def dbscan(embeddings: ArrayLike, epsilon: float, least: int) -> Labels:
    """Return the groups of DBSCAN with the distance 1 - cosine, ``least`` faces making a core. Needs scikit-learn."""
    from sklearn.cluster import DBSCAN

    return _alone(embeddings, DBSCAN(eps=epsilon, min_samples=least, metric="cosine", algorithm="brute").fit_predict)


def hdbscan(embeddings: ArrayLike, least: int) -> Labels:
    """Return the groups of HDBSCAN over unit vectors, of at least ``least`` faces. Needs scikit-learn from 1.3."""
    from sklearn.cluster import HDBSCAN

    return _alone(embeddings, HDBSCAN(min_cluster_size=least, min_samples=1, copy=True).fit_predict)


def _alone(embeddings: ArrayLike, fit: Any) -> Labels:
    """Group the rows without NaN; give all others, and noise, a group each."""
    rows = unit_rows(embeddings)
    present = ~np.isnan(rows).any(axis=1)
    labels = np.full(len(rows), NOISE, np.int64)
    labels[present] = fit(rows[present].astype(np.float32))
    noise = labels == NOISE
    labels[noise] = labels.max(initial=-1) + 1 + np.arange(int(noise.sum()))
    return labels


def seconds_for(embeddings: ArrayLike, faces: int, threshold: float, seed: int = 0) -> tuple[float, float]:
    """Return processor and elapsed seconds of our grouping of that many faces, made by perturbing embeddings (N, D)."""
    rows = unit_rows(embeddings).astype(np.float32)
    rows = rows[~np.isnan(rows).any(axis=1)]
    rng = np.random.default_rng(seed)
    made = rows[np.arange(faces) % len(rows)]
    made += PERTURBATION * rng.standard_normal(made.shape, np.float32) / np.float32(np.sqrt(made.shape[1]))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    made = made[rng.permutation(faces)]
    processor, elapsed = time.process_time(), time.perf_counter()
    group_faces(made, np.arange(faces), threshold=threshold)
    return time.process_time() - processor, time.perf_counter() - elapsed


def score(method: str, setting: float, groups: Labels, people: Sequence[object]) -> Grouping:
    """Return how well groups agree with the truth."""
    sizes = np.bincount(groups)
    return Grouping(
        method,
        setting,
        b_cubed(groups, people),
        pairwise(groups, people),
        int((sizes > 0).sum()),
        int(sizes.max()),
    )
