"""How far five landmarks lie from the truth: mean error, cumulative curve, by landmark, by head pose and rotation.

The measure of the face alignment literature: the mean distance of a face's landmarks from the truth over the
distance between the eyes, as Z. Zhang et al., Facial Landmark Detection by Deep Multi-task Learning (ECCV
2014) report it on AFLW. Faces in profile have their eyes close together, so the error over the size of the
box stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cascade.boxes import iou
from cascade.datasets import Photo
from cascade.faces import LANDMARK_NAMES
from eval.detection.average_precision import FloatArray
from eval.detection.predictions import Found

__all__ = [
    "FAILURE",
    "MATCH",
    "ROLLS",
    "YAWS",
    "AngleResult",
    "LandmarkResult",
    "PhotoErrors",
    "estimated_yaw",
    "evaluate",
    "photo_errors",
    "roll",
]

MATCH = 0.4
"""A face is found when the detection that overlaps it most does so by more than this."""

FAILURE = 0.10
"""A face whose mean error over the inter-ocular distance is above this counts as failed."""

YAWS = (0.0, 15.0, 30.0, 60.0, 90.0)
"""Borders of the classes of yaw, the turn of the head to either side, in degrees."""

ROLLS = (0.0, 10.0, 20.0, 30.0, 45.0, 180.0)
"""Borders of the classes of roll, the in-plane rotation of a face to either side, in degrees."""

NOSE_REACH = 0.55
"""How far the nose tip of a typical face stands before its eyes, over the distance between the eyes."""


@dataclass(frozen=True, slots=True)
class AngleResult:
    """Figures for the faces with an angle of ``smallest`` to ``largest`` degrees; errors are None without a match."""

    smallest: float
    largest: float
    faces: int
    matched: int
    error_interocular: float | None
    error_box: float | None


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkResult:
    """What ``evaluate`` gives. M of the faces were matched.

    photos, faces          evaluated photos, and faces with all five landmarks in them
    incomplete             further faces that count, without all five landmarks or with both eyes in one place
    interocular            (M, 5) float64: distance of each landmark over that between the true eyes
    box                    (M, 5) float64: the same distances over √(width · height) of the true box
    yaws                   by the turn of the head
    rolls                  by the in-plane rotation, which is that of the line through the true eyes
    yaw_source             "annotated", or "estimated" from the true landmarks
    """

    photos: int
    faces: int
    incomplete: int
    interocular: FloatArray
    box: FloatArray
    yaws: tuple[AngleResult, ...]
    rolls: tuple[AngleResult, ...]
    yaw_source: str

    @property
    def matched(self) -> int:
        """Number of faces that a detection matched; the others were not found."""
        return len(self.interocular)

    @property
    def error_interocular(self) -> float | None:
        """Mean error over the inter-ocular distance, over matched faces; None without any."""
        return _mean(self.interocular)

    @property
    def error_box(self) -> float | None:
        """Mean error over the square root of the box's area, over matched faces; None without any."""
        return _mean(self.box)

    @property
    def failure_rate(self) -> float | None:
        """Share of the matched faces with a mean error above 10 % of the inter-ocular distance."""
        return float((self.interocular.mean(axis=1) > FAILURE).mean()) if self.matched else None

    @property
    def failure_rate_of_all(self) -> float | None:
        """The same share of all faces, one that was not found being a failure; None without any face."""
        if not self.faces:
            return None
        failed = int(np.count_nonzero(self.interocular.mean(axis=1) > FAILURE))
        return (failed + self.faces - self.matched) / self.faces

    def by_landmark(self) -> dict[str, dict[str, float | None]]:
        """Return the mean errors "interocular" and "box" of each landmark by its name."""
        return {
            name: {"interocular": _mean(self.interocular[:, k]), "box": _mean(self.box[:, k])}
            for k, name in enumerate(LANDMARK_NAMES)
        }

    def cumulative(self, errors: FloatArray, *, box: bool = False) -> FloatArray:
        """Return the share of all faces, found or not, with at most each of the ``errors`` (K,)."""
        means = np.sort((self.box if box else self.interocular).mean(axis=1))
        return np.searchsorted(means, errors, side="right") / max(self.faces, 1)


@dataclass(frozen=True, slots=True, eq=False)
class PhotoErrors:
    """The F faces of one photo that are evaluated: those that count and have all five landmarks.

    faces       (F,) int64: their places in the photo
    detections  (F,) int64: the detection that overlaps each most, in the order given; −1 for a face not found
    interocular, box  (F, 5) float64 as in ``LandmarkResult``; NaN for a face not found
    """

    faces: NDArray[np.int64]
    detections: NDArray[np.int64]
    interocular: FloatArray
    box: FloatArray

    @property
    def matched(self) -> NDArray[np.bool_]:
        """(F,) bool: the faces that were found."""
        return self.detections >= 0


