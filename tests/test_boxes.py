"""Boxes: their overlap, their squares, and where P-Net's windows lie."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cascade.boxes import expand, iou, square, window_boxes
from cascade.nn.architectures import ARCHITECTURES, Architecture, Layer


def test_by_hand() -> None:
    boxes = [[0, 0, 4, 4], [10, 10, 10, 10]]
    others = [[0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4], [10, 10, 10, 10]]
    expected = [[1, 8 / 24, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(iou(boxes, others), expected)


def test_no_boxes() -> None:
    assert iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert iou([[0, 0, 1, 1]], []).shape == (1, 0)


corners = st.tuples(*[st.integers(0, 12)] * 4).map(lambda c: (c[0], c[1], c[0] + c[2] + 1, c[1] + c[3] + 1))


@given(corners, corners)
def test_equals_counting_cells(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    cells = np.zeros((2, 30, 30), bool)
    cells[0, a[1] : a[3], a[0] : a[2]] = cells[1, b[1] : b[3], b[0] : b[2]] = True
    expected = cells.all(axis=0).sum() / cells.any(axis=0).sum()
    np.testing.assert_allclose(iou([a], [b]), [[expected]])
    np.testing.assert_allclose(iou([b], [a]), [[expected]])


def test_windows_lie_where_the_network_looked() -> None:
    """A window's centre is the centre of its receptive field."""
    for architecture in (ARCHITECTURES["default"]["pnet"], ARCHITECTURES["paper"]["pnet"]):
        found = np.array([(0, 0, 1.0), (3, 2, 1.0)])
        boxes = window_boxes([found], architecture, np.array([(0.5, 0.25)]))
        assert boxes.dtype == np.float32
        centres = found[:, :2] * architecture.stride - architecture.padding + architecture.input_size / 2
        np.testing.assert_allclose((boxes[:, :2] + boxes[:, 2:]) / 2, centres / (0.5, 0.25))
        sides = boxes[:, 2:] - boxes[:, :2]
        np.testing.assert_allclose(sides, architecture.window / np.array([(0.5, 0.25)] * 2))


def test_the_window_of_the_corner_touches_it() -> None:
    architecture = Architecture("hand", "pnet", 20, 10, (Layer("conv", 3, 2, 6),))
    assert architecture.padding == 5
    np.testing.assert_array_equal(window_boxes([np.zeros((1, 3))], architecture, np.ones((1, 2))), [(0, 0, 10, 10)])


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=4),
            st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_windows_of_several_levels_are_those_of_each_in_order(
    levels: list[tuple[list[tuple[int, int]], tuple[float, float]]],
) -> None:
    architecture = ARCHITECTURES["default"]["pnet"]
    found = [np.array(places, np.float32).reshape(-1, 2) for places, _ in levels]
    scales = np.array([scale for _, scale in levels])
    together = window_boxes(found, architecture, scales)
    apart = [window_boxes([level], architecture, scale[None]) for level, scale in zip(found, scales, strict=True)]
    np.testing.assert_array_equal(together, np.concatenate(apart))
    sides = [
        (architecture.window / scale).tolist() for places, scale in zip(found, scales, strict=True) for _ in places
    ]
    np.testing.assert_allclose(together[:, 2:] - together[:, :2], np.reshape(sides, (-1, 2)), rtol=1e-4)


EDGES = st.floats(-1000, 1000, width=32)


@given(st.tuples(*[EDGES] * 4), st.floats(1, 3))
def test_expanding_keeps_the_centre(box: tuple[float, ...], context: float) -> None:
    boxes = np.array([box])
    wide = expand(boxes.astype(np.float32), context)
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide[:, :2] + wide[:, 2:], boxes[:, :2] + boxes[:, 2:], atol=1e-6)
    np.testing.assert_allclose(wide[:, 2:] - wide[:, :2], context * (boxes[:, 2:] - boxes[:, :2]), atol=1e-6)


def test_squares_have_the_longer_side() -> None:
    np.testing.assert_array_equal(
        square(np.array([(0, 0, 10, 20), (5, 5, 9, 7)], np.float32)), [(-5, 0, 15, 20), (5, 4, 9, 8)]
    )
