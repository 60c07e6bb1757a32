"""Plain detection figures on any labelled photos: average precision, recall against false positives, by size.

Average precision is that of PASCAL VOC from 2010 on (area under the envelope), at an overlap of 0.5, and
averaged over 0.5, 0.55 … 0.95 as COCO does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cascade.boxes import iou
from cascade.datasets import Photo
from eval.detection.average_precision import FloatArray, average_precision
from eval.detection.predictions import Found

__all__ = [
    "FALSE_POSITIVE",
    "LEFT_OUT",
    "OVERLAPS",
    "SIZES",
    "Curve",
    "DetectionResult",
    "Matches",
    "SizeResult",
    "counted",
    "evaluate",
    "match",
]

OVERLAPS = tuple(k / 100 for k in range(50, 100, 5))
"""The overlaps from which a detection matches a face."""

SIZES = (0.0, 12.0, 20.0, 40.0, 80.0, 160.0, float("inf"))
"""Borders of the size classes: the shorter side of a face in pixels, lower border included."""

FALSE_POSITIVES_PER_PHOTO = (0.01, 0.1, 1.0)

FALSE_POSITIVE, LEFT_OUT = -1, -2
"""What stands in place of a face for a detection that finds none."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """All K detections that count, best score first, at one overlap.

    faces   how many faces count
    scores  (K,) float64
    hits    (K,) bool: whether the detection finds a face, or is a false positive
    """

    faces: int
    scores: FloatArray
    hits: NDArray[np.bool_]

    @property
    def recall(self) -> FloatArray:
        """(K,) float64: faces found so far over faces (0 where none counts)."""
        return np.cumsum(self.hits) / max(self.faces, 1)

    @property
    def precision(self) -> FloatArray:
        """(K,) float64: faces found so far over detections so far."""
        return np.cumsum(self.hits) / np.arange(1, len(self.hits) + 1)

    @property
    def false_positives(self) -> NDArray[np.int64]:
        """(K,) int64: false positives so far."""
        return np.cumsum(~self.hits)

    @property
    def false_positive_count(self) -> int:
        """How many detections are false positives in all."""
        return int(np.count_nonzero(~self.hits))

    @property
    def ap(self) -> float | None:
        """Average precision, 0 to 1; None where no face counts."""
        return average_precision(self.recall, self.precision) if self.faces else None

    @property
    def final_recall(self) -> float | None:
        """The share of the faces that any detection finds; None where no face counts."""
        return float(np.count_nonzero(self.hits) / self.faces) if self.faces else None

    def recall_at(self, false_positives: float) -> float | None:
        """Return the largest recall with no more false positives than that; None where no face counts."""
        if not self.faces:
            return None
        return float(self.recall[self.false_positives <= false_positives].max(initial=0.0))


@dataclass(frozen=True, slots=True)
class SizeResult:
    """Figures for the faces of one class of sizes, ``smallest`` ≤ shorter side < ``largest`` (pixels).

    Faces of other sizes are left out, and so are detections of other sizes that find none (as in COCO).
    """

    smallest: float
    largest: float
    faces: int
    ap: float | None
    recall: float | None


@dataclass(frozen=True, slots=True, eq=False)
class DetectionResult:
    """What ``evaluate`` gives.

    curve       at an overlap of 0.5
    ap_50_95    average precision averaged over the overlaps 0.5, 0.55 … 0.95; None where no face counts
    sizes       by size of the faces, at an overlap of 0.5
    """

    photos: int
    curve: Curve
    ap_50_95: float | None
    sizes: tuple[SizeResult, ...]

    def recall_at_false_positives(self) -> dict[str, float | None]:
        """Return the recall at 0.01, 0.1 and 1 false positives per photo, by that number."""
        return {f"{rate:g}": self.curve.recall_at(rate * self.photos) for rate in FALSE_POSITIVES_PER_PHOTO}


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What the N detections of one photo come to among its M labelled faces, both in the order given.

    faces    (N,) int64: the face that each detection finds, or FALSE_POSITIVE, or LEFT_OUT
    counted  (M,) bool: the faces that are looked for
    """

    faces: NDArray[np.int64]
    counted: NDArray[np.bool_]

    @property
    def missed(self) -> NDArray[np.int64]:
        """(K,) int64: the faces that are looked for and that no detection finds."""
        return np.setdiff1d(np.flatnonzero(self.counted), self.faces)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """One photo: its overlaps (detections by faces), detections best first, and which faces do not count."""

    overlaps: FloatArray
    scores: FloatArray
    found_sides: FloatArray
    ignored: NDArray[np.bool_]
    sides: FloatArray


