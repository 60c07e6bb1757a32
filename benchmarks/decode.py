"""What photos read at a fraction of their size cost and save: `Detector`'s ``decode="reduced"`` against "full".

Both read and detect in alternation in the same files. Faces are compared with those found at full size.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import SAME_FACE_IOU, ratio
from cascade.boxes import iou
from cascade.detect import Detector
from cascade.faces import Faces
from cascade.models.detector import DetectorWeights

__all__ = ["HEADER", "Decoded", "measure"]

HEADER = (
    "min_face",
    "reduction",
    "photos",
    "full_ms",
    "reduced_ms",
    "ratio",
    "faces",
    "found_again",
    "only_reduced",
    "median_iou",
    "median_shift",
)


@dataclass
class Decoded:
    """Times and faces of both ways over photos, for one ``min_face``."""

    min_face: float
    reduction: int
    full: list[float] = field(default_factory=list)
    """Milliseconds of each photo."""
    reduced: list[float] = field(default_factory=list)
    faces: int = 0
    """Found at full size."""
    overlaps: list[float] = field(default_factory=list)
    """IoU of each face that both found."""
    shifts: list[float] = field(default_factory=list)
    """Mean distance of its landmarks over the distance between its eyes."""
    only_reduced: int = 0

    def compare(self, full: Faces, reduced: Faces) -> None:
        """Adds the faces of a photo. Each of the reduced ones stands for one, the best overlaps first."""
        self.faces += len(full)
        overlaps = iou(full.boxes, reduced.boxes) if len(full) and len(reduced) else np.zeros((0, 0))
        found = 0
        while overlaps.size and overlaps.max() >= SAME_FACE_IOU:
            one, other = (int(at) for at in np.unravel_index(overlaps.argmax(), overlaps.shape))
            self.overlaps.append(float(overlaps[one, other]))
            points, moved = full.landmarks[one], reduced.landmarks[other]
            eyes = float(np.hypot(*(points[1] - points[0])))
            self.shifts.append(float(np.hypot(*(moved - points).T).mean()) / max(eyes, 1.0))
            overlaps[one], overlaps[:, other] = -1, -1
            found += 1
        self.only_reduced += len(reduced) - found

    def row(self) -> tuple[Any, ...]:
        """The figures in the order of `HEADER`: medians of times, overlaps and shifts."""
        return (
            self.min_face,
            self.reduction,
            len(self.full),
            round(statistics.median(self.full), 2),
            round(statistics.median(self.reduced), 2),
            round(ratio(self.reduced, self.full), 2),
            self.faces,
            len(self.overlaps),
            self.only_reduced,
            round(statistics.median(self.overlaps), 3) if self.overlaps else "",
            round(statistics.median(self.shifts), 4) if self.shifts else "",
        )


def measure(
    photos: Sequence[Path], weights: DetectorWeights, min_face: float, threads: int, step: Callable[[], Any]
) -> Decoded:
    """Both ways over photos, one call of ``step`` after each photo. Raises `cascade.ImageError` for a bad photo."""
    ways = [Detector(min_face=min_face, weights=weights, threads=threads, decode=way) for way in ("full", "reduced")]
    decoded = Decoded(min_face, ways[1].read(photos[0]).frame.reduction)
    for number, photo in enumerate(photos):
        found: dict[int, Faces] = {}
        for way in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            found[way] = ways[way].detect(photo)
            (decoded.full, decoded.reduced)[way].append(1e3 * (time.perf_counter() - started))
        decoded.compare(found[0], found[1])
        step()
    return decoded
