"""How far 68 landmarks lie from the truth: mean error, cumulative curve, failures, by part of the face and by yaw.

The measure of C. Sagonas et al., 300 Faces in-the-Wild Challenge, ICCV Workshops 2013: the mean distance of a face's
points from the truth over the distance between the eyes' outer corners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cascade.boxes import iou
from cascade.datasets import DatasetError, PointsPhoto
from cascade.face_model import five_point_yaw
from cascade.faces import Faces
from cascade.landmarks import LandmarkEstimator, five_points
from eval.detection.average_precision import FloatArray
from eval.detection.landmarks import FAILURE, YAWS

__all__ = ["OUTER_CORNERS", "PARTS", "PointsResult", "evaluate_points", "points_of"]

OUTER_CORNERS = (36, 45)
"""The eyes' outer corners, counted from 0."""

PARTS: Mapping[str, tuple[int, int]] = {
    "jaw": (0, 17),
    "brows": (17, 27),
    "nose": (27, 36),
    "eyes": (36, 48),
    "mouth": (48, 68),
}
"""First point of each part, and the one behind its last."""

OVERLAP = 0.3
"""A detected face is the labelled one if its box overlaps that around the true points by more than this."""

STEPS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class PointsResult:
    """What `evaluate_points` gives.

    errors  (N, 68) float64: distance of each point over that of the true eyes' outer corners; NaN for a missed face
    yaws    (N,) float64 degrees to either side, estimated from five of the true points
    """

    errors: FloatArray
    yaws: FloatArray

    @property
    def found(self) -> NDArray[np.bool_]:
        """(N,) whether a face has points."""
        return np.asarray(np.isfinite(self.errors).all(axis=1))

    @property
    def nme(self) -> float | None:
        """Normalised mean error over the faces found; None without any."""
        return _mean(self.errors[self.found])

    @property
    def failure_rate(self) -> float | None:
        """Share of the faces found whose mean error is above 10 %."""
        means = self.errors[self.found].mean(axis=1)
        return float((means > FAILURE).mean()) if len(means) else None

    @property
    def failure_rate_of_all(self) -> float | None:
        """The same share of all faces: one without points is a failure."""
        return None if not len(self.errors) else 1 - float(self.cumulative(np.array([FAILURE]))[0])

    @property
    def auc(self) -> float | None:
        """Area under the cumulative curve up to an error of 10 %, over that of a perfect one; of all faces."""
        if not len(self.errors):
            return None
        return float(self.cumulative(np.linspace(0, FAILURE, STEPS + 1)).mean())

    def cumulative(self, errors: FloatArray) -> FloatArray:
        """Share of all faces, found or not, with a mean error of at most each of these (K,)."""
        means = np.sort(self.errors[self.found].mean(axis=1))
        return np.searchsorted(means, errors, side="right") / max(len(self.errors), 1)

    def by_part(self) -> dict[str, float | None]:
        """The error of each part of the face."""
        return {name: _mean(self.errors[self.found][:, first:end]) for name, (first, end) in PARTS.items()}

    def by_yaw(self) -> dict[str, PointsResult]:
        """The faces whose heads are turned by so many degrees, "15-30", without empty classes."""
        parts = {}
        for low, high in pairwise(YAWS):
            there = (self.yaws >= low) & ((self.yaws < high) | (high == YAWS[-1]))
            if there.any():
                parts[f"{low:g}-{high:g}"] = PointsResult(self.errors[there], self.yaws[there])
        return parts


def evaluate_points(photos: Sequence[PointsPhoto], found: Sequence[FloatArray | None]) -> PointsResult:
    """Compare points (68, 2) of each photo's face, None for a missed one, with the true ones.

    Raises DatasetError for a photo whose eyes' outer corners are in one place.
    """
    errors = np.full((len(photos), 68), np.nan)
    truths = np.array([photo.points for photo in photos], np.float64).reshape(-1, 68, 2)
    across = np.linalg.norm(truths[:, OUTER_CORNERS[0]] - truths[:, OUTER_CORNERS[1]], axis=1)
    if (across <= 0).any():
        name = photos[int(np.argmin(across))].name
        raise DatasetError(f"{name}: expected eyes in two places, got their outer corners in one")
    for at, points in enumerate(found):
        if points is not None:
            errors[at] = np.linalg.norm(np.asarray(points, np.float64) - truths[at], axis=1) / across[at]
    return PointsResult(errors, np.abs(five_point_yaw(five_points(truths))) if len(truths) else np.empty(0))


def points_of(estimator: LandmarkEstimator, image: NDArray[np.uint8], truth: FloatArray) -> FloatArray | None:
    """The points that are found for the face with these true points, which say which face of the photo is meant."""
    faces: Faces = estimator.detector.detect(image)
    around = np.concatenate([truth.min(axis=0), truth.max(axis=0)])[None]
    if not len(faces):
        return None
    overlap = iou(faces.boxes.astype(np.float64), around.astype(np.float64))[:, 0]
    best = int(np.argmax(overlap))
    if overlap[best] <= OVERLAP:
        return None
    points = estimator.predict(image, faces[[best]])[0]
    return points if np.isfinite(points).all() else None


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if values.size else None
