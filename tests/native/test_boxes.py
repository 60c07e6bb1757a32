"""Window boxes, box deltas, squares, expansion, clipping and suppression in C against slow and obvious Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any, Literal

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


def is_candidate(box: np.ndarray) -> bool:
    """Whether a box is at least a pixel wide and high and not too far away."""
    x1, y1, x2, y2 = box.tolist()
    return all(abs(edge) <= 2**18 for edge in (x1, y1, x2, y2)) and x2 - x1 >= 1 and y2 - y1 >= 1


def slow_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, mode: str) -> list[int]:
    left = sorted((i for i in range(len(boxes)) if is_candidate(boxes[i])), key=lambda i: (-scores[i], i))
    kept = []
    while left:
        best, *left = left
        kept.append(best)
        left = [i for i in left if not covers(boxes[best], boxes[i], threshold, mode)]
    return kept


# Non-maximum suppression


def nms(boxes: Any, scores: Any, threshold: float, mode: Any = "union", level: str | None = None) -> np.ndarray:
    """The boxes that `candidates` keeps where no delta moves them."""
    boxes = np.asarray(boxes, np.float32)
    return _native.candidates(boxes, np.zeros_like(boxes), scores, -np.inf, [(threshold, mode)], level)[0]


@given(scored_boxes(), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0]), st.sampled_from(["union", "min"]))
def test_nms_is_the_greedy_one_on_every_level(
    given_boxes: tuple[np.ndarray, np.ndarray], threshold: float, mode: str
) -> None:
    boxes, scores = given_boxes
    expected = slow_nms(boxes, scores, threshold, mode)
    for level in _native.simd_levels():
        kept = nms(boxes, scores, threshold, mode, level)
        assert kept.dtype == np.int64
        assert kept.tolist() == expected


@pytest.mark.parametrize("level", _native.simd_levels())
@pytest.mark.parametrize("mode", ["union", "min"])
def test_nms_of_many_boxes(level: str, mode: str) -> None:
    """Several vectors and a rest that does not fill one."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 200, (150, 2))
    boxes = np.hstack([corners, corners + rng.integers(1, 60, (150, 2))])
    scores = rng.integers(0, 50, 150) / 50
    assert nms(boxes, scores, 0.3, mode, level).tolist() == slow_nms(boxes, scores, 0.3, mode)


@given(scored_boxes(anything), st.floats(0, 1), st.sampled_from(["union", "min"]))
def test_nms_keeps_what_no_better_box_covers(
    given_boxes: tuple[np.ndarray, np.ndarray], threshold: float, mode: str
) -> None:
    boxes, scores = given_boxes
    kept = nms(boxes, scores, threshold, mode).tolist()
    valid = [i for i in range(len(boxes)) if is_candidate(boxes[i])]
    rank = {i: n for n, i in enumerate(sorted(valid, key=lambda i: (-scores[i], i)))}
    assert kept == sorted(kept, key=rank.__getitem__)
    for i in valid:
        better = [overlap(boxes[k], boxes[i], mode) for k in kept if rank[k] < rank[i]]
        if i in kept:
            assert max(better, default=0) <= threshold + 1e-3
        else:
            assert max(better) >= threshold - 1e-3


