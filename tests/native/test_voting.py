"""Box voting in C against slow and obvious Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import _native
from cascade.boxes import iou


def votes(kept: object, boxes: object, logits: object, overlap: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Voting of boxes that no delta moves: the boxes and the votes for each."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    return _native.vote(kept, boxes, np.zeros_like(boxes), logits, overlap)


def vote(kept: object, boxes: object, logits: object, overlap: float = 0.5) -> np.ndarray:
    """The boxes alone."""
    return votes(kept, boxes, logits, overlap)[0]


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of 8 to 24 pixels, close enough that most overlap some other, their log-odds, and some of them."""
    sides = st.integers(8, 24)
    rows = draw(st.lists(st.tuples(*[st.integers(-9, 30)] * 2, sides, sides, st.integers(-6, 6)), max_size=20))
    table = np.array(rows, np.float32).reshape(-1, 5)
    chosen = draw(st.lists(st.integers(0, len(rows) - 1), max_size=5, unique=True)) if rows else []
    return np.hstack([table[:, :2], table[:, :2] + table[:, 2:4]]), table[:, 4], np.array(chosen, int)


@given(scored(), st.sampled_from([0.01, 0.3, 0.5, 0.9, 1.0]))
def test_a_kept_box_is_the_mean_of_those_that_overlap_it_most(
    faces: tuple[np.ndarray, np.ndarray, np.ndarray], overlap: float
) -> None:
    boxes, logits, chosen = faces
    found, sums = votes(boxes[chosen], boxes, logits, overlap)
    assert (found.dtype, sums.dtype) == (np.float32, np.float32)
    if not len(chosen):
        return
    overlaps = iou(boxes[chosen], boxes)
    for own, total, row in zip(found, sums, overlaps, strict=True):
        voting = (row >= np.float32(overlap)) & (row.astype(np.float32) >= overlaps.max(axis=0).astype(np.float32))
        weights = voting * row / (1 + np.exp(-logits.astype(float)))
        np.testing.assert_allclose(own, weights @ boxes / weights.sum(), rtol=1e-5, atol=1e-5)
        assert total == pytest.approx(weights.sum(), rel=1e-5)


@given(scored())
def test_the_order_of_the_windows_does_not_matter(faces: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    boxes, logits, chosen = faces
    found = vote(boxes[chosen], boxes[::-1], logits[::-1])
    np.testing.assert_allclose(found, vote(boxes[chosen], boxes, logits), rtol=1e-6)


def test_two_boxes_of_one_face_and_one_of_another() -> None:
    boxes = [(0, 0, 10, 10), (0, 0, 10, 14), (100, 0, 110, 10)]
    found = vote([boxes[0], boxes[2]], boxes, [40, 0, 1])
    share = (10 / 14) * 0.5  # overlap times probability
    assert found.tolist() == [[0, 0, 10, pytest.approx((10 + share * 14) / (1 + share))], [100, 0, 110, 10]]


def test_a_box_between_two_votes_for_the_nearer_one() -> None:
    boxes = [(0, 0, 10, 10), (2, 0, 12, 10), (6, 0, 16, 10)]
    found = vote([boxes[0], boxes[2]], boxes, [40, 40, 40], 0.4)
    assert found[1].tolist() == [6, 0, 16, 10]
    assert 0 < found[0, 0] < 2


def test_windows_vote_with_the_boxes_that_their_deltas_make() -> None:
    windows = np.float32([(0, 0, 10, 10), (0, 0, 20, 20)])
    found, _ = _native.vote([(0, 0, 10, 10)], windows, [(0, 0, 0, 0), (0, 0, -0.5, -0.3)], [40, 40], 0.5)
    assert found[0, :3].tolist() == [0, 0, 10]
    assert 10 < found[0, 3] < 14


def test_boxes_without_any_weight_stay() -> None:
    """Log-odds of minus infinity weigh nothing, those of infinity as much as the overlap; NaN and far boxes none."""
    boxes = [(0, 0, 10, 10), (0, 0, 10, 12), (np.nan, 0, 10, 10), (0, 0, 1e9, 10)]
    kept = boxes[:1]
    assert vote(kept, boxes, [-np.inf, -np.inf, 9, 9]).tolist() == [[0, 0, 10, 10]]
    assert vote(kept, boxes, [np.inf, -np.inf, 9, 9]).tolist() == [[0, 0, 10, 10]]
    assert vote(kept, boxes, [1, np.nan, 9, 9]).tolist() == [[0, 0, 10, 10]]
    assert vote(kept, boxes[2:], [9, 9]).tolist() == [[0, 0, 10, 10]]
    assert np.isfinite(vote(kept, boxes, [np.inf, np.inf, 9, 9])).all()


def test_no_boxes() -> None:
    assert vote(np.empty((0, 4)), np.empty((0, 4)), []).shape == (0, 4)
    assert votes([(0, 0, 10, 10)], np.empty((0, 4)), [])[1].tolist() == [0]
    assert vote([(0, 0, 10, 10)], np.empty((0, 4)), []).tolist() == [[0, 0, 10, 10]]


@pytest.mark.parametrize("overlap", [0, -0.5, 1.5, np.nan])
def test_wrong_overlaps_are_refused(overlap: float) -> None:
    with pytest.raises(ValueError, match="overlap: expected a number"):
        vote([(0, 0, 10, 10)], [(0, 0, 10, 10)], [1], overlap)


def test_faces_far_apart_take_no_longer_than_their_number() -> None:
    """40,000 boxes that overlap no other: each is compared with those near it alone."""
    corners = np.stack(np.meshgrid(np.arange(200), np.arange(200)), -1).reshape(-1, 2) * 40.0
    boxes = np.hstack([corners, corners + 20]).astype(np.float32)
    np.testing.assert_allclose(vote(boxes, boxes, np.ones(len(boxes))), boxes, rtol=1e-6)
