"""Clips made of the bundled portrait, and the figures of tracks that are right, swapped or missing."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.boxes import iou
from cascade.datasets import Photo
from cascade.detect import Detector
from eval.tracking.clips import LEAST_VISIBLE, Head, camera_clip, people_clip
from eval.tracking.metrics import Followed, scores
from tests.photos import FACE_BOX, PORTRAIT, portrait


def heads() -> dict[int, list[Head]]:
    image = np.ascontiguousarray(portrait()[:230, 110:340])
    box = np.array(FACE_BOX) - np.tile([110, 0], 2)
    return {
        0: [Head(image, box)],
        1: [
            Head(np.ascontiguousarray(image[:, ::-1]), np.array([230, 0, 230, 0]) + box[[2, 1, 0, 3]] * [-1, 1, -1, 1])
        ],
    }


def test_the_truth_of_people_is_where_their_faces_are() -> None:
    detector = Detector(min_face=40, threads=1)
    background = np.full((480, 640, 3), (90, 110, 70), np.uint8)
    seen = set()
    for at, frame in enumerate(people_clip(heads(), [background], 4, seed=1)):
        seen |= set(frame.people[~frame.ignored].tolist())
        if at % 12 == 0 and (~frame.ignored).any():
            found = detector.detect(frame.image)
            assert (iou(frame.boxes[~frame.ignored], found.boxes).max(axis=1, initial=0) > 0.5).mean() >= 0.5
    assert seen == {0, 1}


def test_people_leave_and_come_back() -> None:
    background = np.zeros((480, 640, 3), np.uint8)
    there = np.array([0 in frame.people for frame in people_clip(heads(), [background], 6, seed=2)])
    changes = np.flatnonzero(np.diff(there.astype(int)))
    assert there[0]
    assert len(changes) >= 2


def test_the_same_seed_makes_the_same_clip() -> None:
    background = np.zeros((480, 640, 3), np.uint8)
    for one, other in zip(*(people_clip(heads(), [background], 0.4, seed=3) for _ in range(2)), strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.boxes, other.boxes)


def test_a_camera_moves_over_photos() -> None:
    photo = Photo(PORTRAIT, "a", np.array([FACE_BOX]), np.zeros(1, bool), np.full((1, 5, 2), np.nan), True)
    frames = list(camera_clip([photo], 3, seed=0))
    assert len(frames) == 75
    assert {frame.image.shape for frame in frames} == {(480, 640, 3)}
    boxes = np.array([frame.boxes[0] for frame in frames if len(frame.boxes)])
    assert np.ptp(boxes[:, 0]) > 20
    assert any(frame.ignored.any() for frame in frames)  # behind the pole
    assert 0 < LEAST_VISIBLE < 1


def followed(tracks: list[list[int]], shift: float = 0.0) -> list[Followed]:
    """Two people who stand still in ten frames, and the tracks of each frame."""
    boxes = np.array([[0, 0, 50, 50], [100, 0, 150, 50]], np.float64)
    return [
        Followed(np.array([0, 1]), boxes, np.zeros(2, bool), np.array(some), boxes[: len(some)] + shift)
        for some in tracks
    ]


def test_figures_of_tracks() -> None:
    pytest.importorskip("trackeval")
    right = scores([followed([[1, 2]] * 10)])
    assert (right["mota"], right["idf1"], right["hota"], right["switches"]) == (100, 100, 100, 0)
    swapped = scores([followed([[1, 2]] * 5 + [[2, 1]] * 5)])
    assert swapped["switches"] == 2
    assert swapped["mota"] == pytest.approx(90)
    assert swapped["idf1"] == pytest.approx(50)
    missing = scores([followed([[1]] * 10)])
    assert missing["misses"] == 10
    assert missing["mota"] == pytest.approx(50)
    assert scores([followed([[1, 2]] * 10, shift=200.0)])["false_alarms"] == 20


def test_what_is_found_where_a_face_is_ignored_does_not_count() -> None:
    pytest.importorskip("trackeval")
    clip = followed([[1, 2]] * 10)
    ignored = [Followed(each.people, each.boxes, np.array([False, True]), each.tracks, each.found) for each in clip]
    found = scores([ignored])
    assert (found["faces"], found["false_alarms"], found["mota"]) == (10, 0, 100)
