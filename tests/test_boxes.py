"""Intersection over union."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cascade.boxes import iou


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
