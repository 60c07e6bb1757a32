"""What hides a face: nothing else changes, and it depends on the face as little as is said."""

from __future__ import annotations

import numpy as np
import pytest

from cascade import Detector, Recognizer
from cascade.anonymize import METHODS, Hiding, anonymize, hide
from cascade.anonymize.methods import draw_noise
from cascade.anonymize.settings import SHAPES
from cascade.anonymize.shapes import area_of, faces_of, hidden_pixels
from cascade.boxes import iou
from tests.photos import FACE_BOX, PORTRAIT, portrait, portrait_faces

NO_NOISE = [0 * draw_noise()]


@pytest.mark.parametrize("method", METHODS)
def test_only_the_area_of_the_face_changes(method):
    hiding = Hiding(method=method)
    hidden = hide(portrait(), portrait_faces(), hiding)
    left, top, right, bottom = area_of(FACE_BOX, 512, 512, hiding).box
    changed = (hidden != portrait()).any(axis=2)
    x1, y1, x2, y2 = map(int, FACE_BOX)
    assert changed[y1:y2, x1:x2].mean() > 0.9
    changed[top:bottom, left:right] = False
    assert not changed.any()


@pytest.mark.parametrize("shape", [None, *SHAPES])
@pytest.mark.parametrize("method", ["solid", "drawn"])
def test_nothing_of_the_face_is_in_the_result(method, shape):
    hiding = Hiding(method=method, shape=shape)
    hidden = hidden_pixels([FACE_BOX], 512, 512, hiding)
    other = portrait().copy()
    other[hidden] = np.random.default_rng(0).integers(0, 256, (hidden.sum(), 3), np.uint8)
    np.testing.assert_array_equal(hide(other, portrait_faces(), hiding), hide(portrait(), portrait_faces(), hiding))


@pytest.mark.parametrize("method", ["blur", "pixelate"])
def test_faces_of_equal_cells_give_the_same_result(method):
    """What is hidden depends on the face through the means of its cells alone."""
    image = np.full((96, 96, 3), 120, np.uint8)
    checks = image.copy()
    checks[::2, ::2] += 20
    checks[1::2, 1::2] += 20
    checks[::2, 1::2] -= 20
    checks[1::2, ::2] -= 20
    hiding = Hiding(method=method, shape="box", margin=0, padding=0, feather=0, cells=4)
    faces = faces_of([(16, 16, 80, 80)])
    plain, checked = (hide(each, faces, hiding, NO_NOISE)[16:80, 16:80].astype(int) for each in (image, checks))
    assert np.abs(plain - checked).max() <= 1  # rounding


def test_pixels_are_as_many_as_the_cells():
    hiding = Hiding(method="pixelate", shape="box", margin=0, padding=0, feather=0, cells=4)
    part = hide(portrait(), faces_of([(180, 60, 260, 140)]), hiding)[60:140, 180:260]
    assert len(np.unique(part.reshape(-1, 3), axis=0)) <= 16
    assert (part[:20, :20] == part[0, 0]).all()


def test_the_noise_is_new_each_time_unless_it_is_given():
    faces, hiding = portrait_faces(), Hiding(method="pixelate")
    assert (hide(portrait(), faces, hiding) != hide(portrait(), faces, hiding)).any()
    noise = [draw_noise()]
    np.testing.assert_array_equal(*(hide(portrait(), faces, hiding, noise) for _ in range(2)))
    assert draw_noise().std() == pytest.approx(1, abs=0.05)
    assert abs(draw_noise().mean()) < 0.05


def test_a_solid_colour_is_that_colour():
    hidden = anonymize(portrait(), [FACE_BOX], method="solid", fill=(10, 20, 30))
    assert hidden[120, 226].tolist() == [10, 20, 30]


def test_the_portrait_is_found_and_hidden():
    hidden = anonymize(PORTRAIT, method="solid")
    assert hidden.shape == (512, 512, 3)
    assert len(Detector(threads=1).detect(portrait())) == 1
    found = Detector(threads=1).detect(hidden)
    assert not len(found) or iou(found.boxes, [FACE_BOX]).max() < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_the_recognizer_no_longer_knows_the_face(method):
    recognizer = Recognizer(threads=1)
    hidden = anonymize(portrait(), portrait_faces(), method=method)
    own, other = recognizer.embed(portrait(), portrait_faces()), recognizer.embed(hidden, portrait_faces())
    assert float(own[0] @ other[0]) < recognizer.operating_point.threshold


def test_the_image_that_came_in_is_not_changed():
    before = portrait().copy()
    anonymize(before, portrait_faces())
    np.testing.assert_array_equal(before, portrait())


def test_no_faces_leave_the_image_as_it_is():
    np.testing.assert_array_equal(anonymize(portrait(), []), portrait())


def test_a_drawn_face_leans_with_the_face():
    upright = faces_of([(100, 100, 200, 200)])
    leaning = type(upright)(upright.boxes, upright.scores, upright.landmarks[:, [2, 1, 0, 3, 4]])
    image = np.zeros((300, 300, 3), np.uint8)
    drawn = [hide(image, faces, Hiding(method="drawn")) for faces in (upright, leaning)]
    assert (drawn[0] != drawn[1]).any()
