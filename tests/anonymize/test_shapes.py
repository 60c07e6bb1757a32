"""The area that hides a face: covers its box, is soft outside alone, and reaches the border where the face does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.anonymize.settings import SHAPES, Hiding
from cascade.anonymize.shapes import area_of, faces_of, hidden_pixels

BOX = (30.0, 20.0, 70.0, 80.0)


@pytest.mark.parametrize("feather", [0.0, 0.3])
def test_a_box_hides_all_of_the_face(feather):
    hidden = hidden_pixels([BOX], 100, 100, Hiding(shape="box", margin=0, padding=0, feather=feather))
    expected = np.zeros((100, 100), bool)
    expected[20:80, 30:70] = True
    np.testing.assert_array_equal(hidden, expected)


def test_an_ellipse_has_the_area_of_an_ellipse():
    hidden = hidden_pixels([BOX], 100, 100, Hiding(shape="ellipse", margin=0, padding=0))
    assert hidden.sum() == pytest.approx(np.pi * 20 * 30, rel=0.02)
    assert hidden[50, 31]
    assert not hidden[22, 32]  # the corner


@pytest.mark.parametrize("shape", SHAPES)
def test_the_soft_edge_lies_outside_the_shape(shape):
    hard = Hiding(shape=shape, feather=0)
    soft = Hiding(shape=shape, feather=0.4)
    np.testing.assert_array_equal(hidden_pixels([BOX], 100, 100, hard), hidden_pixels([BOX], 100, 100, soft))
    area = area_of(BOX, 100, 100, soft)
    assert ((area.opacity > 0) & (area.opacity < 1)).sum() > 100


@pytest.mark.parametrize("shape", SHAPES)
def test_a_face_cut_off_by_the_border_is_hidden_up_to_it(shape):
    hidden = hidden_pixels([(0, 20, 40, 80)], 100, 100, Hiding(shape=shape, margin=0, padding=0))
    assert hidden[21:79, 0].all()


def test_the_usual_ellipse_leaves_little_of_the_box_visible():
    hidden = hidden_pixels([BOX], 100, 100, Hiding(method="drawn", padding=0))
    assert 0.94 < hidden[20:80, 30:70].mean() < 0.96


def test_margin_and_padding_extend_the_shape():
    hiding = Hiding(shape="box", margin=0.1, padding=3)
    rows, columns = np.nonzero(hidden_pixels([BOX], 100, 100, hiding))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (23, 76, 11, 88)


def test_a_face_outside_hides_nothing():
    assert area_of((200, 200, 240, 240), 100, 100, Hiding()) is None
    assert not hidden_pixels(np.empty((0, 4)), 10, 10, Hiding()).any()


@given(
    box=st.tuples(*[st.floats(-50, 150)] * 4),
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    shape=st.sampled_from(SHAPES),
)
def test_any_box_gives_an_area_within_the_photo(box, size, shape):
    x1, y1, x2, y2 = box
    area = area_of((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), *size, Hiding(shape=shape))
    if area is not None:
        left, top, right, bottom = area.box
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
        assert np.isfinite(area.opacity).all()


def test_boxes_become_upright_faces():
    faces = faces_of([BOX])
    assert len(faces_of([])) == 0
    assert (faces.landmarks[0] > BOX[:2]).all()
    assert (faces.landmarks[0] < BOX[2:]).all()
    with pytest.raises(ValueError, match=r"^faces: expected Faces or boxes of shape \(N, 4\)"):
        faces_of([1, 2, 3, 4])
