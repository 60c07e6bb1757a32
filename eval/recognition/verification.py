"""Do two photos show the same person? Accuracy over folds, ROC, TAR at FAR, EER, by age gap.

All functions take similarity scores, one for each pair, larger for more alike; a pair is accepted when its score
is at least the threshold, so that equal scores stand or fall together. A score of NaN stands for a pair in which a
face was missed: it is never accepted in the curves (genuine pairs count as false rejects, as in the NIST evaluations
of face recognition), and in the accuracy it is a wrong answer whichever pair it is.

Accuracy is that of G. Huang et al., Labeled Faces in the Wild, Technical Report 07-49, 2007, View 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.recognition.similarity import FloatArray, ProtocolError

__all__ = [
    "AGE_GAPS",
    "FARS",
    "FoldAccuracy",
    "GapResult",
    "Roc",
    "VerificationResult",
    "evaluate",
    "fold_accuracy",
    "gap_name",
    "roc",
]

FARS = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}
"""False accept rates at which the true accept rate is told."""

AGE_GAPS = tuple(pairwise((0.0, 5.0, 10.0, 20.0, 30.0, math.inf)))
"""Bands of years between two photos: at least the first number, less than the second."""

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """Rates at every threshold that makes a difference, the strictest first: K + 1 points for K distinct scores.

    thresholds        (K + 1,) float64: infinity, at which nothing is accepted, then the scores, falling
    far, tar          (K + 1,) float64: share of impostor and of genuine pairs accepted
    impostors, genuine  number of pairs of either kind, with those of missed faces
    """

    thresholds: FloatArray
    far: FloatArray
    tar: FloatArray
    impostors: int
    genuine: int

    def threshold_at(self, far: float) -> float:
        """Return the lowest threshold at which no larger share of the impostors than ``far`` is accepted.

        Nothing is interpolated. Below 1 / ``impostors`` that means none of them.
        """
        return float(self.thresholds[self._last(far)])

    def tar_at(self, far: float) -> float:
        """Return the share of genuine pairs accepted at ``threshold_at(far)``."""
        return float(self.tar[self._last(far)])

    def _last(self, far: float) -> int:
        return int(np.flatnonzero(self.far <= far)[-1])

    def corners(self) -> NDArray[np.int64]:
        """Return the indices of the points at which the curve turns: the others lie on straight lines between."""
        flat = [np.append(True, np.diff(rates) == 0) for rates in (self.far, self.tar)]
        straight = [steps[:-1] & steps[1:] for steps in flat]
        inner = np.append(straight[0] | straight[1], False)
        inner[0] = False
        return np.flatnonzero(~inner)

    @property
    def eer(self) -> float:
        """The equal error rate: where as large a share of impostors is accepted as of genuine pairs rejected.

        Between the two points of the curve around it a straight line is drawn. Where missed faces keep the
        rates from ever being equal, it is the mean of both at the lowest threshold.
        """
        gap = self.far - (1 - self.tar)
        at = int(np.argmax(gap >= 0))
        if gap[at] < 0:
            return float(self.far[-1] + 1 - self.tar[-1]) / 2
        # The first point has a gap of −1, so there is always one before.
        share = gap[at - 1] / (gap[at - 1] - gap[at])
        return float(self.far[at - 1] + share * (self.far[at] - self.far[at - 1]))


@dataclass(frozen=True, slots=True, eq=False)
class FoldAccuracy:
    """Accuracy on each fold at the threshold that is best on the others: (F,) arrays, folds in rising order."""

    folds: NDArray[np.int64]
    thresholds: FloatArray
    accuracies: FloatArray

    @property
    def accuracy(self) -> float:
        """The mean over the folds."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """The standard deviation over the folds, from the sum of squares over F − 1."""
        return float(self.accuracies.std(ddof=1))

    @property
    def standard_error(self) -> float:
        """The standard error of the mean, std / √F: what LFW's own tables print behind the accuracy."""
        return self.std / math.sqrt(len(self.folds))


@dataclass(frozen=True, slots=True, eq=False)
class GapResult:
    """The genuine pairs with ``smallest`` to below ``largest`` years between their photos.

    roc  of these pairs and all impostors, whatever their ages, so that a false accept rate means the same
         threshold in every band; None without such a genuine pair
    """

    smallest: float
    largest: float
    roc: Roc | None

    @property
    def name(self) -> str:
        """The band as "5-10" or "30+"."""
        return gap_name(self.smallest, self.largest)

    @property
    def genuine(self) -> int:
        """Number of genuine pairs."""
        return 0 if self.roc is None else self.roc.genuine

    @property
    def eer(self) -> float | None:
        """The equal error rate, None without a genuine pair."""
        return None if self.roc is None else self.roc.eer

    @property
    def tar_at_far(self) -> dict[str, float | None]:
        """The true accept rate by "1e-2", "1e-3" and "1e-4", None without a genuine pair."""
        return {name: None if self.roc is None else self.roc.tar_at(far) for name, far in FARS.items()}


@dataclass(frozen=True, slots=True, eq=False)
class VerificationResult:
    """What ``evaluate`` gives; ``folds`` is None without folds, ``gaps`` is empty where no age is known.

    missed_pairs counts the pairs in which a face was missed.
    """

    roc: Roc
    folds: FoldAccuracy | None
    gaps: tuple[GapResult, ...]
    missed_pairs: int

    def tar_at_far(self) -> dict[str, float]:
        """Return the true accept rate by "1e-2", "1e-3" and "1e-4"."""
        return {name: self.roc.tar_at(far) for name, far in FARS.items()}

    def curves(self) -> dict[str, Roc]:
        """Return the ROC of all pairs, "all", and of every band that has genuine pairs, "5-10 years"."""
        bands = {f"{gap.name} years": gap.roc for gap in self.gaps if gap.roc is not None}
        return {"all": self.roc, **bands}