def spread_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Boxes of all sizes on whole pixels, many of them in one crowd and some far from all others."""
    corners = np.where(rng.random((n, 1)) < 0.7, rng.integers(0, 150, (n, 2)), rng.integers(-1500, 1500, (n, 2)))
    sides = 2.0 ** rng.integers(0, 10, (n, 1)) + rng.integers(0, 9, (n, 2))
    boxes = np.hstack([corners, corners + sides]).astype(np.float32)
    boxes[:2] += 200_000
    return boxes


def quick_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, mode: str) -> list[int]:
    """`slow_nms` in float32, exact for boxes on whole pixels that are not too large."""
    order, kept = np.argsort(-scores, kind="stable"), []
    own = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        shared = np.prod(np.maximum(sides, 0), axis=1)
        whole = np.minimum(own[best], own[rest]) if mode == "min" else own[best] + own[rest] - shared
        order = rest[~(shared > np.float32(threshold) * whole)]
    return kept


@pytest.mark.parametrize("level", _native.simd_levels())
@pytest.mark.parametrize("mode", ["union", "min"])
@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.25, 0.5, 0.75, 1.0])
def test_nms_by_cells_is_the_greedy_one(level: str, mode: str, threshold: float) -> None:
    rng = np.random.default_rng(3)
    boxes = spread_boxes(rng, 1500)
    scores = rng.integers(0, 400, len(boxes)).astype(np.float32)
    assert nms(boxes, scores, threshold, mode, level).tolist() == quick_nms(boxes, scores, threshold, mode)


@pytest.mark.parametrize(("threshold", "mode"), [(0.0, "union"), (0.5, "union"), (0.95, "union"), (0.7, "min")])
def test_nms_of_very_many_windows_takes_nearly_linear_time(threshold: float, mode: str) -> None:
    """Comparing all pairs took 13 seconds of processor time for 308,065 windows of a photo."""
    levels = [np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) for side in (460, 260, 170)]
    corners = np.concatenate([level * stride for level, stride in zip(levels, (2, 3.5, 5.4), strict=True)])
    sides = np.repeat([[12.0], [21.0], [32.0]], [len(level) for level in levels], axis=0)
    windows = np.hstack([corners, corners + sides]).astype(np.float32)
    scores = np.random.default_rng(0).normal(size=len(windows)).astype(np.float32)
    start = time.process_time()
    kept = nms(windows, scores, threshold, mode)
    assert time.process_time() - start < 4
    assert 0 < len(kept) <= len(windows)


@pytest.mark.parametrize("mode", ["union", "min"])
def test_nms_of_nothing_is_nothing(mode: str) -> None:
    kept = nms(np.empty((0, 4)), np.empty(0), 0.5, mode)
    assert kept.shape == (0,)
    assert kept.dtype == np.int64


def apart(n: int) -> np.ndarray:
    """Boxes (n, 4) none of which overlaps another."""
    return np.array([(3 * i, 0, 3 * i + 1, 1) for i in range(n)]).reshape(-1, 4)


@given(st.lists(st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 0.25, 1e30, np.inf]), max_size=70))
def test_nms_of_boxes_apart_is_their_order_with_equals_as_they_came(scores: list[float]) -> None:
    expected = sorted(range(len(scores)), key=lambda i: -scores[i])
    assert nms(apart(len(scores)), scores, 0.5).tolist() == expected


@pytest.mark.parametrize("n", [2**10 - 1, 2**10, 2**10 + 1, 1500])
@pytest.mark.parametrize("values", [3, 10**6])
def test_nms_orders_many_boxes(n: int, values: int) -> None:
    scores = np.random.default_rng(n).integers(-values, values, n).astype(np.float32)
    expected = sorted(range(n), key=lambda i: -scores[i])
    assert nms(apart(n), scores, 0.5).tolist() == expected


def test_nms_of_equal_scores_keeps_the_earlier_box() -> None:
    boxes = [(0, 0, 10, 10), (1, 0, 11, 10), (0, 0, 10, 10), (50, 50, 60, 60)]
    assert nms(boxes, [0.5] * 4, 0.5).tolist() == [0, 3]


def test_nms_at_the_threshold_keeps_both() -> None:
    boxes = [(0, 0, 4, 4), (0, 0, 4, 2)]
    assert nms(boxes, [1, 0.5], 0.5).tolist() == [0, 1]
    assert nms(boxes, [1, 0.5], np.nextafter(np.float32(0.5), np.float32(0))).tolist() == [0]


def test_nms_by_the_smaller_area_drops_a_box_within_another() -> None:
    boxes = [(0, 0, 100, 100), (40, 40, 50, 50)]
    assert nms(boxes, [0.9, 0.8], 0.7).tolist() == [0, 1]
    assert nms(boxes, [0.9, 0.8], 0.7, "min").tolist() == [0]


# Windows of a grid

Levels = tuple[list[np.ndarray], np.ndarray]


@st.composite
def grids(draw: st.DrawFn) -> Levels:
    """For each level columns and rows (n, 2), or wider with NaN in what is not theirs; and the scales of the levels."""
    counts = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    scale, place = st.floats(0.01, 4), st.integers(0, 5000)
    found = []
    for n in counts:
        level = np.full((n, draw(st.integers(2, 7))), np.nan, np.float32)
        level[:, :2] = np.array(draw(st.lists(st.tuples(place, place), min_size=n, max_size=n))).reshape(n, 2)
        found.append(level)
    return found, np.array(draw(st.lists(st.tuples(scale, scale), min_size=len(counts), max_size=len(counts))))


def slow_windows(
    found: list[np.ndarray], scales: np.ndarray, stride: float, margin: float, window: float
) -> np.ndarray:
    out = []
    for level, (across, down) in zip(found, scales.tolist(), strict=True):
        for column, row in level[:, :2].tolist():
            x, y = margin + column * stride, margin + row * stride
            out.append((x / across, y / down, (x + window) / across, (y + window) / down))
    return np.array(out).reshape(-1, 4).astype(np.float32)


@given(grids(), st.integers(1, 8), quarters, st.integers(1, 48))
def test_window_boxes_follow_the_rule_level_after_level(
    levels: Levels, stride: int, margin: float, window: int
) -> None:
    boxes = _native.window_boxes(*levels, stride, margin, window)
    assert boxes.dtype == np.float32
    np.testing.assert_array_equal(boxes, slow_windows(*levels, stride, margin, window))


def test_windows_by_hand() -> None:
    levels = [[(0, 0), (3, 1)], np.empty((0, 9)), [(1, 2, np.nan)]]
    boxes = _native.window_boxes(levels, [(1, 1), (3, 3), (0.5, 0.25)], 2, -1.5, 10)
    assert boxes.tolist() == [[-1.5, -1.5, 8.5, 8.5], [4.5, 0.5, 14.5, 10.5], [1, 10, 21, 50]]


def test_levels_without_windows_have_no_boxes() -> None:
    boxes = _native.window_boxes([np.empty((0, 2))] * 3, np.ones((3, 2)), 2, 0, 12)
    assert (boxes.shape, boxes.dtype) == ((0, 4), np.float32)


# Box deltas


def slow_deltas(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    out = []
    with np.errstate(invalid="ignore"):
        for box, moves in zip(boxes.astype(float), offsets.astype(float), strict=True):
            width, height = box[2] - box[0], box[3] - box[1]
            out.append(box + moves * (width, height, width, height))
    return np.array(out).reshape(-1, 4)


@given(scored_boxes(anything), st.randoms(use_true_random=False))
def test_box_deltas_move_edges(given_boxes: tuple[np.ndarray, np.ndarray], random: Random) -> None:
    boxes = given_boxes[0]
    offsets = np.array([[random.uniform(-2, 2) for _ in range(4)] for _ in boxes], np.float32).reshape(-1, 4)
    kept, moved, _ = _native.candidates(boxes, offsets, np.zeros(len(boxes)), 0, [])
    np.testing.assert_allclose(moved, slow_deltas(boxes, offsets)[kept], rtol=1e-5, atol=0.02)


def test_box_deltas_by_hand() -> None:
    _, moved, _ = _native.candidates([(10, 20, 30, 60)], [(0.5, 0.25, 0.5, -0.25)], [0], 0, [])
    assert moved.tolist() == [[20, 30, 40, 50]]


# Squares and expansion


@given(scored_boxes())
def test_square_has_the_longer_side_and_the_same_centre(given_boxes: tuple[np.ndarray, np.ndarray]) -> None:
    boxes = given_boxes[0]
    before = boxes.copy()
    expected = []
    for x1, y1, x2, y2 in boxes.tolist():
        x, y, half = (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) / 2
        expected.append((x - half, y - half, x + half, y + half))
    squares = _native.square(boxes)
    assert squares.dtype == np.float32
    np.testing.assert_array_equal(squares, np.array(expected).reshape(-1, 4))
    np.testing.assert_array_equal(boxes, before)


def test_square_by_hand() -> None:
    assert _native.square([(10, 20, 30, 60), (0, 0, 8, 2)]).tolist() == [[0, 20, 40, 60], [0, -3, 8, 5]]


@given(scored_boxes(anything), st.floats(0, 4))
def test_expand_scales_about_the_centre(given_boxes: tuple[np.ndarray, np.ndarray], context: float) -> None:
    boxes = given_boxes[0]
    before = boxes.copy()
    expanded = _native.expand(boxes, context)
    assert (expanded.dtype, expanded.shape) == (np.float64, boxes.shape)
    expected = []
    for x1, y1, x2, y2 in boxes.tolist():
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        expected.append(
            [x + (x1 - x) * context, y + (y1 - y) * context, x + (x2 - x) * context, y + (y2 - y) * context]
        )
    np.testing.assert_allclose(expanded, np.array(expected).reshape(-1, 4), rtol=1e-12, atol=1e-9)
    np.testing.assert_array_equal(boxes, before)


def test_expand_by_hand() -> None:
    assert _native.expand([(10, 20, 30, 60)], 1.5).tolist() == [[5, 10, 35, 70]]
    assert _native.expand([(1, 2, 4, 3)], 1).tolist() == [[1, 2, 4, 3]]


@pytest.mark.parametrize("call", [_native.square, lambda boxes: _native.expand(boxes, 2)], ids=["square", "expand"])
def test_nothing_grows_to_nothing(call: Callable[[np.ndarray], np.ndarray]) -> None:
    assert call(np.empty((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.float16])
def test_any_number_type_and_layout_will_do(dtype: type) -> None:
    boxes = np.array([(0, 0, 10, 10), (1, 1, 11, 11), (40, 40, 50, 50)], dtype)
    backwards = np.asfortranarray(boxes[::-1])
    assert nms(backwards, [0.1, 0.2, 0.3], 0.5).tolist() == [2, 0]
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


# Fused logits

logit = st.floats(-50, 50, width=32)


@given(st.lists(st.tuples(logit, logit, logit), max_size=20), st.floats(0, 4), st.integers(0, 3))
def test_fused_logits_are_a_weighted_mean(rows: list[tuple[float, ...]], share: float, more: int) -> None:
    table = np.array(rows, np.float32).reshape(-1, 3)
    outputs = np.concatenate([table[:, :2], np.full((len(rows), more), np.nan, np.float32)], axis=1)
    before = table[:, 2].copy()
    found = _native.fuse_logits(outputs, before, share)
    assert (found.dtype, found.shape) == (np.float32, (len(rows),))
    expected = [(face - background + share * earlier) / (1 + share) for background, face, earlier in rows]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(before, table[:, 2])


def test_fused_logits_by_hand() -> None:
    assert _native.fuse_logits([(1, 4), (-2, -3)], [5, -0.5], 0).tolist() == [3, -1]
    assert _native.fuse_logits([(1, 4), (-2, -3)], [5, -0.5], 1).tolist() == [4, -0.75]
    assert _native.fuse_logits(np.empty((0, 2)), [], 0.5).shape == (0,)


# Candidates

Overlaps = list[tuple[float, Literal["union", "min"]]]

# Integer windows and offsets of quarters: all that the core computes from them is exact.
integers = st.integers(-20, 20).map(float)
some_logits = st.sampled_from([np.nan, -np.inf, -1.0, 0.0, 0.1, 2.5, np.inf])
thresholds = st.sampled_from([-np.inf, -1.0, 0.1, 2.5, np.inf])
overlaps_lists = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0]), st.sampled_from(["union", "min"])), max_size=3
)


@st.composite
def scored_windows(
    draw: st.DrawFn, edges: st.SearchStrategy[float], moves: st.SearchStrategy[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows (n, 4), most of them with an inside, offsets (n, 4) and logits (n,) with many ties, some of them NaN."""
    rows = draw(st.lists(st.tuples(*[edges] * 4, *[moves] * 4, some_logits), max_size=20))
    table = np.array(rows, np.float32).reshape(-1, 9)
    windows = table[:, :4].copy()
    if draw(st.integers(0, 3)):
        windows = np.concatenate(
            [np.minimum(windows[:, :2], windows[:, 2:]), np.maximum(windows[:, :2], windows[:, 2:])], 1
        )
    return windows, table[:, 4:8].copy(), table[:, 8].copy()


