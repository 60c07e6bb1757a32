"""Lines through 68 points, and labels beside faces."""

from __future__ import annotations

import numpy as np

from cascade.imaging.annotation import CONTOURS, draw_contours, draw_labels
from tests.random_attributes import drawn_shape

GRAY = np.full((240, 320, 3), 110, np.uint8)


def changed(image: np.ndarray, before: np.ndarray = GRAY) -> np.ndarray:
    return (image != before).any(axis=2)


def test_every_point_is_on_a_line() -> None:
    assert sorted({point for contour in CONTOURS for point in contour}) == list(range(68))


def test_lines_are_white_where_the_points_are() -> None:
    points = drawn_shape()[None] * 200 + (40, 10)
    drawn = draw_contours(GRAY, points)
    for x, y in points[0, [0, 8, 19, 30, 39, 51]]:
        assert drawn[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].max() > 200
    assert not changed(drawn)[:, :30].any() and (GRAY == 110).all()


def test_a_face_without_points_or_outside_has_no_lines() -> None:
    missing = np.full((1, 68, 2), np.nan)
    outside = drawn_shape()[None] * 100 + 5000
    assert not changed(draw_contours(GRAY, np.concatenate([missing, outside]))).any()
    assert draw_contours(GRAY, np.empty((0, 68, 2))).shape == GRAY.shape
    partly = draw_contours(GRAY, drawn_shape()[None] * 200 - 60)
    assert changed(partly).any()


def test_a_label_is_below_its_face_and_hides_none() -> None:
    boxes = np.array([[20.0, 20, 120, 120], [20, 125, 120, 225]])
    hidden = changed(draw_labels(GRAY, boxes, [["34 years"], []]))
    assert hidden.any()
    for x1, y1, x2, y2 in boxes.astype(int):
        assert not hidden[y1:y2, x1:x2].any()
    below = changed(draw_labels(GRAY, boxes[:1], [["34 years", "happy"]]))
    assert below[121:].any() and not below[:121].any()


def test_labels_do_not_overlap() -> None:
    boxes = np.array([[20.0, 20, 100, 100], [60, 20, 140, 100]])
    both = changed(draw_labels(GRAY, boxes, [["34 years"], ["61 years"]]))
    one, other = (changed(draw_labels(GRAY, boxes[[at]], [["34 years"]])) for at in (0, 1))
    assert both.sum() > 1.5 * max(one.sum(), other.sum())


def test_where_not_all_lines_have_room_the_first_ones_stay() -> None:
    box = np.array([[0.0, 0, 320, 205]])
    few, many = (changed(draw_labels(GRAY, box, [["34 years", *more]])) for more in ([], ["happy", "smiling", "long"]))
    assert few.any() and many.any() and not many[:100].any()


def test_a_label_without_room_is_left_out() -> None:
    tiny = GRAY[:20, :20]
    assert not changed(draw_labels(tiny, np.array([[0.0, 0, 20, 20]]), [["a long text", "and more"]]), tiny).any()
    outside = np.array([[-50.0, -50, -10, -10], [400, 10, 500, 60]])
    assert draw_labels(GRAY, outside, [["a"], ["b"]]).shape == GRAY.shape
