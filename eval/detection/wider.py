"""The WIDER FACE protocol: average precision on the easy, medium and hard faces of the validation set.

S. Yang, P. Luo, C. C. Loy and X. Tang, WIDER FACE: A Face Detection Benchmark, CVPR 2016, in the details of
the MATLAB evaluator that its authors published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade.datasets import Boxed, Photo, WiderSubsets
from eval.detection.average_precision import FloatArray, average_precision

__all__ = ["LEVELS", "MATCH", "STEPS", "LevelResult", "WiderResult", "evaluate", "overlaps"]

LEVELS = ("easy", "medium", "hard")

MATCH = 0.5
"""A detection and a face match when they overlap by at least this."""

STEPS = 1000
"""Thresholds 1 − t/1000 for t = 1 … 1000, from nearly 1 down to 0."""


@dataclass(frozen=True, slots=True, eq=False)
class LevelResult:
    """One level's curve over the 1,000 thresholds, from high to low.

    faces      how many count at this level
    recall     (1000,) float64: faces found over faces; 0 where none counts
    precision  (1000,) float64: faces found over detections that are not left out; 1 where there is none
    """

    faces: int
    recall: FloatArray
    precision: FloatArray

    @property
    def ap(self) -> float | None:
        """Average precision, 0 to 1; None where no face counts."""
        return average_precision(self.recall, self.precision) if self.faces else None


@dataclass(frozen=True, slots=True, eq=False)
class WiderResult:
    """What the official evaluator says of one detector.

    photos, faces  evaluated photos and the faces labelled in them
    full_set       the photos of the full official set
    thresholds     (1000,) float64: on scores brought to 0 … 1 over all detections
    """

    photos: int
    full_set: int
    faces: int
    thresholds: FloatArray
    easy: LevelResult
    medium: LevelResult
    hard: LevelResult

    def levels(self) -> dict[str, LevelResult]:
        """Return the results by the names of the levels."""
        return {"easy": self.easy, "medium": self.medium, "hard": self.hard}


@dataclass(frozen=True, slots=True, eq=False)
class _Matches:
    """One photo's detections, best first: normalised score, nearest face and whether it matches."""

    scores: FloatArray
    nearest: NDArray[np.int64]
    close: NDArray[np.bool_]


def evaluate(
    photos: Iterable[Photo],
    subsets: WiderSubsets,
    predictions: Mapping[str, Boxed],
    *,
    progress: Callable[[Sequence[Photo]], Iterable[Photo]] = iter,
) -> WiderResult:
    """Score predictions on WIDER FACE photos as the official evaluator does.

    photos       as ``read_wider`` gives them, every face in its place; all of them are evaluated, and one
                 without an entry in ``predictions`` counts as a photo in which nothing was found
    subsets      the official lists of the faces that count; every photo must be in them
    predictions  by photo name; names that no photo has are not looked at
    progress     is put around the photos, for a bar such as tqdm

    A detection belongs to the face that it overlaps most (see ``overlaps``) and matches from 0.5 on. Matching
    an ignored face leaves it out. The first match of a face that counts finds it; every other detection,
    second matches included, lowers the precision. Scores are brought to 0 … 1 over all photos first; if all
    are equal they become 1. The result does not depend on the order of the photos; detections of equal score
    stay in the order given.

    Raises ValueError for no photo, and for a photo that the lists do not know or know with fewer faces.
    """
    ordered = sorted(photos, key=lambda photo: photo.name)
    _check(ordered, subsets)
    lowest, highest = _score_range(predictions[photo.name] for photo in ordered if photo.name in predictions)
    thresholds = 1.0 - np.arange(1, STEPS + 1) / STEPS
    counts = np.zeros((len(LEVELS), 2, STEPS), np.int64)  # detections that count and faces found
    faces = np.zeros(len(LEVELS), np.int64)
    for photo in progress(ordered):
        counted = [_counted(photo, getattr(subsets, level)[photo.name]) for level in LEVELS]
        faces += [int(mask.sum()) for mask in counted]
        found = predictions.get(photo.name)
        # A photo without any labelled face is passed over, as by the official evaluator.
        if found is not None and len(found.scores) and len(photo):
            matches = _match(photo, found, lowest, highest)
            counts += [_count(matches, mask, thresholds) for mask in counted]
    levels = [_level(int(faces[k]), *counts[k]) for k in range(len(LEVELS))]
    total = sum(len(photo) for photo in ordered)
    return WiderResult(len(ordered), len(subsets.photos), total, thresholds, *levels)


