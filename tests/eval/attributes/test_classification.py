"""Accuracy, precision, recall, F1, confusion and calibration against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eval.attributes.classification import BINS, evaluate_classes

CLASSES = ("no", "yes")


def example():
    """Three yes, of which two are found; three no, of which one is called yes and one has no answer."""
    truth = ["yes", "yes", "yes", "no", "no", "no"]
    answers = ["yes", "yes", "no", "no", "yes", None]
    return evaluate_classes(CLASSES, truth, answers, np.array([0.9, 0.9, 0.6, 0.8, 0.6, np.nan]))


def test_figures_are_those_worked_out_by_hand() -> None:
    result = example()
    assert result.matrix.tolist() == [[1, 1], [1, 2]]  # rows are the truth
    assert result.accuracy == pytest.approx(3 / 5) and result.accuracy_of_all == pytest.approx(3 / 6)
    no, yes = result.by_class()
    assert (no.precision, no.recall, no.f1, no.faces) == (0.5, 0.5, 0.5, 2)
    assert (yes.precision, yes.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3)) and yes.faces == 3
    assert result.macro_f1 == pytest.approx((0.5 + 2 / 3) / 2)
    assert result.balanced_accuracy == pytest.approx((0.5 + 2 / 3) / 2)
    low, high = result.accuracy_interval
    assert (low, high) == (pytest.approx(0.2307, abs=1e-3), pytest.approx(0.8824, abs=1e-3))  # Wilson


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    result = example()
    bins = {(round(b.low * BINS), b.answers): b for b in result.calibration() if b.answers}
    # 0.6 → (8, 9] of 15: one of two wrong answers … both wrong; 0.8 → right; 0.9 → both right
    assert sorted(bins) == [(8, 2), (11, 1), (13, 2)]
    expected = (2 * abs(0.6 - 0) + abs(0.8 - 1) + 2 * abs(0.9 - 1)) / 5
    assert result.calibration_error == pytest.approx(expected)
    assert evaluate_classes(CLASSES, ["no"], ["no"]).calibration_error is None
    sure = evaluate_classes(CLASSES, ["no", "no"], ["no", "no"], np.array([1.0, 0.0]))
    assert [b.answers for b in sure.calibration()][:1] + [b.answers for b in sure.calibration()][-1:] == [1, 1]


def test_an_answer_that_is_no_class_is_wrong_and_shown() -> None:
    result = evaluate_classes(CLASSES, ["no", "yes"], ["no", "maybe"])
    assert result.classes == ("no", "yes", "other answers") and result.accuracy == 0.5
    assert result.matrix.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert result.by_class()[2].recall is None


def test_no_answers_have_no_figures() -> None:
    result = evaluate_classes(CLASSES, ["no"], [None])
    assert result.accuracy is None and result.accuracy_interval is None and result.accuracy_of_all == 0


def test_parts_keep_the_classes() -> None:
    part = example().of(np.array([True, False, False, True, False, False]))
    assert part.accuracy == 1 and part.classes == CLASSES and part.matrix.tolist() == [[1, 0], [0, 1]]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="truth: expected no, yes, got perhaps"):
        evaluate_classes(CLASSES, ["perhaps"], ["no"])
    with pytest.raises(ValueError, match="answers: expected 1"):
        evaluate_classes(CLASSES, ["no"], [])
