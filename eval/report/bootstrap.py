"""How far a figure can be trusted: its spread over photos drawn again from those that were evaluated.

B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993: as many photos are drawn as there are, with
repetition, and the figure is taken again, many times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.recognition.similarity import FloatArray

__all__ = ["DRAWS", "Interval", "interval", "quotients", "times_drawn"]

DRAWS = 1000
CONFIDENCE = 0.95

Interval = tuple[float, float]


def times_drawn(count: int, draws: int = DRAWS, seed: int = 0) -> NDArray[np.float32]:
    """Return (draws, count) integers: how often each of ``count`` photos comes up; rows add up to ``count``."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float32)


def quotients(over: NDArray[Any], under: NDArray[Any]) -> FloatArray:
    """Return a figure for each draw, NaN where there is nothing to divide by."""
    found: FloatArray = np.divide(over, under, out=np.full(len(under), np.nan), where=under > 0)
    return found


def interval(figures: ArrayLike) -> Interval | None:
    """Return the middle 95 % of a figure's values over the draws.

    Draws in which it has no value, NaN, are left out. None where that leaves no two different values: then the
    draws say nothing about the spread.
    """
    values = np.asarray(figures, np.float64)
    values = values[np.isfinite(values)]
    if not len(values) or values.min() == values.max():
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
