"""What a detector got wrong on a set, one mistake at a time: faces missed, false alarms, landmarks far off.

The matching is that of the figures, `eval.detection.precision_recall` and `eval.detection.landmarks`, and so are the
detections: those that the detector reports by default. So there are as many mistakes here as these count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cascade.boxes import iou
from cascade.datasets import Photo
from eval.detection import landmarks
from eval.detection import precision_recall as detection
from eval.detection.average_precision import FloatArray
from eval.detection.predictions import Found
from eval.detection.test_sets import TestSet

__all__ = ["KINDS", "NEAR", "REASONS", "Detections", "Kind", "Mistake", "detections_of", "find_mistakes"]

Kind = Literal["miss", "false_alarm", "landmarks"]
KINDS: tuple[Kind, ...] = ("miss", "false_alarm", "landmarks")

NEAR = 0.25
"""A detection and a face that overlap by this have to do with each other, though that is no match."""
SAME = 0.5
"""Detections with default and with low thresholds that overlap by this are one: NMS leaves no two of that overlap."""

NOTHING, LOW_SCORE, BAD_BOX = "nothing found here", "score too low", "box too far off"
REJECTED = "rejected by P-Net or R-Net"
LOW_AND_BAD, TAKEN = "score too low and box too far off", "its detection finds another face"
DUPLICATE, NO_FACE = "second box on a face", "no labelled face here"
BAD_POINTS = "landmarks too far off"
REASONS = {
    NOTHING: f"no detection, whatever its score, overlaps the face by {NEAR:g}",
    LOW_SCORE: "a detection overlaps the face well enough, but has less than the default score",
    REJECTED: "with lower thresholds before O-Net a detection of the default score overlaps the face well enough",
    BAD_BOX: f"a detection of at least the default score overlaps a face by {NEAR:g}, too little for a match",
    LOW_AND_BAD: f"a detection that is not reported overlaps the face by {NEAR:g}, too little for a match",
    TAKEN: "one detection for two faces",
    DUPLICATE: "another detection finds the face already",
    NO_FACE: f"no face that counts overlaps the detection by {NEAR:g}",
    BAD_POINTS: f"their mean error is above {landmarks.FAILURE:.0%} of the distance between the eyes",
}
"""What may be the matter, and what it means."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector finds in one photo.

    found     down to low scores
    reported  (N,) which of it the detector reports by default
    floor     the default score, -inf where it is not known
    """

    found: Found
    reported: NDArray[np.bool_]
    floor: float

    @classmethod
    def of(cls, found: Found, default_score: float | None, usual: Found | None = None) -> Detections:
        """Join what is found down to low scores with what is found by default, of which the former has no part twice.

        Without ``usual`` reported is what has the default score or more.
        """
        floor = -np.inf if default_score is None else default_score
        if usual is None:
            return cls(found, found.scores >= floor, floor)
        # boxes of one face differ a little between the two: lower thresholds leave more to average
        others = found.at(np.flatnonzero((iou(found.boxes, usual.boxes) < SAME).all(axis=1)))
        return cls(Found.join([usual, others]), np.arange(len(usual) + len(others)) < len(usual), floor)


def detections_of(
    test_set: TestSet,
    found: Mapping[str, Found],
    default_score: float | None,
    usual: Mapping[str, Found] | None = None,
) -> dict[str, Detections]:
    """Return the detections in each photo of the set; arguments as of `evaluate_detector`."""
    nothing = Found.from_rows([])
    return {
        name: Detections.of(
            found.get(name, nothing), default_score, None if usual is None else usual.get(name, nothing)
        )
        for name in (photo.name for photo in test_set.photos)
    }


@dataclass(frozen=True, slots=True, eq=False)
class Mistake:
    """One missed face, false alarm, or face with landmarks far off.

    photo      in which the faces that are not looked for on the set are ignored
    box        (4,) float64: the face, or the false alarm
    reason     one of ``REASONS``
    face       its place in the photo: the face, or the one that the false alarm overlaps most
    detection  its place in what was found in the photo: the false alarm, or the one that has to do with the face
    score, overlap  of that detection, with that face
    error      mean error of the landmarks over the distance between the eyes
    """

    kind: Kind
    photo: Photo
    box: FloatArray
    reason: str
    face: int | None = None
    detection: int | None = None
    score: float | None = None
    overlap: float | None = None
    error: float | None = None

    @property
    def size(self) -> float:
        """The shorter side of the box in pixels."""
        return float((self.box[2:] - self.box[:2]).min())

    @property
    def weight(self) -> float:
        """How bad it is among its kind: the size of a missed face, a false alarm's score, a landmark error."""
        value = {"miss": self.size, "false_alarm": self.score, "landmarks": self.error}[self.kind]
        assert value is not None
        return value


