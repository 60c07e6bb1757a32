"""From the similarity of two faces to a probability that they are one person's.

A cosine is no probability: what it means depends on the network, and on who is compared. A weight file states, for
groups of ages, the logistic curve that was fitted to pairs of people held out of training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.checks import number
from cascade.models.files import MALFORMED, WeightsError

__all__ = ["PRIOR", "AgeCurve", "Calibration", "calibration_of", "fit_curve"]

PRIOR = 0.5
"""Share of pairs of one person among all pairs that are compared, where nothing else is said: as many as of two."""

RIDGE, STEPS = 1e-6, 50
LARGEST = 700.0  # logits beyond are 0 or 1 in double precision


@dataclass(frozen=True)
class AgeCurve:
    """The curve for pairs of faces of which both look at most ``oldest`` years old: logit = slope · cosine + offset.

    The logit is that of a probability with as many pairs of one person as of two.
    """

    oldest: float
    slope: float
    offset: float


@dataclass(frozen=True)
class Calibration:
    """The curves by age, from young to old; the last one is for everybody."""

    curves: tuple[AgeCurve, ...]
    measured_on: str
    """The data that the curves were fitted to."""

    def curve_for(self, *ages: float) -> AgeCurve:
        """The curve for faces that look so old, in years; without ages the one for everybody.

        Raises ValueError or TypeError for ages that are negative, NaN or no numbers.
        """
        oldest = max((number("ages", age, 0.0, math.inf) for age in ages), default=math.inf)
        return next((curve for curve in self.curves if oldest <= curve.oldest), self.curves[-1])

    def probability(self, similarity: float, *ages: float, prior: float = PRIOR) -> float:
        """The probability that two faces of this similarity (cosine, −1 to 1) are one person's.

        ``ages`` are the apparent ages of both in years, as `cascade.Recognizer.analyze` estimates them. ``prior`` is
        the share of pairs of one person among all pairs that are compared: among a hundred strangers it is 0.01, not
        0.5, and the same similarity means much less. Raises ValueError for numbers out of range, and TypeError for
        what is no number.
        """
        cosine = number("similarity", similarity, -1.0, 1.0)
        share = number("prior", prior, 0.0, 1.0)
        curve = self.curve_for(*ages)
        if share in (0.0, 1.0):
            return share
        logit = curve.slope * cosine + curve.offset + math.log(share / (1 - share))
        return 1 / (1 + math.exp(-max(-LARGEST, min(LARGEST, logit))))

    def to_dict(self) -> dict[str, Any]:
        """As a weight file states it; the age of the last curve is null."""
        rows = [
            {"oldest": each.oldest if math.isfinite(each.oldest) else None, "slope": each.slope, "offset": each.offset}
            for each in self.curves
        ]
        return {"curves": rows, "measured_on": self.measured_on}


def calibration_of(metadata: Mapping[str, Any], file: object) -> Calibration | None:
    """The calibration that a weight file states, None if it has none. Raises `WeightsError` for an invalid one."""
    stated: Any = metadata.get("calibration")
    if stated is None:
        return None
    try:
        curves = tuple(
            AgeCurve(
                math.inf if each["oldest"] is None else float(each["oldest"]),
                float(each["slope"]),
                float(each["offset"]),
            )
            for each in stated["curves"]
        )
        oldest = [0.0, *(curve.oldest for curve in curves)]
        if not curves or curves[-1].oldest != math.inf or not all(low < high for low, high in pairwise(oldest)):
            raise ValueError(f"expected curves of rising ages, the last for everybody, got {oldest[1:]}")
        if not all(0 < curve.slope < 1e4 and abs(curve.offset) < 1e4 for curve in curves):
            raise ValueError("expected finite rising curves")
        return Calibration(curves, str(stated["measured_on"]))
    except MALFORMED as error:
        raise WeightsError(f"weights: {file} has an invalid calibration ({str(error)[:100]})") from error


def fit_curve(
    similarities: npt.NDArray[np.floating],
    same: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.floating] | None = None,
) -> tuple[float, float]:
    """Slope and offset of the logistic curve that fits pairs best; in sum both kinds of pair count alike.

    similarities  (n,) cosines
    same          (n,) whether a pair is of one person
    weights       (n,) how much each counts within its kind; None: all alike

    Raises ValueError unless there are pairs of both kinds.
    """
    if same.all() or not same.any():
        raise ValueError("same: expected pairs of one person and of two")
    inputs = np.stack([np.asarray(similarities, np.float64), np.ones(len(same))])
    given = np.ones(len(same)) if weights is None else np.asarray(weights, np.float64)
    counts = np.where(same, 0.5 / given[same].sum(), 0.5 / given[~same].sum()) * given
    found = np.zeros(2)
    for _ in range(STEPS):  # Newton's method; the ridge keeps separable pairs from a slope without end
        shares = 1 / (1 + np.exp(-np.clip(found @ inputs, -LARGEST, LARGEST)))
        gradient = inputs @ (counts * (shares - same)) + RIDGE * found
        curvature = (inputs * (counts * shares * (1 - shares))) @ inputs.T + RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        found -= step
        if np.abs(step).max() < 1e-9:
            break
    return float(found[0]), float(found[1])