def slow_candidates(
    windows: np.ndarray, offsets: np.ndarray, logits: np.ndarray, threshold: float, overlaps: Overlaps
) -> tuple[list[int], np.ndarray]:
    """Which windows are left, best first, and the box of every window."""
    boxes, least = slow_deltas(windows, offsets), np.float32(threshold)
    left = [i for i in range(len(boxes)) if logits[i] >= least and is_candidate(boxes[i])]
    left.sort(key=lambda i: -logits[i])
    for overlap_threshold, mode in overlaps:
        left = [left[k] for k in slow_nms(boxes[left], logits[left], overlap_threshold, mode)]
    return left, boxes


def check_candidates(scored: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float, overlaps: Overlaps) -> None:
    """Every SIMD level gives the slow answer and leaves its arguments unchanged."""
    expected, boxes = slow_candidates(*scored, threshold, overlaps)
    before = [array.copy() for array in scored]
    for level in [None, *_native.simd_levels()]:
        kept, found, logits = _native.candidates(*scored, threshold, overlaps, level)
        assert (kept.dtype, found.dtype, logits.dtype) == (np.int64, np.float32, np.float32)
        assert kept.tolist() == expected
        np.testing.assert_array_equal(found, boxes[expected])
        np.testing.assert_array_equal(logits, scored[2][expected])
    for array, copy in zip(scored, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@given(scored_windows(integers, st.integers(-4, 4).map(lambda n: n / 4)), thresholds, overlaps_lists)
def test_candidates_follow_the_rule_on_every_level(
    scored: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float, overlaps: Overlaps
) -> None:
    check_candidates(scored, threshold, overlaps)


edges_at_the_limits = st.sampled_from(
    [
        0.0,
        0.5,
        1.0,
        1.25,
        20.0,
        2.0**18 - 1,
        2.0**18,
        2.0**18 + 0.25,
        -(2.0**18),
        -(2.0**18) - 1,
        3e38,
        np.inf,
        -np.inf,
        np.nan,
    ]
)


@given(scored_windows(edges_at_the_limits, st.sampled_from([0.0, 0.25, -0.5, np.nan, np.inf, 3e38])), thresholds)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_only_boxes_are_candidates(scored: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float) -> None:
    """Neither those that are inside out or thin nor those far away, infinite or NaN."""
    check_candidates(scored, threshold, [])


@pytest.mark.parametrize("level", _native.simd_levels())
def test_candidates_of_many_windows(level: str) -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 200, (300, 2))
    windows = np.hstack([corners, corners + rng.integers(1, 60, (300, 2))]).astype(np.float32)
    offsets, logits = rng.integers(-2, 3, (300, 4)) / 8, rng.integers(-10, 40, 300) / 8
    expected, boxes = slow_candidates(windows, offsets, logits, 0.5, [(0.6, "union"), (0.8, "min")])
    kept, found, left = _native.candidates(windows, offsets, logits, 0.5, [(0.6, "union"), (0.8, "min")], level)
    assert 20 < len(expected) < 250
    assert kept.tolist() == expected
    np.testing.assert_array_equal(found, boxes[expected])
    np.testing.assert_array_equal(left, logits[expected])


