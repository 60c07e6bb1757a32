"""Which labelled faces are hidden, and how much beside them, on a photo whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.anonymize import FaceFinder, Hiding
from cascade.datasets import Photo
from eval.anonymize.coverage import SCORES, measure
from tests.photos import FACE_BOX, PORTRAIT

FAR_AWAY = (400.0, 400.0, 450.0, 460.0)
SMALL = (10.0, 480.0, 25.0, 500.0)


def labelled(boxes, ignored=None) -> Photo:
    count = len(boxes)
    ignored = [False] * count if ignored is None else ignored
    return Photo(PORTRAIT, "a.jpg", boxes, ignored, np.full((count, 5, 2), np.nan), True)


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(min_face=40, mirrored=False, rotations=(0,), threads=1)


def test_a_found_face_is_hidden_and_a_missed_one_is_not(finder):
    photo = labelled([FACE_BOX, FAR_AWAY, SMALL, FAR_AWAY], [False, False, False, True])
    (result,) = measure([photo], finder, Hiding(), [0.9])
    assert (result.faces, result.hidden, result.recall) == (2, 1, 0.5)
    assert 0 < result.outside < 0.03
    assert result.by_photo == pytest.approx(result.outside)
    outside = 512 * 512 - sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (FACE_BOX, FAR_AWAY, SMALL))
    assert result.outside_pixels == outside


def test_lower_scores_hide_no_less(finder):
    curve = measure([labelled([FACE_BOX])], finder, Hiding(), SCORES)
    assert [each.min_score for each in curve] == list(SCORES)
    assert (np.diff([each.hidden for each in curve]) <= 0).all()
    assert (np.diff([each.outside_hidden for each in curve]) <= 0).all()


def test_a_shape_that_is_too_small_hides_no_face(finder):
    (result,) = measure([labelled([(100, 0, 350, 300)])], finder, Hiding(), [0.5])
    assert result.hidden == 0


def test_a_photo_without_labels(finder):
    (result,) = measure([labelled(np.empty((0, 4)))], finder, Hiding(), [0.5])
    assert result.faces == 0
    assert np.isnan(result.recall)