def find_mistakes(test_set: TestSet, detections: Mapping[str, Detections]) -> list[Mistake]:
    """Return all mistakes by default, the worst of each kind first, kinds in the order of ``KINDS``.

    Missed are the faces that `evaluate_detector` counts as not found, false alarms what it counts as false positives.
    On sets with landmarks there are no false alarms, since photos may hold faces without a label. ``detections`` (see
    `detections_of`) should reach down to a low score, so that the reasons can be told.
    """
    mistakes: list[Mistake] = []
    for photo in sorted(test_set.photos, key=lambda photo: photo.name):
        seen = _Seen.of(photo, detections[photo.name], test_set.min_size)
        mistakes += _of_landmarks(seen) if test_set.kind == "landmarks" else _of_detection(seen)
    return sorted(mistakes, key=lambda mistake: (KINDS.index(mistake.kind), -mistake.weight))


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """One photo and its N detections.

    shown     the photo as mistakes have it
    reported  (N,) which of them the detector reports by default
    floor     the default score
    usual     (K,) the places of those reported
    overlaps  (N, M) with the M faces
    """

    photo: Photo
    shown: Photo
    min_size: float
    found: Found
    reported: NDArray[np.bool_]
    floor: float
    usual: NDArray[np.int64]
    overlaps: FloatArray

    @classmethod
    def of(cls, photo: Photo, each: Detections, min_size: float) -> _Seen:
        shown = replace(photo, ignored=~detection.counted(photo, min_size))
        usual = np.flatnonzero(each.reported)
        overlaps = iou(each.found.boxes, photo.boxes)
        return cls(photo, shown, min_size, each.found, each.reported, each.floor, usual, overlaps)

    def mistake(
        self, kind: Kind, reason: str, face: int | None, detection: int | None, error: float | None = None
    ) -> Mistake:
        """Return one mistake with what is known of its face and its detection."""
        score = None if detection is None else float(self.found.scores[detection])
        both = face is not None and detection is not None
        overlap = float(self.overlaps[detection, face]) if both else None
        box = self.found.boxes[detection] if kind == "false_alarm" else self.photo.boxes[face].astype(np.float64)
        return Mistake(kind, self.shown, box, reason, face, detection, score, overlap, error)

    def miss(self, face: int, enough: NDArray[np.bool_], taken: NDArray[np.bool_]) -> Mistake:
        """Say why a face was missed; (N,) masks: what overlaps it enough, and what finds other faces."""
        usual, low = self.reported, self.found.scores < self.floor
        near = self.overlaps[:, face] >= NEAR
        for candidates, reason in (
            (enough & ~usual & ~low, REJECTED),
            (enough & ~usual, LOW_SCORE),
            (near & usual & ~taken, BAD_BOX),
            (near & ~usual, LOW_AND_BAD),
            (enough & taken, TAKEN),
        ):
            if candidates.any():
                best = int(np.where(candidates, self.overlaps[:, face], -1.0).argmax())
                return self.mistake("miss", reason, face, best)
        return self.mistake("miss", NOTHING, face, None)


def _of_detection(seen: _Seen) -> Iterator[Mistake]:
    matches = detection.match(seen.photo, seen.found.at(seen.usual), min_size=seen.min_size)
    taken = np.zeros(len(seen.found), bool)
    taken[seen.usual] = matches.faces >= 0
    enough = seen.overlaps >= detection.OVERLAPS[0]
    for face in matches.missed.tolist():
        yield seen.miss(face, enough[:, face], taken)
    counted = np.where(matches.counted, seen.overlaps, 0.0)
    for alarm in seen.usual[matches.faces == detection.FALSE_POSITIVE].tolist():
        overlap = counted[alarm].max(initial=0.0)
        nearest = int(counted[alarm].argmax()) if overlap > 0 else None
        reason = DUPLICATE if overlap >= detection.OVERLAPS[0] else BAD_BOX if overlap >= NEAR else NO_FACE
        yield seen.mistake("false_alarm", reason, nearest, alarm)


def _of_landmarks(seen: _Seen) -> Iterator[Mistake]:
    errors = landmarks.photo_errors(seen.photo, seen.found.at(seen.usual))
    none_taken = np.zeros(len(seen.found), bool)  # a detection may be the nearest to several faces
    means = errors.interocular.mean(axis=1)
    for face, nearest, error in zip(errors.faces.tolist(), errors.detections.tolist(), means.tolist(), strict=True):
        if nearest < 0:
            yield seen.miss(face, seen.overlaps[:, face] > landmarks.MATCH, none_taken)
        elif error > landmarks.FAILURE:
            yield seen.mistake("landmarks", BAD_POINTS, face, int(seen.usual[nearest]), error)
