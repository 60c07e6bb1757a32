"""Non-maximum suppression, calibration and clipping in C against slow and obvious Python."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import _native

# Quarters: their areas are exact in float32, so that ties and thresholds come out the same on every machine.
quarters = st.integers(-60, 60).map(lambda n: n / 4)
anything = st.floats(-1e4, 1e4, width=32)


@st.composite
def scored_boxes(draw: st.DrawFn, edges: st.SearchStrategy[float] = quarters) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4), some empty or inside out, and scores (n,) with many ties."""
    rows = draw(st.lists(st.tuples(edges, edges, edges, edges), max_size=25))
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    if draw(st.booleans()):
        boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1)
    scores = draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), min_size=len(rows), max_size=len(rows)))
    return boxes, np.array(scores, np.float32)


def areas(a: np.ndarray, b: np.ndarray, mode: str = "union") -> tuple[Fraction, Fraction]:
    """Of the intersection, and of the union or with mode "min" of the smaller box, exactly."""

    def inside(x1: Fraction, y1: Fraction, x2: Fraction, y2: Fraction) -> Fraction:
        return (x2 - x1) * (y2 - y1) if x2 > x1 and y2 > y1 else Fraction(0)

    p, q = ([Fraction(float(edge)) for edge in box] for box in (a, b))
    shared = inside(max(p[0], q[0]), max(p[1], q[1]), min(p[2], q[2]), min(p[3], q[3]))
    whole = min(inside(*p), inside(*q)) if mode == "min" else inside(*p) + inside(*q) - shared
    return shared, whole


def overlap(a: np.ndarray, b: np.ndarray, mode: str = "union") -> Fraction:
    """The quotient of the areas; 0 where there is nothing to divide by."""
    shared, whole = areas(a, b, mode)
    return shared / whole if whole else Fraction(0)


def covers(a: np.ndarray, b: np.ndarray, threshold: float, mode: str) -> bool:
    """Whether their overlap is above the threshold, rounded to float32 where the core rounds."""
    shared, whole = (np.float32(float(area)) for area in areas(a, b, mode))
    return bool(shared > np.float32(threshold) * whole)


def slow_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, mode: str) -> list[int]:
    left = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    while left:
        best, *left = left
        kept.append(best)
        left = [i for i in left if not covers(boxes[best], boxes[i], threshold, mode)]
    return kept


# Non-maximum suppression


@given(scored_boxes(), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0]), st.sampled_from(["union", "min"]))
def test_nms_is_the_greedy_one_on_every_level(
    given_boxes: tuple[np.ndarray, np.ndarray], threshold: float, mode: str
) -> None:
    boxes, scores = given_boxes
    expected = slow_nms(boxes, scores, threshold, mode)
    for level in _native.levels():
        kept = _native.nms(boxes, scores, threshold, mode, level)
        assert kept.dtype == np.int64
        assert kept.tolist() == expected


