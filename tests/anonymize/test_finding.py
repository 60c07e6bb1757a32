"""Finding faces to hide: at several scales, mirrored, and on their sides."""

from __future__ import annotations

import numpy as np
import pytest

from cascade import Faces
from cascade.anonymize.finding import NOT_FOUND, FaceFinder, fuse
from cascade.boxes import iou
from cascade.rotations import rotate
from tests.photos import FACE_BOX, FACE_LANDMARKS, portrait, portrait_faces


def test_the_portrait_is_found_once_with_its_landmarks():
    faces = FaceFinder(min_face=40, threads=1).find(portrait())
    near = iou(faces.boxes, [FACE_BOX])[:, 0]
    assert (near > 0.4).sum() == 1
    assert near[0] > 0.6  # the best one
    assert np.abs(faces.landmarks[0] - FACE_LANDMARKS).max() < 8  # the mirror image's are in the right order


@pytest.mark.parametrize("angle", [90, 270])
def test_a_face_on_its_side_is_found(angle):
    faces = FaceFinder(min_face=40, threads=1).find(rotate(portrait(), angle))
    assert len(faces)
    assert faces.scores[0] >= 0.9


def test_scores_are_means_of_log_odds():
    face = portrait_faces()
    low = Faces(face.boxes + 2, [0.6], face.landmarks + 2)
    fused = fuse([face, low])
    assert len(fused) == 1
    odds = [0.998 / 0.002, 0.6 / 0.4]
    mean = np.sqrt(np.prod(odds))
    assert fused.scores[0] == pytest.approx(mean / (1 + mean), abs=1e-4)
    assert (fused.boxes[0] >= face.boxes[0]).all()
    assert (fused.boxes[0] <= low.boxes[0]).all()


def test_what_one_search_alone_finds_counts_less():
    face = portrait_faces()
    alone = fuse([face, Faces.empty()])
    mean = np.sqrt((0.998 / 0.002) * (NOT_FOUND / (1 - NOT_FOUND)))
    assert alone.scores[0] == pytest.approx(mean / (1 + mean), abs=1e-4)
    assert len(fuse([Faces.empty(), Faces.empty()])) == 0


def test_a_single_search_is_left_as_it_is():
    assert fuse([portrait_faces()]).scores[0] == pytest.approx(0.998)


def test_the_score_can_be_another_one():
    finder = FaceFinder(min_face=40, scales=(1,), mirrored=False, rotations=(0,), threads=1)
    assert len(finder.find(portrait(), 0.1)) >= len(finder.find(portrait())) >= len(finder.find(portrait(), 0.95)) == 1


@pytest.mark.parametrize(
    ("name", "value"), [("min_score", 0.05), ("scales", ()), ("scales", (9,)), ("rotations", (45,)), ("min_face", 1)]
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name}: expected"):
        FaceFinder(**{name: value})


def test_a_photo_too_large_to_be_enlarged_is_searched_as_it_is():
    wide = np.zeros((20, 60_000, 3), np.uint8)
    assert len(FaceFinder(scales=(1.5,), mirrored=False, rotations=(0,), threads=1).find(wide)) == 0
