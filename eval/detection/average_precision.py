"""Average precision, which every protocol here shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FloatArray", "average_precision"]

FloatArray = NDArray[np.float64]


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