def evaluate(
    photos: Iterable[Photo],
    found: Mapping[str, Found],
    *,
    min_size: float = 0.0,
    overlaps: Sequence[float] = OVERLAPS,
    sizes: Sequence[tuple[float, float]] = tuple(pairwise(SIZES)),
) -> DetectionResult:
    """Score detections on labelled photos.

    photos    every one is evaluated, and one without an entry in ``found`` counts as one in which nothing was
              found
    min_size  faces whose shorter side is smaller (pixels) are ignored, like those that the photo marks so
    overlaps  intersection over union from which a detection matches; the first one is that of the curve
    sizes     classes of faces to evaluate by themselves: smallest and largest shorter side (pixels)

    From the best score down, a detection that matches free faces takes the one that it overlaps most; one
    that matches only ignored faces (besides those taken) is left out; any other is a false positive. Faces
    without area are not looked at. Photos are taken in the order of their names, whatever order they come in.
    Raises ValueError for no photo.
    """
    ordered = sorted(photos, key=lambda photo: photo.name)
    if not ordered:
        raise ValueError("detection: there is no photo to evaluate")
    nothing = Found(np.zeros((0, 4)), np.zeros(0))
    scenes = [_scene(photo, found.get(photo.name, nothing), min_size) for photo in ordered]
    curves = [_curve(scenes, overlap) for overlap in overlaps]
    values = [curve.ap for curve in curves if curve.ap is not None]
    mean = float(np.mean(values)) if values else None
    by_size = tuple(_size_result(scenes, overlaps[0], *pair) for pair in sizes if pair[1] > min_size)
    return DetectionResult(len(ordered), curves[0], mean, by_size)


def match(photo: Photo, found: Found, *, min_size: float = 0.0, overlap: float = OVERLAPS[0]) -> Matches:
    """Tell which detection of one photo finds which face, by the rule of ``evaluate``."""
    outcome = _match_scene(_scene(photo, found, min_size), overlap)
    hits = outcome >= 0
    outcome[hits] = np.flatnonzero(_with_area(photo))[outcome[hits]]
    faces = np.empty(len(found), np.int64)
    faces[_best_first(found)] = outcome
    return Matches(faces, counted(photo, min_size))


def counted(photo: Photo, min_size: float = 0.0) -> NDArray[np.bool_]:
    """Return an (M,) mask of a photo's faces: those that are looked for."""
    boxes = photo.boxes.astype(np.float64)
    large: NDArray[np.bool_] = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) >= min_size
    return large & _with_area(photo) & ~photo.ignored


def _best_first(found: Found) -> NDArray[np.int64]:
    return np.argsort(-found.scores, kind="stable")


def _with_area(photo: Photo) -> NDArray[np.bool_]:
    """Tell which faces are looked at: not those without width or height.

    Nor those with a negative one, which the reader puts in order and ignores: nothing to find or to ignore.
    """
    x1, y1, x2, y2 = photo.boxes.T
    solid: NDArray[np.bool_] = (x2 > x1) & (y2 > y1)
    invalid = photo.attributes.get("invalid")
    if invalid is not None:
        solid[photo.ignored & (invalid == 0)] = False
    return solid


def _scene(photo: Photo, found: Found, min_size: float) -> _Scene:
    order, solid = _best_first(found), _with_area(photo)
    boxes = photo.boxes[solid].astype(np.float64)
    sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) if len(boxes) else np.zeros(0)
    ordered = found.boxes[order]
    found_sides = (ordered[:, 2:] - ordered[:, :2]).min(axis=1) if len(ordered) else np.zeros(0)
    overlaps = iou(ordered, boxes)
    return _Scene(overlaps, found.scores[order], found_sides, ~counted(photo, min_size)[solid], sides)


def _curve(scenes: Sequence[_Scene], overlap: float) -> Curve:
    """Put the detections of all photos in the order of scores, equal ones in the order of the photos."""
    faces = sum(int(np.count_nonzero(~scene.ignored)) for scene in scenes)
    outcomes = [_match_scene(scene, overlap) for scene in scenes]
    evaluated = zip(scenes, outcomes, strict=True)
    scores = np.concatenate([scene.scores[outcome != LEFT_OUT] for scene, outcome in evaluated])
    hits = np.concatenate([outcome[outcome != LEFT_OUT] for outcome in outcomes]) >= 0
    order = np.argsort(-scores, kind="stable")
    return Curve(faces, scores[order], hits[order])


def _match_scene(scene: _Scene, overlap: float) -> NDArray[np.int64]:
    """Return for each detection of a photo, best first, the face it finds, or FALSE_POSITIVE, or LEFT_OUT."""
    outcome = np.full(len(scene.scores), FALSE_POSITIVE, np.int64)
    near = scene.overlaps >= overlap
    free = ~scene.ignored
    for k in np.flatnonzero(near.any(axis=1)):
        candidates = np.flatnonzero(near[k] & free)
        if len(candidates):
            outcome[k] = candidates[scene.overlaps[k, candidates].argmax()]
            free[outcome[k]] = False
        elif scene.ignored[near[k]].any():
            outcome[k] = LEFT_OUT
    return outcome


def _size_result(scenes: Sequence[_Scene], overlap: float, smallest: float, largest: float) -> SizeResult:
    narrowed = []
    for scene in scenes:
        inside = (scene.sides >= smallest) & (scene.sides < largest)
        own = replace(scene, ignored=scene.ignored | ~inside)
        fits = (scene.found_sides >= smallest) & (scene.found_sides < largest)
        keep = fits | (_match_scene(own, overlap) >= 0)
        narrowed.append(_Scene(own.overlaps[keep], own.scores[keep], own.found_sides[keep], own.ignored, own.sides))
    curve = _curve(narrowed, overlap)
    return SizeResult(smallest, largest, curve.faces, curve.ap, curve.final_recall)
