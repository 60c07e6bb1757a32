"""68 points and head pose: places, faces that have none, angles and their signs."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from cascade.face_model import five_point_yaw, sizes_of
from cascade.faces import Faces
from cascade.imaging.alignment import ARCFACE_TEMPLATE
from cascade.landmarks import MIRRORED, TEMPLATE, LandmarkEstimator, five_points, head_pose
from tests.photos import FACE_LANDMARKS, portrait, portrait_faces
from tests.random_attributes import drawn_shape, face_in_space, save_still_landmarks
from tests.test_attributes import several


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_still_landmarks(tmp_path_factory.mktemp("landmarks") / "still.safetensors")


@pytest.fixture(scope="module")
def estimator(weights: Path) -> LandmarkEstimator:
    return LandmarkEstimator(weights, threads=1)


def posed(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The drawn face in space (1, 68, 2) as a far camera sees it: rolled, then pitched, then yawed."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (face_in_space() @ (about_y @ about_x @ about_z).T)[None, :, :2] * 140 + 300


def test_points_are_where_the_network_has_them_in_pixels_of_the_image(estimator: LandmarkEstimator) -> None:
    exact = 30 + 0.5 * TEMPLATE @ np.array([[0, 1], [-1, 0]])  # half as large, rotated by 90 degrees
    exact[:, 0] += 56
    points = estimator.predict(np.zeros((120, 120, 3), np.uint8), exact[None])
    assert points.shape == (1, 68, 2) and points.dtype == np.float32
    expected = 30 + 0.5 * (112 * drawn_shape()) @ np.array([[0, 1], [-1, 0]])
    expected[:, 0] += 56
    assert np.abs(points[0] - expected).max() < 0.5  # half precision of the file
    assert np.abs(five_points(points)[0] - exact).max() < 3  # eyes and mouth of the drawn face lie nearly there


def test_more_passes_go_on_from_the_points_before(weights: Path) -> None:
    once, twice = (LandmarkEstimator(weights, threads=1, passes=passes) for passes in (1, 2))
    assert once.predict(portrait(), portrait_faces()).shape == (1, 68, 2)
    # the still network aligns its own points to where they are
    assert np.abs(once.predict(portrait(), portrait_faces()) - twice.predict(portrait(), portrait_faces())).max() < 3


def test_a_face_too_small_or_in_profile_has_no_points(estimator: LandmarkEstimator) -> None:
    faces = Faces(np.tile([0, 0, 9, 9], (4, 1)), np.full(4, 0.9), several())
    found = estimator.analyze(portrait(), faces)
    assert np.isfinite(found.data["points"]).all(axis=(1, 2)).tolist() == [True, False, False, True]
    assert np.isfinite(found.data["pose"]).all(axis=1).tolist() == [True, False, False, True]
    assert found.data["points_unknown"].tolist() == ["", "too small", "profile", ""]
    assert found.data["points"].shape == (4, 68, 2) and found.data["pose"].shape == (4, 3)
    assert LandmarkEstimator(estimator.weights, min_face=0, max_yaw=90).predict(portrait(), faces).shape == (4, 68, 2)


def test_no_face_gives_no_points(estimator: LandmarkEstimator) -> None:
    for nothing in (Faces.empty(), []):
        assert estimator.predict(portrait(), nothing).shape == (0, 68, 2)
    assert estimator.pose(np.empty((0, 68, 2))).shape == (0, 3)


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"), [(0, 0, 0), (40, 0, 0), (-40, 0, 0), (0, 25, 0), (0, -25, 0), (0, 0, 30), (25, 15, -20)]
)
def test_the_pose_is_that_of_the_head(yaw: float, pitch: float, roll: float) -> None:
    found = head_pose(posed(yaw, pitch, roll), face_in_space())[0]
    assert found.tolist() == pytest.approx([yaw, pitch, roll], abs=0.5)


def test_signs_are_as_stated() -> None:
    """Right of the image, up, and clockwise are positive: seen by where nose and eyes go."""
    straight, right, up, clockwise = (posed(*angles)[0] for angles in ((0, 0, 0), (30, 0, 0), (0, 30, 0), (0, 0, 30)))
    assert right[30, 0] - right[27:48, 0].mean() > straight[30, 0] - straight[27:48, 0].mean() + 3
    assert up[30, 1] - up[36:48, 1].mean() < straight[30, 1] - straight[36:48, 1].mean() - 3
    assert clockwise[45, 1] > clockwise[36, 1] + 3  # the eye on the right of the image goes down


def test_the_portrait_looks_nearly_into_the_camera() -> None:
    """By the shipped network. Of a face in another pose, a flatter mean face gives a larger yaw."""
    estimator = LandmarkEstimator(threads=1)
    points = estimator.predict(portrait(), portrait_faces())
    yaw, pitch, roll = estimator.pose(points)[0].tolist()
    assert abs(yaw) < 10 and abs(pitch) < 10 and abs(roll - 4) < 4
    face = estimator.weights.tensors["mean_face"].astype(np.float64)
    y = np.radians(20)
    aside = (face @ np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]]).T)[None, :, :2]
    assert head_pose(aside, face)[0, 0] == pytest.approx(20, abs=0.1)
    assert 25 < estimator.pose(aside)[0, 0] < 35


def test_the_pose_of_a_mirrored_face_is_mirrored() -> None:
    points = posed(25, 10, 15)
    mirrored = points.copy()
    mirrored[..., 0] = 600 - points[..., 0]
    found = head_pose(mirrored[:, MIRRORED], face_in_space())[0]
    assert found.tolist() == pytest.approx([-25, 10, -15], abs=3)
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(68))


def test_the_pose_of_other_shapes_is_refused(estimator: LandmarkEstimator) -> None:
    with pytest.raises(ValueError, match=r"points: expected shape \(N, 68, 2\), got \(68, 2\)"):
        estimator.pose(np.zeros((68, 2)))


def test_five_points_tell_a_profile() -> None:
    front = np.array([FACE_LANDMARKS])
    assert abs(five_point_yaw(front)[0]) < 10
    for side in (-1, 1):
        profile = front.copy()
        profile[0, 2, 0] += side * 100
        assert side * five_point_yaw(profile)[0] > 70
    rolled = front @ np.array([[0, 1], [-1, 0]])
    assert five_point_yaw(rolled)[0] == pytest.approx(five_point_yaw(front)[0], abs=1e-4)


def test_sizes_are_those_of_boxes() -> None:
    assert sizes_of(ARCFACE_TEMPLATE[None])[0] == pytest.approx(0.7 * 112)
    assert sizes_of(ARCFACE_TEMPLATE[None] * 3)[0] == pytest.approx(3 * 0.7 * 112)
    box = portrait_faces().boxes[0]
    assert sizes_of(portrait_faces().landmarks)[0] == pytest.approx(
        np.sqrt((box[2] - box[0]) * (box[3] - box[1])), rel=0.2
    )


def test_it_can_be_pickled_with_its_settings(weights: Path) -> None:
    chosen = LandmarkEstimator(weights, threads=1, passes=3, min_face=40, max_yaw=30)
    twin = pickle.loads(pickle.dumps(chosen))
    assert (twin.passes, twin.min_face, twin.max_yaw, twin.threads) == (3, 40, 30, 1)
    assert np.array_equal(twin.predict(portrait(), portrait_faces()), chosen.predict(portrait(), portrait_faces()))


def test_wrong_settings_are_named(weights: Path) -> None:
    for settings, message in (
        ({"passes": 0}, "passes: expected 1 to 4"),
        ({"min_face": "x"}, "min_face: expected a n"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            LandmarkEstimator(weights, **settings)