def evaluate(photos: Iterable[Photo], found: Mapping[str, Found], *, match: float = MATCH) -> LandmarkResult:
    """Score the landmarks of the detection that overlaps each labelled face most.

    photos  every face that is not ignored and has all five landmarks is evaluated; a photo without an entry in
            ``found`` counts as one in which nothing was found. ``attributes["yaw"]`` in degrees is used where
            every photo has it, else the yaw is estimated
    match   the overlap that a detection must exceed; faces without such a detection are counted as not found

    Raises ValueError for no such face, and for detections without landmarks.
    """
    ordered = sorted(photos, key=lambda photo: photo.name)
    annotated = all("yaw" in photo.attributes for photo in ordered)
    interocular, box, yaws, rolls, hit = [], [], [], [], []
    incomplete = 0
    for photo in ordered:
        errors = photo_errors(photo, found.get(photo.name), match=match)
        incomplete += int(np.count_nonzero(~photo.ignored)) - len(errors.faces)
        truth = photo.landmarks[errors.faces].astype(np.float64)
        yaw = photo.attributes["yaw"][errors.faces] if annotated else estimated_yaw(truth)
        interocular.append(errors.interocular[errors.matched])
        box.append(errors.box[errors.matched])
        yaws.append(np.abs(np.asarray(yaw, np.float64)))
        rolls.append(np.abs(roll(truth)))
        hit.append(errors.matched)
    if not sum(map(len, hit)):
        raise ValueError("landmarks: there is no face with five landmarks to evaluate")
    every = np.concatenate(interocular), np.concatenate(box), np.concatenate(hit)
    by_yaw = _by_angle(*every, np.concatenate(yaws), YAWS)
    by_roll = _by_angle(*every, np.concatenate(rolls), ROLLS)
    source = "annotated" if annotated else "estimated"
    return LandmarkResult(len(ordered), sum(map(len, hit)), incomplete, *every[:2], by_yaw, by_roll, source)


def photo_errors(photo: Photo, found: Found | None, *, match: float = MATCH) -> PhotoErrors:
    """Score one photo by the rule of ``evaluate``; None for ``found`` is a photo in which nothing was found.

    Raises ValueError for detections without landmarks.
    """
    faces = np.flatnonzero(~photo.ignored & _complete(photo.landmarks))
    truth, boxes = photo.landmarks[faces].astype(np.float64), photo.boxes[faces].astype(np.float64)
    nearest = _nearest(boxes, found, match)
    distances = np.full((len(faces), 5), np.nan)
    hit = nearest >= 0
    if found is not None and len(found) and len(faces):
        if found.landmarks is None:
            raise ValueError(f"landmarks: the detections in {photo.name} have none")
        distances[hit] = np.linalg.norm(found.landmarks[nearest[hit]] - truth[hit], axis=2)
    eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)[:, None]
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))[:, None]
    return PhotoErrors(faces, nearest, distances / eyes, distances / sides)


def estimated_yaw(landmarks: FloatArray) -> FloatArray:
    """Estimate from (N, 5, 2) landmarks the yaw of each head: (N,) degrees.

    Seen from far away, a head rotated by an angle shows its eyes closer together by the cosine, and its nose
    tip, which stands before the eyes by 0.55 of their distance, to the side by the sine. The nose is measured
    along the line through the eyes, so a head tilted in the image's plane is no different. A rough measure, for sorting
    faces into wide classes.
    """
    left, right, nose = (landmarks[:, k] for k in range(3))
    eyes = right - left
    squared = np.maximum(np.sum(eyes**2, axis=1), 1e-12)
    offset = np.sum((nose - (left + right) / 2) * eyes, axis=1) / squared
    angle: FloatArray = np.degrees(np.arctan(offset / NOSE_REACH))
    return angle


def roll(landmarks: FloatArray) -> FloatArray:
    """Return from (N, 5, 2) landmarks the in-plane rotation of each face: (N,) degrees, −180 to 180, clockwise."""
    right, down = (landmarks[:, 1] - landmarks[:, 0]).T
    angle: FloatArray = np.degrees(np.arctan2(down, right))
    return angle


def _complete(landmarks: NDArray[np.float32]) -> NDArray[np.bool_]:
    known = np.isfinite(landmarks).all(axis=(1, 2))
    apart: NDArray[np.bool_] = known & (landmarks[:, 0] != landmarks[:, 1]).any(axis=1)
    return apart


def _nearest(boxes: FloatArray, found: Found | None, match: float) -> NDArray[np.int64]:
    """Return for F boxes the detection that overlaps each most, −1 where none does by more than ``match``."""
    if found is None or not len(found):
        return np.full(len(boxes), -1)
    # Where two overlap a face equally, the surer one.
    order = np.argsort(-found.scores, kind="stable")
    overlaps = iou(boxes, found.boxes[order])
    return np.where(overlaps.max(axis=1) > match, order[overlaps.argmax(axis=1)], -1)


def _by_angle(
    interocular: FloatArray, box: FloatArray, hit: NDArray[np.bool_], angles: FloatArray, borders: tuple[float, ...]
) -> tuple[AngleResult, ...]:
    results = []
    for smallest, largest in pairwise(borders):
        inside = (angles >= smallest) & ((angles < largest) | (largest == borders[-1]))
        rows = inside[hit]
        matched = int(np.count_nonzero(rows))
        errors = _mean(interocular[rows]), _mean(box[rows])
        results.append(AngleResult(smallest, largest, int(np.count_nonzero(inside)), matched, *errors))
    return tuple(results)


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if values.size else None
