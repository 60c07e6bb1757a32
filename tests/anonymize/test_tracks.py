"""Tracks: gaps are filled, ends extended, boxes smoothed; nothing crosses a cut."""

from __future__ import annotations

import numpy as np

from cascade import Faces
from cascade.anonymize.shapes import faces_of
from cascade.anonymize.tracks import FaceFollower


def at(x: float, score: float = 0.9) -> Faces:
    faces = faces_of([(x, 10, x + 20, 40)])
    return Faces(faces.boxes, [score], faces.landmarks)


def test_a_moving_face_is_one_track_over_a_gap():
    tracker = FaceFollower(0.5, gap=5)
    for frame in (0, 1, 2, 6, 7):
        tracker.add(frame, at(2.0 * frame), 0)
    (track,) = tracker.tracks
    frames, faces = track.filled(0, 9, extension=1)
    assert frames == tuple(range(9))
    np.testing.assert_allclose(faces.boxes[4], [8, 10, 28, 40])  # on the straight line between


def test_a_gap_that_is_too_long_ends_the_track():
    tracker = FaceFollower(0.5, gap=3)
    tracker.add(0, at(0), 0)
    tracker.add(4, at(0), 0)
    assert len(tracker.tracks) == 2


def test_a_weak_face_goes_on_with_a_track_and_begins_none():
    tracker = FaceFollower(0.5, gap=3)
    assert tracker.add(0, at(0, 0.3), 0) == [None]
    tracker.add(1, at(0), 0)
    tracker.add(2, at(1, 0.3), 0)
    assert [track.frames for track in tracker.tracks] == [[1, 2]]


def test_nothing_goes_on_across_a_cut():
    tracker = FaceFollower(0.5, gap=10)
    tracker.add(0, at(0), 0)
    tracker.add(1, at(0), 1)
    first, second = tracker.tracks
    assert first.filled(0, 0, extension=5)[0] == (0,)
    assert second.filled(1, 8, extension=5)[0] == tuple(range(1, 7))


def test_two_faces_have_a_track_each():
    tracker = FaceFollower(0.5, gap=2)
    both = faces_of([(0, 10, 20, 40), (100, 10, 120, 40)])
    tracker.add(0, both, 0)
    tracks = tracker.add(1, both[[1, 0]], 0)
    assert [track.boxes[0][0] for track in tracks] == [100, 0]


def test_trembling_boxes_become_steady_and_cover_each_of_them():
    rng = np.random.default_rng(0)
    tracker = FaceFollower(0.5, gap=2)
    boxes = np.array([50.0, 50, 90, 100]) + rng.normal(0, 1.5, (40, 4))
    for frame, box in enumerate(boxes):
        tracker.add(frame, faces_of([box]), 0)
    smooth = tracker.tracks[0].filled(0, 39, extension=0)[1].boxes
    centres = [(each[:, :2] + each[:, 2:]) / 2 for each in (boxes, smooth)]
    steps = [np.abs(np.diff(each, axis=0)).mean() for each in centres]
    assert steps[1] < 0.5 * steps[0]
    shared = np.minimum(smooth[:, 2:], boxes[:, 2:]) - np.maximum(smooth[:, :2], boxes[:, :2])
    covered = shared.prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    assert covered.min() > 0.9
