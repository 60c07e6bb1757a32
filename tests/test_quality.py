"""The quality of faces: what lowers it, what is refused, and wrong input."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter

from cascade.detect import Detector
from cascade.enrolment import check_enrolment, suitability
from cascade.faces import Faces
from cascade.imaging.alignment import AlignError
from cascade.imaging.reading import ImageError
from cascade.operating_point import face_sizes
from cascade.quality import (
    BLURRED,
    LIGHT,
    PROFILE,
    FaceQualityError,
    crop_sharpness,
    face_quality,
    is_rotated,
    measure,
    measure_crops,
)
from cascade.recognize import Recognizer
from tests.photos import FACE_LANDMARKS, PORTRAIT, portrait, portrait_faces


def shrunk(scale: float) -> tuple[np.ndarray, Faces]:
    side = round(512 * scale)
    image = np.asarray(Image.fromarray(portrait()).resize((side, side), Image.Resampling.LANCZOS))
    face = portrait_faces()
    return image, Faces(face.boxes * scale, face.scores, face.landmarks * scale)


def blurred(radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(portrait()).filter(ImageFilter.GaussianBlur(radius)))


def turned(yaw: float) -> np.ndarray:
    """The portrait's landmarks with the nose where it is at that yaw."""
    points = np.array(FACE_LANDMARKS)
    points[2, 0] = points[:2, 0].mean() + 0.55 * 42 * np.tan(np.radians(yaw))
    return points[None]


def test_a_good_photo():
    found = measure(PORTRAIT, portrait_faces())
    assert len(found) == 1
    assert found.problems(0) == ()
    assert 0.3 < found.score[0] <= 1
    np.testing.assert_array_equal(face_quality(PORTRAIT, portrait_faces()), found.score)
    np.testing.assert_allclose(face_quality(portrait(), [FACE_LANDMARKS]), found.score, rtol=1e-5)
    bgr = portrait()[:, :, ::-1]
    np.testing.assert_array_equal(face_quality(bgr, portrait_faces(), color="bgr"), found.score)


def test_suitability_is_what_enrolment_goes_by():
    profile = Faces(portrait_faces().boxes, portrait_faces().scores, turned(60))
    found = suitability(portrait(), profile, Recognizer().operating_point)
    assert found.problems == (PROFILE,)
    assert found.quality == face_quality(portrait(), profile)[0]
    assert found.size == face_sizes(profile.boxes)[0]
    with pytest.raises(FaceQualityError, match="found it profile"):
        check_enrolment(portrait(), profile, Recognizer().operating_point)
    small = shrunk(0.2)
    assert suitability(*small, Recognizer().operating_point).problems[0] == "too small"
    assert "too small" not in suitability(*small, None).problems


def test_quality_falls_with_size_blur_turning_and_darkness():
    scores = {
        "size": [face_quality(*shrunk(scale))[0] for scale in (1, 0.6, 0.4, 0.2)],
        "blur": [face_quality(blurred(radius), portrait_faces())[0] for radius in (0, 1, 2, 4)],
        "yaw": [face_quality(portrait(), turned(yaw))[0] for yaw in (10, 25, 40, 60)],
        "light": [
            face_quality((portrait() * light).astype(np.uint8), portrait_faces())[0] for light in (1, 0.4, 0.2, 0.05)
        ],
    }
    for name, falling in scores.items():
        assert (np.diff(falling) < 0).all(), (name, falling)


def test_what_is_wrong_with_a_face():
    faces = portrait_faces()
    assert measure(blurred(5), faces).problems(0) == (BLURRED,)
    assert measure(portrait(), turned(60)).problems(0) == (PROFILE,)
    assert LIGHT in measure((portrait() * 0.08).astype(np.uint8), faces).problems(0)
    assert LIGHT in measure(np.clip(portrait() * 9.0, 0, 255).astype(np.uint8), faces).problems(0)


@pytest.mark.parametrize(("quarters", "lean"), [(1, -90), (2, 180), (3, 90)])
def test_rotated_faces(quarters, lean):
    upright = np.ascontiguousarray(portrait()[:250, 100:350])
    image = np.rot90(upright, quarters)
    face = Detector(rotations=(0, 90, 180, 270), threads=1).detect(image)
    found = measure(image, face)
    assert (found.lean[0] - lean + 180) % 360 - 180 == pytest.approx(0, abs=10)
    assert found.problems(0) == (f"rotated by {abs(found.lean[0]):.0f}°",)
    assert found.problems(0, (0, 90, 180, 270)) == ()
    assert found.problems(0, (0, lean % 360)) == ()
    assert found.problems(0, (0, (lean + 180) % 360)) != ()
    assert found.score == pytest.approx(face_quality(upright, Detector(threads=1).detect(upright)), rel=0.1)
    point = Recognizer().operating_point
    with pytest.raises(FaceQualityError, match=r"found it rotated by \d+° .*; rotate the photo, or search with rot"):
        check_enrolment(image, face, point)
    check_enrolment(image, face, point, rotations=(0, 90, 180, 270))


def test_a_face_that_leans_a_little_and_a_mouth_above_the_eyes():
    def leaning(degrees: float) -> tuple[str, ...]:
        turn = np.radians(degrees)
        points = np.array([FACE_LANDMARKS]) - 200
        points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + 200
        return measure(portrait(), points).problems(0)

    assert [is_rotated(leaning(degrees)) for degrees in (-60, -35, 0, 35, 60)] == [True, False, False, False, True]
    mirrored = np.array([FACE_LANDMARKS]) * [1, -1] + [0, 250]  # no face has its points like that
    assert "rotated by 178°" in measure(portrait(), mirrored).problems(0)


def test_enrolment_says_what_is_wrong():
    with pytest.raises(FaceQualityError, match=r"blurry\.jpg: expected a sharp, .* found it blurred \(qual") as error:
        check_enrolment(blurred(5), portrait_faces(), None, "blurry.jpg")
    assert error.value.problems == (BLURRED,)
    assert 0 <= error.value.quality < 0.2
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    check_enrolment(blurred(5), portrait_faces(), None, allow_poor=True)
    check_enrolment(portrait(), portrait_faces(), None)


def test_no_faces_and_bad_input():
    for none in (Faces.empty(), [], np.empty((0, 5, 2))):
        assert face_quality(portrait(), none).shape == (0,)
    with pytest.raises(AlignError, match=r"landmarks: expected shape \(N, 5, 2\)"):
        face_quality(portrait(), np.zeros((5, 2)))
    with pytest.raises(AlignError, match="landmarks: expected an array of numbers"):
        face_quality(portrait(), "a face")
    with pytest.raises(AlignError, match=r"landmarks\[0\]"):
        face_quality(portrait(), np.zeros((1, 5, 2)))
    with pytest.raises(AlignError):
        face_quality(portrait(), np.full((1, 5, 2), np.nan))
    with pytest.raises(ImageError):
        face_quality("no-such-photo.jpg", portrait_faces())
    assert np.isfinite(face_quality(np.zeros((1, 1), np.uint8), portrait_faces())).all()


@given(arrays(np.uint8, (2, 112, 112, 3), elements=st.integers(0, 255)))
def test_any_crop_has_a_quality_between_0_and_1(crops):
    found = measure_crops(crops, np.repeat(np.array(FACE_LANDMARKS)[None], 2, 0))
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert (crop_sharpness(crops) >= 0).all()
