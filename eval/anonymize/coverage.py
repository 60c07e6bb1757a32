"""Which labelled faces are hidden, and how much beside them.

A labelled face of at least `SMALLEST` pixels counts as hidden if at least `COVERED` of the pixels of its box, as far as
it is in the photo, are fully hidden. What is hidden beside faces is counted over the pixels that are in no labelled
box, ignored and small ones included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cascade.anonymize.finding import FaceFinder
from cascade.anonymize.settings import Hiding
from cascade.anonymize.shapes import hidden_pixels
from cascade.datasets import Photo
from cascade.faces import Faces
from eval.photos import images_of

__all__ = ["COVERED", "SCORES", "SMALLEST", "Coverage", "measure"]

SMALLEST = 20.0
"""Shorter side in pixels of the faces that must be hidden."""

COVERED = 0.8
"""Share of a face's box from which on it counts as hidden."""

SCORES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9)
"""Scores from which on faces are hidden, for the curve."""


@dataclass(frozen=True)
class Coverage:
    """What is hidden from one score on."""

    min_score: float
    faces: int
    """Labelled faces that must be hidden."""
    hidden: int
    """Those of them that are."""
    outside_pixels: int
    """Pixels in no labelled box."""
    outside_hidden: int
    """Those of them that are hidden."""
    by_photo: float
    """Mean over the photos of the share of their outside pixels that are hidden."""

    @property
    def recall(self) -> float:
        """Share of the faces that are hidden; NaN without faces."""
        return self.hidden / self.faces if self.faces else float("nan")

    @property
    def outside(self) -> float:
        """Share of the pixels outside faces that are hidden."""
        return self.outside_hidden / max(self.outside_pixels, 1)


def measure(
    photos: Iterable[Photo], finder: FaceFinder, hiding: Hiding, scores: Sequence[float] = SCORES
) -> tuple[list[Coverage], dict[str, str]]:
    """What is hidden from each of the ``scores`` on, which rise; and why photos could not be read, by name.

    Raises ValueError where none can be read.
    """
    counts = []
    broken: dict[str, str] = {}
    for photo, image in images_of(photos, broken):
        size = image.shape[1], image.shape[0]
        counts.append(_count(photo, finder.find(image, min(scores)), hiding, scores, size))
    if not counts:
        raise ValueError(f"none of the {len(broken)} photos can be read")
    table = np.array(counts, np.float64)  # photo, score, the four counts
    shares = table[:, :, 3] / np.maximum(table[:, :, 2], 1)
    totals = table.sum(axis=0)
    curve = [
        Coverage(score, int(row[0]), int(row[1]), int(row[2]), int(row[3]), float(share))
        for score, row, share in zip(scores, totals, shares.mean(axis=0), strict=True)
    ]
    return curve, broken


def _count(
    photo: Photo, found: Faces, hiding: Hiding, scores: Sequence[float], size: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    """For each score: labelled faces, hidden ones, pixels outside faces, hidden ones of these."""
    width, height = size
    corners = np.clip(np.rint(photo.boxes.astype(np.float64)), 0, [width, height, width, height]).astype(int)
    outside = np.ones((height, width), bool)
    for x1, y1, x2, y2 in corners.tolist():
        outside[y1:y2, x1:x2] = False
    sides = (photo.boxes[:, 2:] - photo.boxes[:, :2]).min(axis=1, initial=np.inf)
    visible = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    wanted = corners[~photo.ignored & (sides >= SMALLEST) & visible]
    hidden = np.zeros((height, width), bool)
    counts: list[tuple[int, int, int, int]] = []
    limit = np.inf
    for score in sorted(scores, reverse=True):
        new = found.boxes[(found.scores >= score) & (found.scores < limit)]
        hidden |= hidden_pixels(new, width, height, hiding)
        limit = score
        covered = sum(_share(hidden[y1:y2, x1:x2]) >= COVERED for x1, y1, x2, y2 in wanted.tolist())
        counts.append((len(wanted), covered, int(outside.sum()), int((hidden & outside).sum())))
    return counts[::-1]


def _share(part: npt.NDArray[np.bool_]) -> float:
    return float(part.mean())
