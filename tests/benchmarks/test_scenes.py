"""Scenes show the faces that they are made of, where they say, and are the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scenes import SCENES, compose, grid, letterbox, scene
from cascade.boxes import iou
from cascade.detect import Detector
from tests.photos import portrait


def test_scenes_have_0_1_6_and_26_faces():
    assert sorted(SCENES.values()) == [0, 1, 6, 26]
    for name, faces in SCENES.items():
        made = scene(name, 160, 120)
        assert made.image.shape == (120, 160, 3) and made.image.dtype == np.uint8
        assert made.boxes.shape == (faces, 4) and made.boxes.dtype == np.float32


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("size", [(640, 480), (500, 700)])
def test_detector_finds_the_faces_where_they_are(name, size):
    made = scene(name, *size)
    found = Detector(threads=1).detect(made.image)
    assert len(found) == len(made.boxes)
    if len(found):
        assert (iou(made.boxes, found.boxes).max(axis=1) > 0.6).all()


def test_scenes_are_the_same_every_time_and_share_a_background():
    again, once, empty = scene("one", 200, 150), scene("one", 200, 150), scene("none", 200, 150)
    assert (once.image == again.image).all() and (once.boxes == again.boxes).all()
    changed = (once.image != empty.image).any(axis=2)
    assert changed.mean() > 0.1 and not changed[:, -10:].any()
    assert empty.image.std(axis=(0, 1)).min() > 10  # textured, not plain


def test_heads_stay_inside_the_picture_and_apart():
    made = scene("group", 640, 480)
    assert (made.boxes[:, :2] >= 0).all() and (made.boxes[:, 2:] <= (640, 480)).all()
    overlaps = iou(made.boxes, made.boxes) - np.eye(len(made.boxes))
    assert abs(overlaps).max() < 1e-6


def test_every_second_head_is_mirrored():
    made = compose(2, 800, 400, cells=(2, 1))
    first, second = (made.image[int(y1) : int(y2), int(x1) : int(x2)] for x1, y1, x2, y2 in made.boxes)
    first, second = letterbox(first, 100, 120).astype(int), letterbox(second, 100, 120).astype(int)
    assert abs(first - second[:, ::-1]).mean() < 0.7 * abs(first - second).mean()


def test_fewer_cells_make_larger_faces():
    six, few = scene("six", 640, 480).boxes, compose(6, 640, 480, cells=grid(26, 640, 480)).boxes
    assert (few[:, 3] - few[:, 1]).max() < (six[:, 3] - six[:, 1]).min()
    assert grid(26, 640, 480)[0] * grid(26, 640, 480)[1] >= 26
    assert grid(6, 900, 100) == (6, 1) and grid(6, 100, 900) == (1, 6)


@pytest.mark.parametrize(("size", "inner"), [((100, 100), (0, 25, 100, 75)), ((400, 100), (100, 0, 300, 100))])
def test_letterbox_shows_all_of_a_photo_in_its_proportions(size, inner):
    wide = np.zeros((50, 100, 3), np.uint8)
    wide[:, 50:] = 250
    fitted = letterbox(wide, *size)
    x1, y1, x2, y2 = inner
    assert fitted.shape == (size[1], size[0], 3)
    middle = (x1 + x2) // 2
    assert (fitted[y1:y2, x1 : middle - 3] == 0).all() and (fitted[y1:y2, middle + 3 : x2] == 250).all()
    fitted[y1:y2, x1:x2] = 128
    assert (fitted == 128).all()


def test_letterboxed_face_is_where_the_portrait_s_is():
    usual = Detector(threads=1).detect(portrait()).boxes / 2 + (72, 0, 72, 0)
    assert iou(usual, Detector(threads=1).detect(letterbox(portrait(), 400, 256)).boxes).max() > 0.7


def test_wrong_scenes_say_what_is_wrong():
    with pytest.raises(ValueError, match="one of none, one, six, group"):
        scene("two", 64, 64)
    with pytest.raises(ValueError, match="0 × 64"):
        scene("one", 0, 64)
    with pytest.raises(ValueError, match="expected 0 to 2 in 2 × 1 cells, got 3"):
        compose(3, 64, 64, cells=(2, 1))
    with pytest.raises(ValueError, match="size"):
        letterbox(portrait(), 64, 10**6)
