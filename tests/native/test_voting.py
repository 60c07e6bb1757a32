"""Box voting in C against slow and obvious Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import _native
from cascade.boxes import iou

OVERLAPS = [(0.4, "union"), (0.8, "min")]


def candidates(boxes: object, logits: object, threshold: float = -np.inf, voting: float | None = 0.5, **more: object):
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    return _native.candidates(boxes, np.zeros_like(boxes), logits, threshold, OVERLAPS, voting=voting, **more)


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of 8 to 24 pixels, close enough that most overlap some other, and their log-odds."""
    rows = draw(st.lists(st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(8, 24)] * 2, st.integers(-6, 6)), max_size=20))
    table = np.array(rows, np.float32).reshape(-1, 5)
    return np.hstack([table[:, :2], table[:, :2] + table[:, 2:4]]), table[:, 4]


@given(scored(), st.sampled_from([-np.inf, 0.0, 3.0]), st.sampled_from([0.3, 0.5, 0.9]))
def test_a_kept_box_is_the_mean_of_those_that_overlap_it(
    faces: tuple[np.ndarray, np.ndarray], threshold: float, voting: float
) -> None:
    """Of all that reach the threshold, those that are suppressed included; kept ones and log-odds stay."""
    boxes, logits = faces
    kept, found, left = candidates(boxes, logits, threshold, voting)
    plain, unmoved, same = candidates(boxes, logits, threshold, None)
    assert kept.tolist() == plain.tolist()
    np.testing.assert_array_equal(left, same)
    reach = logits >= threshold
    weights = iou(unmoved, boxes[reach])
    weights *= (weights >= voting) / (1 + np.exp(-logits[reach].astype(float)))
    assert found.dtype == np.float32
    if len(kept):
        np.testing.assert_allclose(found, weights @ boxes[reach] / weights.sum(axis=1, keepdims=True), rtol=1e-6)


@given(scored())
def test_all_levels_agree_to_the_last_bit(faces: tuple[np.ndarray, np.ndarray]) -> None:
    expected = candidates(*faces)[1]
    for level in _native.simd_levels():
        np.testing.assert_array_equal(candidates(*faces, level=level)[1], expected)


def test_two_boxes_of_one_face() -> None:
    _, found, _ = candidates([(0, 0, 10, 10), (0, 0, 10, 14), (100, 0, 110, 10)], [40, 0, 1])
    share = (10 / 14) * 0.5  # overlap times probability
    assert found.tolist() == [[0, 0, 10, pytest.approx((10 + share * 14) / (1 + share))], [100, 0, 110, 10]]


def test_boxes_without_any_weight_stay() -> None:
    """Log-odds of minus infinity weigh nothing, those of infinity as much as the overlap."""
    boxes = [(0, 0, 10, 10), (0, 0, 10, 12)]
    assert candidates(boxes, [-np.inf, -np.inf])[1].tolist() == [[0, 0, 10, 10]]
    assert candidates(boxes, [np.inf, -np.inf])[1].tolist() == [[0, 0, 10, 10]]
    assert np.isfinite(candidates(boxes, [np.inf, np.inf])[1]).all()


def test_no_boxes() -> None:
    assert [array.shape for array in candidates(np.empty((0, 4)), [])] == [(0,), (0, 4), (0,)]


@pytest.mark.parametrize("voting", [-0.5, np.nan])
def test_wrong_overlaps_are_refused(voting: object) -> None:
    with pytest.raises(ValueError, match="voting"):
        candidates([(0, 0, 10, 10)], [1], voting=voting)
