"""Classes against the truth: accuracy, precision, recall, F1, the confusion matrix, and calibration.

The expected calibration error is that of C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017: answers
are binned by their confidence, and the gap between mean confidence and accuracy is averaged over the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Bin", "ClassFigures", "ClassResult", "evaluate_classes"]

BINS = 15
"""Bins of equal width that confidences from 0 to 1 are put into."""

MISSED = -1
"""Number of the class of an answer that is not there, or that is none of the classes."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class: precision, recall and F1, None where there is nothing to divide by, and its number of faces."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    faces: int


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers with a confidence above ``low`` and up to ``high``; the means are None where there is none."""

    low: float
    high: float
    answers: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True, eq=False)
class ClassResult:
    """N faces whose class is known.

    classes     names, in the order of the numbers
    truth       (N,) int64 numbers
    answers     (N,) int64 numbers, −1 for a face without an answer
    confidence  (N,) float64 of each answer, NaN where it is not known
    """

    classes: tuple[str, ...]
    truth: Ints
    answers: Ints
    confidence: NDArray[np.float64]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(N,) whether there is an answer."""
        return np.asarray(self.answers != MISSED)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether the answer is the truth."""
        return np.asarray(self.answers == self.truth)

    @property
    def accuracy(self) -> float | None:
        """Share of right answers among the faces with an answer; None without any."""
        return _mean(self.right[self.answered])

    @property
    def accuracy_of_all(self) -> float | None:
        """The same of all faces: one without an answer counts as wrong."""
        return _mean(self.right)

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the accuracy."""
        from scipy.stats import binomtest

        count = int(self.answered.sum())
        if not count:
            return None
        interval = binomtest(int(self.right[self.answered].sum()), count).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    @property
    def matrix(self) -> Ints:
        """(C, C) confusion matrix: rows are the truth, columns the answers."""
        count = len(self.classes)
        pairs = count * self.truth[self.answered] + self.answers[self.answered]
        found: Ints = np.bincount(pairs, minlength=count * count).reshape(count, count).astype(np.int64)
        return found

    def by_class(self) -> list[ClassFigures]:
        """Precision, recall and F1 of each class, over the faces with an answer."""
        matrix = self.matrix
        figures = []
        for at, name in enumerate(self.classes):
            right, called, there = (int(each) for each in (matrix[at, at], matrix[:, at].sum(), matrix[at].sum()))
            precision, recall = (right / whole if whole else None for whole in (called, there))
            f1 = 2 * right / (called + there) if called + there else None
            figures.append(ClassFigures(name, precision, recall, f1, there))
        return figures

    @property
    def macro_f1(self) -> float | None:
        """Mean F1 of the classes that occur."""
        return _mean([each.f1 for each in self.by_class() if each.faces and each.f1 is not None])

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean recall of the classes that occur."""
        return _mean([each.recall for each in self.by_class() if each.recall is not None])

    def calibration(self) -> list[Bin]:
        """The bins of confidence, from 0 to 1."""
        known = self.answered & np.isfinite(self.confidence)
        confidence, right = self.confidence[known], self.right[known]
        number = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        found = []
        for at in range(BINS):
            here = number == at
            found.append(Bin(at / BINS, (at + 1) / BINS, int(here.sum()), _mean(confidence[here]), _mean(right[here])))
        return found

    @property
    def calibration_error(self) -> float | None:
        """The expected calibration error; None where no confidence is known."""
        bins = [each for each in self.calibration() if each.answers]
        total = sum(each.answers for each in bins)
        if not total:
            return None
        return sum(each.answers * abs((each.confidence or 0) - (each.accuracy or 0)) for each in bins) / total

    def of(self, members: NDArray[np.bool_]) -> ClassResult:
        """The same of some faces alone; ``members`` is (N,) bool."""
        return ClassResult(self.classes, self.truth[members], self.answers[members], self.confidence[members])


def evaluate_classes(
    classes: Sequence[str],
    truth: Sequence[str],
    answers: Sequence[str | None],
    confidence: NDArray[np.floating] | None = None,
) -> ClassResult:
    """Compare the answers of N faces with their true classes.

    An answer that is none of the classes is wrong, and counts as an answer of the further class "other answers". Raises
    ValueError for arrays of different lengths and for a truth that is none of the classes.
    """
    if len(truth) != len(answers) or (confidence is not None and len(confidence) != len(truth)):
        raise ValueError(f"answers: expected {len(truth)}, one for each face, got {len(answers)}")
    numbers = {name: at for at, name in enumerate(classes)}
    unknown = sorted({name for name in truth if name not in numbers})
    if unknown:
        raise ValueError(f"truth: expected {', '.join(classes)}, got {', '.join(unknown)}")
    names = tuple(classes)
    if any(answer is not None and answer not in numbers for answer in answers):
        names = (*names, "other answers")
    given = [MISSED if answer is None else numbers.get(answer, len(numbers)) for answer in answers]
    sure = np.full(len(truth), np.nan) if confidence is None else np.asarray(confidence, np.float64)
    return ClassResult(names, np.array([numbers[name] for name in truth], np.int64), np.array(given, np.int64), sure)


def _mean(values: Sequence[float | None] | NDArray[np.generic]) -> float | None:
    return float(np.mean(np.asarray(values, np.float64))) if len(values) else None
