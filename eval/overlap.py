"""How much boxes overlap, and average precision: the two pieces that every protocol here shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FloatArray", "average_precision", "intersection_over_union"]

FloatArray = NDArray[np.float64]

# Smaller unions count as this: two boxes without area have no overlap rather than 0/0.
SMALLEST_UNION = 1e-9


def intersection_over_union(boxes: ArrayLike, others: ArrayLike) -> FloatArray:
    """Return the (N, M) overlaps, 0 to 1, of N boxes with M others: x1, y1, x2, y2, x2 − x1 wide."""
    a = np.asarray(boxes, np.float64).reshape(-1, 1, 4)
    b = np.asarray(others, np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(sides[..., 0], 0, None) * np.clip(sides[..., 1], 0, None)
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    overlaps: FloatArray = shared / np.maximum(area_a + area_b - shared, SMALLEST_UNION)
    return overlaps


def average_precision(recall: ArrayLike, precision: ArrayLike) -> float:
    """Return the area under the envelope of a precision-recall curve, 0 to 1.

    The rule of PASCAL VOC from 2010 on, which WIDER FACE uses too: precision is made to fall only (each value
    becomes the best at this recall or more) and is summed over every step of recall. ``recall`` (K,) must not
    fall; ``precision`` is (K,). An empty curve has the area 0.
    """
    steps = np.concatenate([[0.0], np.asarray(recall, np.float64), [1.0]])
    best = np.concatenate([np.asarray(precision, np.float64), [0.0]])
    best = np.maximum.accumulate(best[::-1])[::-1]
    return float(np.sum(np.diff(steps) * best))