def candidates_of(boxes: object, logits: object, threshold: float, overlaps: Overlaps) -> list[int]:
    windows = np.array(boxes, np.float32).reshape(-1, 4)
    kept, found, left = _native.candidates(windows, np.zeros_like(windows), logits, threshold, overlaps)
    np.testing.assert_array_equal(found, windows[kept])
    np.testing.assert_array_equal(left, np.array(logits, np.float32)[kept])
    return kept.tolist()


def test_candidates_at_the_threshold_stay_and_nan_goes() -> None:
    logits = np.array([0.1, np.nan, np.nextafter(np.float32(0.1), np.float32(0)), 7, np.inf, -np.inf], np.float32)
    assert candidates_of(apart(6), logits, 0.1, []) == [4, 3, 0]
    assert candidates_of(apart(6), logits, -np.inf, []) == [4, 3, 0, 2, 5]
    assert candidates_of(apart(6), logits, np.inf, []) == [4]


def test_candidates_with_equal_logits_stay_in_order() -> None:
    boxes = [(0, 0, 10, 10), (40, 40, 50, 50), (1, 0, 11, 10), (40, 40, 50, 50), (80, 0, 90, 10)]
    assert candidates_of(boxes, [1, 1, 1, 1, 2], 0, []) == [4, 0, 1, 2, 3]
    assert candidates_of(boxes, [1, 1, 1, 1, 2], 0, [(0.5, "union")]) == [4, 0, 1]


