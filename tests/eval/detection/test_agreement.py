"""Whether two engines find the same faces."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.detect import Detector
from cascade.faces import Faces
from eval.detection.agreement import SAME_BOX, Agreement, compare, same_faces
from tests.photos import FACE_BOX, FACE_LANDMARKS, portrait


def faces(*shifts: float) -> Faces:
    """The portrait's face, moved to the right by so many pixels."""
    boxes = [np.add(FACE_BOX, (shift, 0, shift, 0)) for shift in shifts]
    points = [np.add(FACE_LANDMARKS, (shift, 0)) for shift in shifts]
    return Faces(np.reshape(boxes, (-1, 4)), np.full(len(shifts), 0.9), np.reshape(points, (-1, 5, 2)))


def test_a_face_is_the_same_up_to_half_a_pixel() -> None:
    assert same_faces(faces(0, 100), faces(SAME_BOX, 100.6)) == [(0, 0)]
    assert same_faces(faces(), faces(0)) == same_faces(faces(0), faces()) == []


def test_each_face_has_one_counterpart_the_nearest() -> None:
    assert sorted(same_faces(faces(0, 0.3), faces(0.25))) == [(1, 0)]


def test_missing_and_added_faces_and_the_largest_differences() -> None:
    agreement = Agreement()
    agreement.add(faces(0, 100, 200), faces(0.25, 100.5))
    agreement.add(faces(), faces(7))
    found = agreement.summary()
    assert (found["photos"], found["faces"], found["missing"], found["added"]) == (2, 3, 1, 1)
    assert found["box"] == found["landmark"] == pytest.approx(0.5)
    assert (found["score"], found["time_ratio"]) == (0, None)


def test_a_detector_agrees_with_itself() -> None:
    agreement, detector = Agreement(), Detector(threads=1)
    for _ in range(2):
        compare(detector, detector, portrait(), agreement)
    found = agreement.summary()
    assert (found["photos"], found["faces"], found["missing"], found["added"], found["box"]) == (2, 2, 0, 0, 0)
    assert found["time_ratio"] > 0
