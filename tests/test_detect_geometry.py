"""Where windows lie, how boxes grow, and which levels a pyramid has: no weights are needed for that."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.detect import square, widen, window_boxes
from cascade.imaging.pyramid import level_sizes
from cascade.nn.architectures import ARCHITECTURES, Architecture, Layer


def test_windows_lie_where_the_network_looked() -> None:
    """A window's centre is the middle of its input, half a field from the padded corner."""
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


edges = st.floats(-1000, 1000, width=32)


@given(st.tuples(*[edges] * 4), st.floats(1, 3))
def test_widening_keeps_the_centre(box: tuple[float, ...], context: float) -> None:
    boxes = np.array([box])
    wide = widen(boxes.astype(np.float32), context)
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide[:, :2] + wide[:, 2:], boxes[:, :2] + boxes[:, 2:], atol=1e-6)
    np.testing.assert_allclose(wide[:, 2:] - wide[:, :2], context * (boxes[:, 2:] - boxes[:, :2]), atol=1e-6)


def test_squares_have_the_longer_side() -> None:
    np.testing.assert_array_equal(
        square(np.array([(0, 0, 10, 20), (5, 5, 9, 7)], np.float32)), [(-5, 0, 15, 20), (5, 4, 9, 8)]
    )


def test_levels_shrink_from_the_smallest_face_to_the_whole_photo() -> None:
    sizes = level_sizes(640, 480, 20, None, 12, 0.709)
    assert sizes[0] == (384, 288)
    for (width, height), (next_width, next_height) in pairwise(sizes):
        assert next_width == pytest.approx(width * 0.709, abs=1)
        assert next_height == pytest.approx(height * 0.709, abs=1)
    assert min(sizes[-1]) >= round(12 * 0.6)
    assert min(sizes[-1]) * 0.709 < 12 * 0.6 + 1


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.floats(4, 1e6),
    st.one_of(st.none(), st.floats(4, 1e9)),
    st.floats(0.5, 0.95),
)
def test_levels_are_few_and_have_pixels(
    width: int, height: int, min_face: float, max_face: float | None, factor: float
) -> None:
    sizes = level_sizes(width, height, min_face, max_face, 12, factor)
    assert len(sizes) < 200
    assert all(w >= 1 and h >= 1 for w, h in sizes)
