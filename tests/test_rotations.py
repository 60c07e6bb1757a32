"""Photos searched in several orientations: faces lie where they are, with landmarks as on the upright face."""

from __future__ import annotations

import numpy as np
import pytest

from cascade import Detector
from cascade.boxes import iou
from cascade.rotations import ANGLES, merge, rotate, rotate_back
from tests.photos import FACE_BOX, FACE_LANDMARKS, portrait, portrait_faces


@pytest.mark.parametrize("angle", ANGLES)
def test_rotating_back_undoes_rotating(angle):
    image = portrait()[:400, :300]
    upright = Detector(threads=1).detect(image)
    rotated = Detector(threads=1, rotations=(360 - angle if angle else 0,)).detect(rotate(image, angle))
    assert len(upright) == 1
    assert len(rotated) == 1
    # the detector sees the same pixels, so only the frame differs
    back = rotate_back(rotated, angle, 300, 400)
    np.testing.assert_allclose(back.boxes, upright.boxes, atol=1e-3)
    np.testing.assert_allclose(back.landmarks, upright.landmarks, atol=1e-3)
    np.testing.assert_array_equal(back.scores, upright.scores)


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_face_on_its_side_is_found_once(angle):
    image = rotate(portrait(), angle)
    faces = Detector(min_face=40, threads=1, rotations=ANGLES).detect(image)
    assert len(faces) == 1
    back = rotate_back(faces, angle, 512, 512)
    assert iou(back.boxes, [FACE_BOX])[0, 0] > 0.6
    # left and right are those of the upright face
    assert np.abs(back.landmarks[0] - FACE_LANDMARKS).max() < 8


def test_the_batch_equals_single_images():
    images = [portrait(), rotate(portrait(), 90), portrait()[:200, :240]]
    detector = Detector(threads=1, rotations=(0, 270))
    for together, image in zip(detector.detect_batch(images), images, strict=True):
        alone = detector.detect(image)
        np.testing.assert_array_equal(together.boxes, alone.boxes)
        np.testing.assert_array_equal(together.landmarks, alone.landmarks)


def test_merging_keeps_the_best_of_overlapping_faces():
    faces = portrait_faces()
    weaker = type(faces)(faces.boxes + 3, faces.scores * 0.9, faces.landmarks + 3)
    merged = merge([weaker, faces])
    np.testing.assert_array_equal(merged.boxes, faces.boxes)
    assert len(merge([faces[:0], faces[:0]])) == 0


@pytest.mark.parametrize("angles", [(), (45,), (0, 0), (0, 90, 360), (False,), [[0, 90]], np.array([[0, 90]])])
def test_wrong_angles_are_refused(angles):
    with pytest.raises(ValueError, match=r"^rotations: expected one or more of 0, 90, 180, 270"):
        Detector(rotations=angles)


def test_a_lone_number_is_refused():
    with pytest.raises(TypeError, match=r"^rotations: expected angles"):
        Detector(rotations=90)  # type: ignore[arg-type]