def test_the_first_overlap_comes_first() -> None:
    """The second box goes by the union with the first, but only as long as it stays does the third go within it."""
    boxes, logits = [(0, 0, 8, 8), (3, 0, 11, 8), (9, 2, 11, 4)], [3, 2, 1]
    assert candidates_of(boxes, logits, 0, [(0.4, "union"), (0.7, "min")]) == [0, 2]
    assert candidates_of(boxes, logits, 0, [(0.7, "min"), (0.4, "union")]) == [0]
    assert candidates_of(boxes, logits, 0, [(0.4, "union")]) == [0, 2]
    assert candidates_of(boxes, logits, 0, [(0.7, "min")]) == [0, 1]
    assert candidates_of(boxes, logits, 0, []) == [0, 1, 2]


def test_what_is_left_out_suppresses_nothing() -> None:
    """Neither a box that is too thin nor one with NaN for a logit."""
    boxes = [(0, 0, 0.5, 10), (0, 0, 10, 10), (0, 0, 10, 10), (0, 0, np.inf, 10)]
    assert candidates_of(boxes, [9, np.nan, 1, 8], 0, [(0.1, "min")]) == [2]


def test_candidates_have_a_pixel_and_are_not_far() -> None:
    below, beyond = np.nextafter(np.float32(1), np.float32(0)), np.nextafter(np.float32(2**18), np.float32(np.inf))
    boxes = [
        (0, 0, 1, 1),
        (0, 0, below, 1),
        (0, 0, 1, below),
        (1, 1, 0, 0),
        (2**18 - 1, 0, 2**18, 9),
        (2**18 - 1, 0, beyond, 9),
        (0, -(2**18), 9, 5),
        (0, -beyond, 9, 5),
    ]
    assert candidates_of(boxes, [0] * len(boxes), 0, []) == [0, 4, 6]


@pytest.mark.parametrize(
    ("windows", "logits", "threshold"),
    [
        (np.empty((0, 4)), [], 0),
        ([(0, 0, 9, 9)], [1], 2),
        ([(9, 9, 0, 0)], [1], 0),
        ([(0, 0, 9, 9)], [np.nan], -np.inf),
    ],
    ids=["no windows", "below the threshold", "inside out", "nan"],
)
@pytest.mark.parametrize("overlaps", [[], [(0.5, "union")], [(0.4, "union"), (0.7, "min")]])
def test_no_candidates(windows: Any, logits: Any, threshold: float, overlaps: Overlaps) -> None:
    kept, boxes, left = _native.candidates(windows, np.zeros(np.shape(windows)), logits, threshold, overlaps)
    assert (kept.shape, boxes.shape, left.shape) == ((0,), (0, 4), (0,))
    assert (kept.dtype, boxes.dtype, left.dtype) == (np.int64, np.float32, np.float32)
