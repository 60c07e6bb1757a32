"""The FDDB protocol: discrete and continuous true positive rate against the number of false positives.

V. Jain and E. Learned-Miller, FDDB: A Benchmark for Face Detection in Unconstrained Settings, UMass Amherst
technical report UM-CS-2010-009, in the details of the tool that its authors published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from cascade.datasets import Boxed, Photo
from eval.detection.average_precision import FloatArray
from eval.detection.predictions import Found
from eval.detection.regions import draw_ellipse, draw_rectangle, region_overlaps

__all__ = ["FALSE_POSITIVES", "LONGEST_SIDE", "MATCH", "FddbResult", "evaluate"]

FALSE_POSITIVES = (100, 500, 1000, 2000)
"""The numbers of false positives at which true positive rates are quoted."""

MATCH = 0.5
"""A pair must overlap by more than this to count in the discrete score."""

LONGEST_SIDE = 450
"""No FDDB photo is wider or higher (pixels). Regions end here where the size of a photo is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class FddbResult:
    """The curves over all K different scores, from the highest score to the lowest.

    photos, faces    how many were evaluated
    thresholds       (K,) float64: detections with at least this score count
    false_positives  (K,) int64: detections without a face
    discrete         (K,) float64: the share of the faces matched with an overlap above 0.5
    continuous       (K,) float64: the summed overlap of all matched pairs over the number of faces
    """

    photos: int
    faces: int
    thresholds: FloatArray
    false_positives: np.ndarray
    discrete: FloatArray
    continuous: FloatArray

    def rate_at(self, false_positives: int, *, continuous: bool = False) -> float:
        """Return the largest true positive rate with no more than that many false positives (0: none)."""
        rates = self.continuous if continuous else self.discrete
        return float(rates[self.false_positives <= false_positives].max(initial=0.0))

    def rates(self) -> dict[str, dict[str, float]]:
        """Return "discrete" and "continuous" rates at 100, 500, 1000 and 2000 false positives."""
        return {
            kind: {str(k): self.rate_at(k, continuous=kind == "continuous") for k in FALSE_POSITIVES}
            for kind in ("discrete", "continuous")
        }


@dataclass(frozen=True, slots=True)
class _Step:
    """What one photo adds when the threshold falls to one of its scores."""

    score: float
    matched: int
    overlap: float
    false_positives: int


def evaluate(
    photos: Iterable[Photo],
    detections: Mapping[str, Boxed],
    *,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    longest_side: int = LONGEST_SIDE,
    progress: Callable[[Sequence[Photo]], Iterable[Photo]] = iter,
) -> FddbResult:
    """Score detections on FDDB photos, giving the curves of the official tool.

    photos        with ``ellipses``, as ``read_fddb`` gives them; every one is evaluated, and one without an
                  entry in ``detections`` counts as a photo in which nothing was found
    detections    boxes, or ellipses where they have an attribute of that name, by photo name; names that no
                  photo has are not looked at
    sizes         width and height of photos by name, where known (else ``Photo.size``); regions are clipped
                  to them, or to a square of ``longest_side`` pixels
    progress      is put around the photos, for a bar such as tqdm

    At every score of a photo, its detections with that score or more are paired with its faces so that the
    sum of overlaps is greatest (Hungarian algorithm). Overlap is that of pixel sets. The result does not
    depend on the order of photos or detections. Raises ValueError when no photo has a face, or one has no
    ellipses.
    """
    ordered = sorted(photos, key=lambda photo: photo.name)
    faces = sum(len(photo) for photo in ordered)
    if not faces:
        raise ValueError("FDDB: there is no labelled face to find")
    steps: list[_Step] = []
    for photo in progress(ordered):
        if photo.name in detections:
            size = (sizes or {}).get(photo.name) or photo.size or (longest_side, longest_side)
            steps += _photo_steps(photo, detections[photo.name], size)
    return _curves(len(ordered), faces, steps)


def _photo_steps(photo: Photo, found: Boxed, size: tuple[int, int]) -> list[_Step]:
    """Return what the photo adds at each of its scores, best score first."""
    if photo.ellipses is None:
        raise ValueError(f"{photo.name}: FDDB needs the ellipses of its faces")
    ellipses = getattr(found, "ellipses", None)
    ordered = _in_fixed_order(Found(found.boxes, found.scores, None, ellipses))
    truth = [draw_ellipse(ellipse, *size) for ellipse in photo.ellipses]
    if ordered.ellipses is None:
        regions = [draw_rectangle(box, *size) for box in ordered.boxes]
    else:
        regions = [draw_ellipse(ellipse, *size) for ellipse in ordered.ellipses]
    overlaps = region_overlaps(truth, regions)
    steps: list[_Step] = []
    before = (0, 0.0, 0)
    for score in np.unique(ordered.scores)[::-1].tolist():
        valid = ordered.scores >= score
        pairs = _best_pairs(overlaps[:, valid])
        matched = int(np.count_nonzero(pairs > MATCH))
        now = (matched, float(pairs.sum()), int(np.count_nonzero(valid)) - matched)
        steps.append(_Step(score, now[0] - before[0], now[1] - before[1], now[2] - before[2]))
        before = now
    return steps


def _in_fixed_order(found: Found) -> Found:
    """Sort detections by score, then place: equally good pairings then come out the same for any order."""
    shapes = found.boxes if found.ellipses is None else found.ellipses
    return found.at(np.lexsort((*shapes.T, -found.scores)))


def _best_pairs(overlaps: FloatArray) -> FloatArray:
    """Return the overlaps of the pairing of faces (rows) with detections (columns) that overlaps most."""
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    pairs: FloatArray = overlaps[rows, columns]
    return pairs


def _curves(photos: int, faces: int, steps: Sequence[_Step]) -> FddbResult:
    """Add up the photos' steps from the highest score down, one point for each different score."""
    ordered = sorted(steps, key=lambda step: -step.score)
    scores = np.array([step.score for step in ordered])
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if ordered else np.zeros(0, np.int64)
    matched = np.cumsum([step.matched for step in ordered], dtype=np.int64)[last]
    overlap = np.cumsum([step.overlap for step in ordered], dtype=np.float64)[last]
    false_positives = np.cumsum([step.false_positives for step in ordered], dtype=np.int64)[last]
    return FddbResult(photos, faces, scores[last], false_positives, matched / faces, overlap / faces)
