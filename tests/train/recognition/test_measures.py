"""Equal error rate, operating point and what else is measured, against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.train.packed_faces import DIMENSION, packed, tiny
from train.recognition import measures
from train.recognition.measures import equal_error_rate, measure, operating_point, predict, rates
from train.recognition.model import RecognitionModel


def at_angles(*degrees: float) -> np.ndarray:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


# Pairs by falling similarity: 5° apart two people, 10° one, 15° two, 75° one, 80° two, 90° two.
ANGLES, PEOPLE = at_angles(0, 10, 15, 90), np.array([0, 0, 1, 1])


@pytest.fixture
def model() -> RecognitionModel:
    torch.manual_seed(0)
    return RecognitionModel(tiny(), persons=0, adversarial=False)


def test_rates_by_hand():
    thresholds, true_rate, false_rate = rates(ANGLES, PEOPLE)
    np.testing.assert_allclose(thresholds, np.cos(np.radians([5, 10, 15, 75, 80, 90])), atol=1e-6)
    assert true_rate.tolist() == [0, 0.5, 0.5, 1, 1, 1]
    assert false_rate.tolist() == [0.25, 0.25, 0.5, 0.5, 0.75, 1]


def test_equal_similarities_are_accepted_together():
    embeddings = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]  # three pairs alike, three at right angles
    thresholds, true_rate, false_rate = rates(embeddings, np.array([0, 0, 1, 1]))
    assert thresholds.tolist() == [1, 0]
    assert true_rate.tolist() == [0.5, 1]
    assert false_rate.tolist() == [0.5, 1]


def test_the_equal_error_rate_by_hand():
    assert equal_error_rate(ANGLES, PEOPLE) == 0.5
    assert equal_error_rate(at_angles(0, 5, 90, 95), PEOPLE) == 0
    assert equal_error_rate(at_angles(0, 90, 90, 0), PEOPLE) == pytest.approx(0.75)  # |1 - 0 - 0.5| and |1 - 1 - 1|


def test_without_both_kinds_of_pair_there_is_no_rate():
    for people in ([0, 0, 0, 0], [0, 1, 2, 3]):
        assert math.isnan(equal_error_rate(ANGLES, np.array(people)))
    assert math.isnan(equal_error_rate(ANGLES[:1], np.array([0])))
    assert math.isnan(equal_error_rate(ANGLES[:0], np.array([], int)))


@given(st.lists(st.tuples(st.integers(0, 359), st.integers(0, 2)), min_size=2, max_size=9))
def test_rates_count_pairs(faces):
    angles, people = zip(*faces, strict=True)
    vectors, people = at_angles(*angles), np.array(people)
    thresholds, true_rate, false_rate = rates(vectors, people)
    pairs = [(i, j) for j in range(len(faces)) for i in range(j)]
    same = np.array([people[i] == people[j] for i, j in pairs])
    if same.all() or not same.any():
        assert len(thresholds) == len(true_rate) == len(false_rate) == 0
        return
    similarity = (vectors @ vectors.T)[tuple(np.transpose(pairs))]
    assert (np.diff(thresholds) < 0).all()
    for threshold, accepted, wrong in zip(thresholds, true_rate, false_rate, strict=True):
        assert accepted == pytest.approx((similarity[same] >= threshold).mean())
        assert wrong == pytest.approx((similarity[~same] >= threshold).mean())


@pytest.mark.parametrize(
    ("allowed", "degrees", "accepted", "wrong"), [(0.3, 10, 0.5, 0.25), (0.5, 75, 1, 0.5), (1, 90, 1, 1)]
)
def test_the_operating_point_by_hand(allowed, degrees, accepted, wrong):
    point = operating_point(ANGLES, PEOPLE, allowed)
    assert point["threshold"] == pytest.approx(math.cos(math.radians(degrees)), abs=1e-6)
    assert (point["true_accept_rate"], point["false_accept_rate"]) == (accepted, wrong)


def test_too_few_pairs_give_no_operating_point():
    assert operating_point(ANGLES, PEOPLE, 0.1) == {}  # the most alike are two people
    assert operating_point(ANGLES, np.zeros(4), 0.1) == {}


def test_predictions_do_not_depend_on_the_batch(model):
    crops = packed().crops[:7]
    embeddings, ages = predict(model.eval(), crops)
    assert (embeddings.shape, ages.shape) == ((7, DIMENSION), (7,))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(7))
    assert ((ages > 0) & (ages < 100)).all()
    again = predict(model, crops, batch=3)
    torch.testing.assert_close(again[0], embeddings, atol=1e-5, rtol=0)
    torch.testing.assert_close(again[1], ages, atol=1e-3, rtol=0)
    nothing = predict(model, crops[:0])
    assert (nothing[0].shape, nothing[1].shape) == ((0, DIMENSION), (0,))


def test_a_plain_model_knows_no_ages():
    plain = RecognitionModel(tiny(decomposed=False), persons=0, adversarial=False).eval()
    assert torch.isnan(predict(plain, packed().crops[:2])[1]).all()
    made = packed()
    assert set(measure(plain, made, np.arange(len(made)))) == {"teacher_cosine", "eer"}


def test_measuring_by_hand(model, monkeypatch):
    made = packed(people=2, photos=2, aged=2, nameless=1)
    rows = np.arange(7)
    vectors = np.zeros((7, DIMENSION), np.float32)
    vectors[:4, :2], vectors[4:, 0] = ANGLES, 1
    teacher = np.roll(vectors, 1, axis=1)  # only what has a second number agrees
    made = replace(made, embeddings=teacher, ages=np.array([*[np.nan] * 4, 20, 50, np.nan], np.float32))
    found_ages = torch.tensor([0.0, 0, 0, 0, 23, 45, 0])
    monkeypatch.setattr(measures, "predict", lambda model, crops: (torch.from_numpy(vectors), found_ages))
    found = measure(model.train(), made, rows)
    assert not model.training
    assert set(found) == {"teacher_cosine", "eer", "age_mae"}
    assert found["teacher_cosine"] == pytest.approx((vectors * teacher).sum() / 7, abs=1e-6)
    assert found["eer"] == 0.5
    assert found["age_mae"] == 4


def test_what_cannot_be_measured_is_left_out(model):
    made = packed()
    assert measure(model, made, np.arange(0)) == {}
    assert set(measure(model, made, np.arange(40, 50))) == {"teacher_cosine", "age_mae"}
    other = replace(made, embeddings=np.ones((len(made), 5), np.float32))
    assert measure(model, other, np.arange(70, 74)) == {}
    assert set(measure(model, replace(made, embeddings=None), np.arange(8))) == {"eer"}