def evaluate(
    scores: ArrayLike,
    same: ArrayLike,
    folds: ArrayLike | None = None,
    gaps: ArrayLike | None = None,
    bands: Sequence[tuple[float, float]] = AGE_GAPS,
) -> VerificationResult:
    """Return all figures of P pairs.

    scores  (P,) similarities, NaN where a face was missed
    same    (P,) bool: whether both photos show one person
    folds   (P,) integers: the part of the protocol, for the accuracy; None leaves that out
    gaps    (P,) years between the photos, NaN where unknown; None leaves the figures by age gap out

    Raises ProtocolError for arrays that do not fit each other and without genuine or impostor pairs.
    """
    values, genuine = _checked(scores, same)
    curve = roc(values, genuine)
    accuracy = None if folds is None else fold_accuracy(values, genuine, folds)
    years = np.full(len(values), np.nan) if gaps is None else np.abs(_like(gaps, len(values), "gaps"))
    by_gap = tuple(_gap(values, genuine, years, band) for band in bands) if np.isfinite(years).any() else ()
    return VerificationResult(curve, accuracy, by_gap, int(np.isnan(values).sum()))


def roc(scores: ArrayLike, same: ArrayLike) -> Roc:
    """Return the ROC of (P,) scores and (P,) bool labels; see ``evaluate`` for both and for what is raised."""
    values, genuine = _checked(scores, same)
    seen = ~np.isnan(values)
    order = np.argsort(-values[seen], kind="stable")
    falling, hits = values[seen][order], genuine[seen][order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if len(falling) else np.zeros(0, np.int64)
    accepted = np.cumsum(hits)[last]
    total = int(genuine.sum())
    others = len(genuine) - total
    return Roc(
        thresholds=np.append(np.inf, falling[last]),
        far=np.append(0.0, (last + 1 - accepted) / others),
        tar=np.append(0.0, accepted / total),
        impostors=others,
        genuine=total,
    )


def fold_accuracy(scores: ArrayLike, same: ArrayLike, folds: ArrayLike) -> FoldAccuracy:
    """Return the accuracy on every fold at the threshold with the best accuracy on all other folds together.

    Thresholds lie halfway between two neighbouring scores; where several are equally good, the middle one is
    taken. See ``evaluate`` for the arguments. Raises ProtocolError, also for fewer than two folds.
    """
    values, genuine = _checked(scores, same)
    parts = _like(folds, len(values), "folds")
    numbers = np.unique(parts)
    if len(numbers) < 2 or not np.isfinite(numbers).all():
        raise ProtocolError(f"folds: at least two expected, as each takes its threshold from the others; got {numbers}")
    thresholds, accuracies = [], []
    for number in numbers:
        here = parts == number
        threshold = _best_threshold(values[~here], genuine[~here])
        right = (values[here] >= threshold) == genuine[here]
        thresholds.append(threshold)
        accuracies.append(float((right & ~np.isnan(values[here])).mean()))
    return FoldAccuracy(numbers.astype(np.int64), np.array(thresholds), np.array(accuracies))


def gap_name(smallest: float, largest: float) -> str:
    """Return a band of years as "5-10" or "30+"."""
    return f"{smallest:g}+" if math.isinf(largest) else f"{smallest:g}-{largest:g}"


def _best_threshold(scores: FloatArray, genuine: BoolArray) -> float:
    seen = ~np.isnan(scores)
    values, counts = np.unique(scores[seen], return_inverse=True)
    if not len(values):
        raise ProtocolError("folds: the faces of all pairs outside one fold were missed, so it has no threshold")
    positives = np.bincount(counts, genuine[seen], len(values))
    negatives = np.bincount(counts, ~genuine[seen], len(values))
    # Candidate k rejects the k lowest scores.
    right = positives.sum() + np.append(0.0, np.cumsum(negatives - positives))
    best = np.flatnonzero(right == right.max())
    between = (values[:-1] + values[1:]) / 2
    candidates = np.concatenate([values[:1], between, [np.nextafter(values[-1], np.inf)]])
    return float(candidates[best[(len(best) - 1) // 2]])


def _gap(scores: FloatArray, genuine: BoolArray, years: FloatArray, band: tuple[float, float]) -> GapResult:
    inside = genuine & (years >= band[0]) & (years < band[1])
    kept = inside | ~genuine
    return GapResult(*band, roc(scores[kept], genuine[kept]) if inside.any() else None)


def _checked(scores: ArrayLike, same: ArrayLike) -> tuple[FloatArray, BoolArray]:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        raise ProtocolError(f"scores: (P,) numbers expected, finite or NaN, got shape {values.shape} or infinity")
    genuine = np.asarray(same)
    if genuine.dtype != bool or genuine.shape != values.shape:
        raise ProtocolError(f"same: bool of shape {values.shape} expected, got {genuine.dtype} of {genuine.shape}")
    if genuine.all() or not genuine.any():
        missing = "impostor" if len(values) and genuine.all() else "genuine"
        raise ProtocolError(f"same: there is no {missing} pair among {len(values)} pairs")
    return values, genuine


def _like(values: ArrayLike, count: int, argument: str) -> FloatArray:
    array = np.asarray(values, np.float64)
    if array.shape != (count,):
        raise ProtocolError(f"{argument}: shape ({count},) expected, got {array.shape}")
    return array
