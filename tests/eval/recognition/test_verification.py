"""ROC, TAR at FAR, EER, accuracy over folds and figures by age gap, against cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eval.recognition.similarity import ProtocolError
from eval.recognition.verification import AGE_GAPS, evaluate, fold_accuracy, gap_name, roc

# Genuine pairs score .9 .8 .4, impostors .7 .3 .1.
SCORES = np.array([0.9, 0.7, 0.4, 0.1, 0.8, 0.3])
SAME = np.array([True, False, True, False, True, False])


def test_roc_of_six_scores():
    curve = roc(SCORES, SAME)
    assert curve.thresholds.tolist() == [np.inf, 0.9, 0.8, 0.7, 0.4, 0.3, 0.1]
    np.testing.assert_allclose(curve.far, [0, 0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(curve.tar, [0, 1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
    assert (curve.impostors, curve.genuine) == (3, 3)


def test_tar_at_far_takes_the_lowest_threshold_that_keeps_the_far():
    curve = roc(SCORES, SAME)
    # No impostor may pass below 1/3; at 1/3 one may, and all genuine pairs above the second impostor do.
    assert [curve.tar_at(far) for far in (0, 1e-4, 0.333, 1 / 3, 0.5, 1)] == pytest.approx([2 / 3] * 3 + [1] * 3)
    assert [curve.threshold_at(far) for far in (0, 1 / 3, 1)] == [0.8, 0.4, 0.1]


def test_far_of_exactly_the_target_is_allowed():
    scores = np.append(np.arange(3000), 2996.5)
    same = np.append(np.zeros(3000, bool), True)
    curve = roc(scores, same)
    assert curve.tar_at(1e-3) == 1.0  # three of 3,000 impostors are above
    assert curve.tar_at(0.00099) == 0.0


def test_equal_scores_stand_or_fall_together():
    curve = roc([0.5, 0.5, 0.9, 0.1], np.array([True, False, True, False]))
    np.testing.assert_allclose(curve.far, [0, 0, 0.5, 1])
    np.testing.assert_allclose(curve.tar, [0, 0.5, 1, 1])
    # The genuine pair at .5 cannot pass without the impostor at .5.
    assert curve.tar_at(0.4) == 0.5
    # FAR − FRR goes from −.5 to .5 on the way from (0, .5) to (.5, 1).
    assert curve.eer == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("genuine", "impostors", "eer"),
    [
        ([0.9, 0.8, 0.4], [0.7, 0.3, 0.1], 1 / 3),
        ([0.9, 0.5], [0.6, 0.4, 0.2], 1 / 3),
        ([0.9, 0.8], [0.2, 0.1], 0),
        ([0.2, 0.1], [0.9, 0.8], 1),
        ([0.5, 0.5], [0.5, 0.5], 0.5),
        # One of two genuine faces missed: rejected at any threshold.
        ([0.9, np.nan], [0.5, 0.4, 0.3, 0.2], 0.5),
        # All missed: nothing is ever accepted, and the rates 0 and 1 never meet.
        ([np.nan], [np.nan], 0.5),
    ],
)
def test_equal_error_rate(genuine, impostors, eer):
    same = np.arange(len(genuine) + len(impostors)) < len(genuine)
    assert roc([*genuine, *impostors], same).eer == pytest.approx(eer)


def test_missed_faces_are_rejected_but_counted():
    curve = roc([0.9, np.nan, 0.5, np.nan], np.array([True, True, False, False]))
    assert (curve.genuine, curve.impostors) == (2, 2)
    assert (curve.tar[-1], curve.far[-1]) == (0.5, 0.5)
    assert curve.tar_at(0) == 0.5


def test_corners_keep_the_curve():
    rng = np.random.default_rng(1)
    scores, same = rng.normal(size=500).round(1), rng.random(500) < 0.3
    curve = roc(scores, same)
    kept = curve.corners()
    assert len(kept) < len(curve.far)
    assert kept[0] == 0
    assert kept[-1] == len(curve.far) - 1
    at = np.interp(np.arange(len(curve.far)), kept, curve.tar[kept])
    inside = np.setdiff1d(np.arange(len(curve.far)), kept)
    flat = [curve.far[k] == curve.far[k - 1] == curve.far[k + 1] for k in inside]
    assert all(is_flat or at[k] == curve.tar[k] for k, is_flat in zip(inside, flat, strict=True))


# Two folds: genuine .9 .6, impostors .5 .2; and genuine .7 .3, impostors .4 .1.
FOLD_SCORES = np.array([0.9, 0.6, 0.5, 0.2, 0.7, 0.3, 0.4, 0.1])
FOLD_SAME = np.array([True, True, False, False] * 2)
FOLDS = np.array([1] * 4 + [2] * 4)


def test_threshold_of_a_fold_comes_from_the_others():
    result = fold_accuracy(FOLD_SCORES, FOLD_SAME, FOLDS)
    # The second fold is 3/4 right between .1 and .3 and between .4 and .7: the lower of the two middle ones.
    # At .2 the first fold is 2/4 right. The first fold's best, .55, is 3/4 right on the second.
    np.testing.assert_allclose(result.thresholds, [0.2, 0.55])
    np.testing.assert_allclose(result.accuracies, [0.5, 0.75])
    assert result.folds.tolist() == [1, 2]
    assert result.accuracy == 0.625
    assert result.std == pytest.approx(0.125 * np.sqrt(2))
    assert result.standard_error == pytest.approx(0.125)


def test_a_fold_does_not_see_its_own_scores():
    changed = FOLD_SCORES.copy()
    changed[:4] = [0.1, 0.1, 0.9, 0.9]
    before, after = (fold_accuracy(scores, FOLD_SAME, FOLDS) for scores in (FOLD_SCORES, changed))
    assert before.thresholds[0] == after.thresholds[0]
    assert before.thresholds[1] != after.thresholds[1]
    assert after.accuracies[0] == 0


def test_numbers_of_folds_are_labels():
    moved = fold_accuracy(FOLD_SCORES, FOLD_SAME, np.where(FOLDS == 1, 9, 10))
    assert moved.folds.tolist() == [9, 10]
    assert moved.accuracy == 0.625


def test_a_pair_with_a_missed_face_is_wrong_whatever_it_is():
    scores = np.array([0.9, np.nan, 0.2, np.nan, 0.9, 0.8, 0.2, 0.1])
    result = fold_accuracy(scores, FOLD_SAME, FOLDS)
    np.testing.assert_allclose(result.accuracies, [0.5, 1])


def test_all_accepted_and_all_rejected_are_among_the_thresholds():
    # Outside fold 1 all are genuine, so the best threshold there accepts all; and the other way round.
    scores, folds = np.array([0.1, 0.2, 0.7, 0.8]), np.array([1, 1, 2, 2])
    same = np.array([False, False, True, True])
    result = fold_accuracy(scores, same, folds)
    assert (result.thresholds[0], result.thresholds[1]) == (0.7, np.nextafter(0.2, 1))
    assert result.accuracy == 1


def test_by_age_gap():
    # Impostors .7 .3 .1 count in every band, whatever their ages.
    gaps = np.array([3, 50, -7, np.nan, 5, 0])
    result = evaluate(SCORES, SAME, gaps=gaps)
    names = [gap.name for gap in result.gaps]
    assert names == ["0-5", "5-10", "10-20", "20-30", "30+"]
    assert [gap.genuine for gap in result.gaps] == [1, 2, 0, 0, 0]
    young, older, none, *_ = result.gaps
    assert (young.tar_at_far["1e-3"], young.eer) == (1.0, 0.0)
    # Genuine .8 and .4 against impostors .7 .3 .1: FAR is 1/3 while FRR falls from 1/2 to 0.
    assert older.tar_at_far["1e-3"] == 0.5
    assert older.eer == pytest.approx(1 / 3)
    assert (none.eer, none.tar_at_far) == (None, {"1e-2": None, "1e-3": None, "1e-4": None})
    assert list(result.curves()) == ["all", "0-5 years", "5-10 years"]


def test_thresholds_are_the_same_in_every_band():
    rng = np.random.default_rng(3)
    same = rng.random(4000) < 0.25
    scores = rng.normal(size=4000) + same
    gaps = rng.uniform(0, 60, 4000)
    result = evaluate(scores, same, gaps=gaps)
    threshold = result.roc.threshold_at(1e-2)
    for gap, (low, high) in zip(result.gaps, AGE_GAPS, strict=True):
        inside = same & (gaps >= low) & (gaps < high)
        assert gap.tar_at_far["1e-2"] == pytest.approx((scores[inside] >= threshold).mean())


def test_without_ages_and_folds():
    result = evaluate(SCORES, SAME, gaps=np.full(6, np.nan))
    assert (result.folds, result.gaps, result.missed_pairs) == (None, (), 0)
    assert result.tar_at_far() == {"1e-2": pytest.approx(2 / 3)} | dict.fromkeys(["1e-3", "1e-4"], pytest.approx(2 / 3))
    assert evaluate([0.1, np.nan], np.array([True, False])).missed_pairs == 1


def test_band_names():
    assert [gap_name(*band) for band in AGE_GAPS] == ["0-5", "5-10", "10-20", "20-30", "30+"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], np.zeros(0, bool)), "no genuine pair among 0"),
        (([0.1, 0.2], np.array([True, True])), "no impostor"),
        (([0.1, 0.2], np.array([False, False])), "no genuine"),
        (([0.1, 0.2], [1, 0]), "same: bool"),
        (([0.1], np.array([True, False])), "same: bool"),
        (([np.inf, 0.2], np.array([True, False])), "scores"),
        (([[0.1, 0.2]], np.array([True, False])), "scores"),
        (([0.1, 0.2], np.array([True, False]), [1]), "folds: shape"),
        (([0.1, 0.2], np.array([True, False]), [1, 1]), "folds: at least two"),
        (([0.1, 0.2], np.array([True, False]), None, [1]), "gaps: shape"),
        (([0.1, 0.2, np.nan], np.array([True, False, True]), [1, 1, 2]), "folds: the faces of all pairs"),
    ],
)
def test_unfit_input_is_refused(arguments, message):
    with pytest.raises(ProtocolError, match=message):
        evaluate(*arguments)
