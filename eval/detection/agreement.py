"""Whether two engines find the same faces: how far their boxes, landmarks and scores are apart, photo by photo."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cascade.detect import Detector
from cascade.faces import Faces
from cascade.imaging.reading import RGBImage

__all__ = ["SAME_BOX", "Agreement", "compare"]

SAME_BOX = 0.5
"""Pixels between the edges of two boxes up to which they are the same face."""


@dataclass
class Agreement:
    """What two engines found in the photos of a set so far.

    faces      found by the reference
    missing    of these, faces without a box of the other within `SAME_BOX`
    added      faces of the other engine without a box of the reference within `SAME_BOX`
    box, landmark, score  the largest differences of the same faces: edges and points in pixels, scores 0 to 1
    ratios     time of the other over that of the reference, for each photo
    """

    photos: int = 0
    faces: int = 0
    missing: int = 0
    added: int = 0
    box: float = 0.0
    landmark: float = 0.0
    score: float = 0.0
    ratios: list[float] = field(default_factory=list)

    def add(self, reference: Faces, other: Faces) -> None:
        """Counts one photo."""
        self.photos += 1
        self.faces += len(reference)
        pairs = same_faces(reference, other)
        self.missing += len(reference) - len(pairs)
        self.added += len(other) - len(pairs)
        if pairs:
            mine, theirs = (list(rows) for rows in zip(*pairs, strict=True))
            self.box = max(self.box, _largest(reference.boxes[mine] - other.boxes[theirs]))
            self.landmark = max(self.landmark, _largest(reference.landmarks[mine] - other.landmarks[theirs]))
            self.score = max(self.score, _largest(reference.scores[mine] - other.scores[theirs]))

    def summary(self) -> dict[str, Any]:
        """The figures by name."""
        names = ("photos", "faces", "missing", "added", "box", "landmark", "score")
        ratio = statistics.median(self.ratios) if self.ratios else None
        return {**{name: getattr(self, name) for name in names}, "time_ratio": ratio}


def same_faces(reference: Faces, other: Faces) -> list[tuple[int, int]]:
    """Pairs of faces whose boxes are within `SAME_BOX` of each other, each face once, the nearest first."""
    distances = np.abs(reference.boxes[:, None] - other.boxes[None]).max(axis=2, initial=0)
    near = np.argwhere(distances <= SAME_BOX)
    found: dict[int, int] = {}
    for mine, theirs in near[np.argsort(distances[tuple(near.T)], kind="stable")].tolist():
        if mine not in found and theirs not in found.values():
            found[mine] = theirs
    return list(found.items())


def compare(reference: Detector, other: Detector, image: RGBImage, agreement: Agreement) -> None:
    """Both detect in one photo, the one that went second before now first, and are timed."""
    times, found = {}, {}
    pair = {"reference": reference, "other": other}
    for name in reversed(pair) if agreement.photos % 2 else pair:
        start = time.perf_counter()
        found[name] = pair[name].detect(image)
        times[name] = time.perf_counter() - start
    agreement.ratios.append(times["other"] / times["reference"])
    agreement.add(found["reference"], found["other"])


def _largest(differences: np.ndarray) -> float:
    return float(np.abs(differences).max(initial=0))