def _check(photos: Sequence[Photo], subsets: WiderSubsets) -> None:
    if not photos:
        raise ValueError("WIDER FACE: there is no photo to evaluate")
    known = set(subsets.photos)
    unknown = [photo.name for photo in photos if photo.name not in known]
    if unknown:
        raise ValueError(f"WIDER FACE: {len(unknown)} photos not in the official lists, such as {unknown[0]}")


def _score_range(predictions: Iterable[Boxed]) -> tuple[float, float]:
    filled = [found.scores for found in predictions if len(found.scores)]
    if not filled:
        return 0.0, 1.0
    # The official search for the highest score starts just above 0, which only scores below 0 can show.
    above_zero = float(np.finfo(np.float32).tiny)
    highest = max(float(scores.max()) for scores in filled)
    return min(float(scores.min()) for scores in filled), max(highest, above_zero)


def _counted(photo: Photo, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a mask over the photo's faces: those that count at a level."""
    mask = np.zeros(len(photo), bool)
    if indices.size and indices.max() >= len(photo):
        raise ValueError(f"{photo.name}: the official lists count a face that the annotation has not")
    mask[indices] = True
    return mask


def _match(photo: Photo, found: Boxed, lowest: float, highest: float) -> _Matches:
    order = np.argsort(-found.scores, kind="stable")
    scores = found.scores[order]
    scores = (scores - lowest) / (highest - lowest) if highest > lowest else np.ones(len(scores))
    shared = overlaps(found.boxes[order], photo.boxes)
    shared[:, _inverted(photo)] = 0.0
    nearest = shared.argmax(axis=1)
    return _Matches(scores, nearest, shared[np.arange(len(order)), nearest] >= MATCH)


def overlaps(found: FloatArray, faces: NDArray[np.float32]) -> FloatArray:
    """Return the (N, M) overlaps of N detections with M faces (x1, y1, x2, y2) as the official tool does.

    The corners are the first and the last pixel, so sides are one larger. The tool keeps the annotation as
    integers, and MATLAB rounds whatever it combines with one: the corners of the intersection, and the
    sum of the two areas, but neither the detection's own area nor the quotient. Without that rounding the
    average precision comes out up to 0.0012 different.
    """
    boxes, truth = found[:, None, :], faces[None].astype(np.float64)
    rounded = _rounded(boxes)
    sides = np.minimum(truth[..., 2:], rounded[..., 2:]) - np.maximum(truth[..., :2], rounded[..., :2]) + 1
    shared = np.clip(sides[..., 0], 0, None) * np.clip(sides[..., 1], 0, None)
    areas = [np.prod(corners[..., 2:] - corners[..., :2] + 1, axis=-1) for corners in (boxes, truth)]
    ratio: FloatArray = shared / np.maximum(_rounded(areas[0] + areas[1]) - shared, 1)
    return ratio


def _rounded(values: FloatArray) -> FloatArray:
    """Round to integers as MATLAB does, halves away from zero."""
    return np.copysign(np.floor(np.abs(values) + 0.5), values)


def _inverted(photo: Photo) -> NDArray[np.bool_]:
    """Tell which faces the annotation gives a negative width or height: nothing overlaps them.

    The reader puts the corners of such a face in order and ignores it, though it is not marked invalid.
    """
    invalid = photo.attributes.get("invalid")
    if invalid is None:
        return np.zeros(len(photo), bool)
    sides = photo.boxes[:, 2:] - photo.boxes[:, :2]
    inverted: NDArray[np.bool_] = photo.ignored & (invalid == 0) & (sides > 0).all(axis=1)
    return inverted


def _count(matches: _Matches, counted: NDArray[np.bool_], thresholds: FloatArray) -> NDArray[np.int64]:
    """Return (2, 1000): the detections that count and the faces found at each threshold, for one photo."""
    left_out = matches.close & ~counted[matches.nearest]
    finds = np.zeros(len(matches.scores), np.int64)
    hits = np.flatnonzero(matches.close & counted[matches.nearest])
    finds[hits[np.unique(matches.nearest[hits], return_index=True)[1]]] = 1
    at_or_above = np.searchsorted(-matches.scores, -thresholds, side="right")
    running = np.zeros((2, len(finds) + 1), np.int64)
    np.cumsum(~left_out, out=running[0, 1:])
    np.cumsum(finds, out=running[1, 1:])
    return running[:, at_or_above]


def _level(faces: int, proposals: NDArray[np.int64], found: NDArray[np.int64]) -> LevelResult:
    precision = np.where(proposals > 0, found / np.maximum(proposals, 1), 1.0)
    return LevelResult(faces, found / max(faces, 1), precision)