@pytest.mark.parametrize("level", _native.levels())
@pytest.mark.parametrize("mode", ["union", "min"])
def test_nms_of_many_boxes(level: str, mode: str) -> None:
    """More than a few vectors, each with an end that is not whole."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 200, (150, 2))
    boxes = np.hstack([corners, corners + rng.integers(1, 60, (150, 2))])
    scores = rng.integers(0, 50, 150) / 50
    assert _native.nms(boxes, scores, 0.3, mode, level).tolist() == slow_nms(boxes, scores, 0.3, mode)


@given(scored_boxes(anything), st.floats(0, 1), st.sampled_from(["union", "min"]))
def test_nms_keeps_what_no_better_box_covers(
    given_boxes: tuple[np.ndarray, np.ndarray], threshold: float, mode: str
) -> None:
    boxes, scores = given_boxes
    kept = _native.nms(boxes, scores, threshold, mode).tolist()
    rank = {i: n for n, i in enumerate(sorted(range(len(boxes)), key=lambda i: (-scores[i], i)))}
    assert kept == sorted(kept, key=rank.__getitem__)
    for i in range(len(boxes)):
        better = [overlap(boxes[k], boxes[i], mode) for k in kept if rank[k] < rank[i]]
        if i in kept:
            assert max(better, default=0) <= threshold + 1e-3
        else:
            assert max(better) >= threshold - 1e-3


@pytest.mark.parametrize("mode", ["union", "min"])
def test_nms_of_nothing_is_nothing(mode: str) -> None:
    kept = _native.nms(np.empty((0, 4)), np.empty(0), 0.5, mode)
    assert kept.shape == (0,)
    assert kept.dtype == np.int64


def test_nms_of_equal_scores_keeps_the_earlier_box() -> None:
    boxes = [(0, 0, 10, 10), (1, 0, 11, 10), (0, 0, 10, 10), (50, 50, 60, 60)]
    assert _native.nms(boxes, [0.5] * 4, 0.5).tolist() == [0, 3]


def test_nms_at_the_threshold_keeps_both() -> None:
    boxes = [(0, 0, 4, 4), (0, 0, 4, 2)]
    assert _native.nms(boxes, [1, 0.5], 0.5).tolist() == [0, 1]
    assert _native.nms(boxes, [1, 0.5], np.nextafter(np.float32(0.5), np.float32(0))).tolist() == [0]


def test_nms_by_the_smaller_area_drops_a_box_within_another() -> None:
    boxes = [(0, 0, 100, 100), (40, 40, 50, 50)]
    assert _native.nms(boxes, [0.9, 0.8], 0.7).tolist() == [0, 1]
    assert _native.nms(boxes, [0.9, 0.8], 0.7, "min").tolist() == [0]


def test_nms_never_drops_or_uses_boxes_without_an_inside() -> None:
    boxes = [(5, 5, 5, 9), (9, 9, 1, 1), (0, 0, 10, 10), (0, 0, 10, 10)]
    assert _native.nms(boxes, [0.9, 0.8, 0.7, 0.6], 0.0).tolist() == [0, 1, 2]


def test_nms_survives_infinite_boxes() -> None:
    boxes = [(-np.inf, -np.inf, np.inf, np.inf), (0, 0, 1, 1), (0, 0, np.inf, 1)]
    assert set(_native.nms(boxes, [0.3, 0.2, 0.1], 0.5)) <= {0, 1, 2}


# Overlap, seen through soft suppression: 1 * (1 - IoU) is what is left of the second score


def iou(a: object, b: object) -> float:
    kept, scores = _native.soft_nms([a, b], [2, 1], threshold=-1, floor=-1)
    assert kept.tolist() == [0, 1]
    return float(1 - scores[1])


@given(st.tuples(*[quarters] * 4), st.tuples(*[quarters] * 4))
def test_iou_is_right_bounded_and_symmetric(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    assert 0 <= iou(a, b) <= 1
    assert iou(a, b) == iou(b, a)
    assert iou(a, b) == pytest.approx(float(overlap(np.array(a), np.array(b))), abs=1e-6)
    assert iou(a, a) == (1 if a[2] > a[0] and a[3] > a[1] else 0)


# Soft suppression


def replay(
    boxes: np.ndarray, scores: np.ndarray, kept: list[int], *, threshold: float, sigma: float, floor: float
) -> list[float]:
    """Runs soft suppression with the choices made, checking that each was the best there was."""
    left, values, found = set(range(len(boxes))), scores.astype(np.float64), []
    for best in kept:
        assert best in left
        left.discard(best)
        assert values[best] >= max((values[i] for i in left), default=-np.inf) - 1e-5
        assert values[best] >= floor - 1e-5
        found.append(values[best])
        for i in left:
            shared = float(overlap(boxes[best], boxes[i]))
            if sigma > 0:
                values[i] *= np.exp(-shared * shared / sigma)
            elif shared > threshold + 1e-7:
                values[i] *= 1 - shared
    assert all(values[i] < floor + 1e-5 for i in left)
    return found


@given(
    scored_boxes(),
    st.sampled_from([0.0, 0.3, 0.6]),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.sampled_from([0.0, 0.001, 0.2]),
)
def test_soft_nms_decays_and_drops(
    given_boxes: tuple[np.ndarray, np.ndarray], threshold: float, sigma: float, floor: float
) -> None:
    boxes, scores = given_boxes
    before = scores.copy()
    kept, decayed = _native.soft_nms(boxes, scores, threshold, sigma, floor)
    assert (kept.dtype, decayed.dtype, kept.shape) == (np.int64, np.float32, decayed.shape)
    np.testing.assert_allclose(
        decayed,
        replay(boxes, before, kept.tolist(), threshold=threshold, sigma=sigma, floor=floor),
        atol=1e-5,
    )
    np.testing.assert_array_equal(scores, before)
    assert (np.diff(decayed) <= 0).all()


def test_soft_nms_of_nothing_is_nothing() -> None:
    kept, scores = _native.soft_nms(np.empty((0, 4)), np.empty(0))
    assert (kept.shape, scores.shape) == ((0,), (0,))


def test_soft_nms_of_equal_boxes_leaves_one() -> None:
    kept, scores = _native.soft_nms([(0, 0, 8, 8)] * 3, [0.5, 0.9, 0.9])
    assert kept.tolist() == [1]
    assert scores.tolist() == [np.float32(0.9)]


# Calibration


def slow_calibrate(boxes: np.ndarray, offsets: np.ndarray, square: bool) -> np.ndarray:
    out = []
    for box, moves in zip(boxes.astype(float), offsets.astype(float), strict=True):
        width, height = box[2] - box[0], box[3] - box[1]
        x1, y1, x2, y2 = box + moves * (width, height, width, height)
        x, y, half = (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) / 2
        out.append((x - half, y - half, x + half, y + half) if square else (x1, y1, x2, y2))
    return np.array(out).reshape(-1, 4)


@given(scored_boxes(anything), st.booleans(), st.randoms(use_true_random=False))
def test_calibrate_moves_edges_then_squares(
    given_boxes: tuple[np.ndarray, np.ndarray], square: bool, random: object
) -> None:
    boxes = given_boxes[0]
    offsets = np.array([[random.uniform(-2, 2) for _ in range(4)] for _ in boxes], np.float32).reshape(-1, 4)
    before = boxes.copy()
    moved = _native.calibrate(boxes, offsets, square)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, slow_calibrate(boxes, offsets, square), rtol=1e-5, atol=0.05)
    np.testing.assert_array_equal(boxes, before)


def test_calibrate_with_no_offsets_changes_nothing() -> None:
    boxes = np.array([(1, 2, 3, 4), (5, 5, 5, 5), (9, 8, 7, 6)], np.float32)
    np.testing.assert_array_equal(_native.calibrate(boxes, np.zeros_like(boxes)), boxes)


def test_calibrate_by_hand() -> None:
    moved = _native.calibrate([(10, 20, 30, 60)], [(0.5, 0.25, 0.5, -0.25)])
    assert moved.tolist() == [[20, 30, 40, 50]]
    squared = _native.calibrate([(10, 20, 30, 60)], [(0, 0, 0, 0)], square=True)
    assert squared.tolist() == [[0, 20, 40, 60]]


@pytest.mark.parametrize("square", [False, True])
def test_calibrate_of_nothing_is_nothing(square: bool) -> None:
    assert _native.calibrate(np.empty((0, 4)), np.empty((0, 4)), square).shape == (0, 4)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.float16])
def test_any_number_type_and_layout_will_do(dtype: type) -> None:
    boxes = np.array([(0, 0, 10, 10), (1, 1, 11, 11), (40, 40, 50, 50)], dtype)
    backwards = np.asfortranarray(boxes[::-1])
    assert _native.nms(backwards, [0.1, 0.2, 0.3], 0.5).tolist() == [2, 0]
    np.testing.assert_array_equal(_native.clip(backwards, 100, 100), boxes[::-1])


# Clipping


@given(scored_boxes(anything), st.floats(0, 5e3, width=32), st.floats(0, 5e3, width=32))
def test_clip_is_numpys(given_boxes: tuple[np.ndarray, np.ndarray], width: float, height: float) -> None:
    boxes = given_boxes[0]
    before = boxes.copy()
    clipped = _native.clip(boxes, width, height)
    np.testing.assert_array_equal(clipped, np.clip(boxes, 0, np.array([width, height] * 2, np.float32)))
    np.testing.assert_array_equal(boxes, before)


def test_clip_of_nothing_is_nothing() -> None:
    assert _native.clip(np.empty((0, 4)), 5, 5).shape == (0, 4)
