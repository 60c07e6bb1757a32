"""Times of one detector on one photo, and how two detectors compare on it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cascade.boxes import iou

__all__ = ["SAME_FACE_IOU", "Timing", "ratio", "shared_faces"]

SAME_FACE_IOU = 0.5


@dataclass(frozen=True, eq=False)
class Timing:
    """Times of one detector on one photo, in milliseconds, and the boxes (n, 4) that it found, in its pixels."""

    name: str
    times: list[float]
    boxes: np.ndarray

    @property
    def median(self) -> float:
        """The median time in milliseconds."""
        return statistics.median(self.times)

    @property
    def p95(self) -> float:
        """The time in milliseconds that 95 % of the runs stay below."""
        return float(np.percentile(self.times, 95))

    @property
    def fps(self) -> float:
        """Photos a second at the median time."""
        return 1e3 / self.median


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times as long theirs take: the median over the pairs of runs. Both have as many times."""
    return statistics.median(other / mine for other, mine in zip(theirs, ours, strict=True))


def shared_faces(ours: Timing, baseline: Timing) -> int:
    """Faces of the baseline that we find too, each of our boxes standing for one of theirs, the best overlaps first."""
    if not len(ours.boxes) or not len(baseline.boxes):
        return 0
    overlaps, found = iou(baseline.boxes, ours.boxes), 0
    while overlaps.max() >= SAME_FACE_IOU:
        theirs, mine = np.unravel_index(overlaps.argmax(), overlaps.shape)
        overlaps[theirs], overlaps[:, mine] = 0, 0
        found += 1
    return found
