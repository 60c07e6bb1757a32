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
    (result,), broken = measure([photo], finder, Hiding(), [0.9])
    assert not broken
    assert (result.faces, result.hidden, result.recall) == (2, 1, 0.5)
    assert 0 < result.outside < 0.03
    assert result.by_photo == pytest.approx(result.outside)
    outside = 512 * 512 - sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (FACE_BOX, FAR_AWAY, SMALL))
    assert result.outside_pixels == outside


def test_lower_scores_hide_no_less(finder):
    curve, _ = measure([labelled([FACE_BOX])], finder, Hiding(), SCORES)
    assert [each.min_score for each in curve] == list(SCORES)
    assert (np.diff([each.hidden for each in curve]) <= 0).all()
    assert (np.diff([each.outside_hidden for each in curve]) <= 0).all()


def test_a_shape_that_is_too_small_hides_no_face(finder):
    (result,), _ = measure([labelled([(100, 0, 350, 300)])], finder, Hiding(), [0.5])
    assert result.hidden == 0


def test_a_photo_without_labels(finder):
    (result,), _ = measure([labelled(np.empty((0, 4)))], finder, Hiding(), [0.5])
    assert result.faces == 0
    assert np.isnan(result.recall)


def test_a_photo_that_cannot_be_read_is_told(finder, tmp_path):
    (tmp_path / "b.jpg").write_text("no photo")
    broken_photo = Photo(tmp_path / "b.jpg", "b.jpg", [FACE_BOX], [False], np.full((1, 5, 2), np.nan), True)
    (result,), broken = measure([labelled([FACE_BOX]), broken_photo], finder, Hiding(), [0.5])
    assert result.faces == 1
    assert list(broken) == ["b.jpg"]
    with pytest.raises(ValueError, match="none of the 1 photos can be read"):
        measure([broken_photo], finder, Hiding(), [0.5])
