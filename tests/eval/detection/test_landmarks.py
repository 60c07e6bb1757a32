"""Landmark errors by hand, the estimated yaw, and what is not found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eval.detection.landmarks import estimated_yaw, evaluate, photo_errors, roll
from eval.detection.predictions import Found
from tests.eval.helpers import found, photo

# Eyes 40 px apart in a box of 80 × 80.
POINTS = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], float)
BOX = [10, 10, 90, 90]


def one(points=POINTS, box=BOX, **more):
    return photo("a", [box], landmarks=np.array([points]), **more)


def at(points, box=BOX, score=0.9):
    return {"a": found([*box, score], landmarks=np.array([points]))}


def test_errors_by_hand():
    moved = np.add(POINTS, [[4, 0], [0, 0], [0, 8], [0, 0], [3, 4]])
    result = evaluate([one()], at(moved))
    np.testing.assert_allclose(result.interocular, [[0.1, 0, 0.2, 0, 0.125]])
    np.testing.assert_allclose(result.box, [[0.05, 0, 0.1, 0, 0.0625]])
    assert result.error_interocular == pytest.approx(0.085)
    assert result.error_box == pytest.approx(0.0425)
    assert result.by_landmark()["nose"] == {"interocular": pytest.approx(0.2), "box": pytest.approx(0.1)}
    assert (result.faces, result.matched, result.failure_rate) == (1, 1, 0.0)


def test_failure_is_a_mean_error_above_a_tenth_of_the_eye_distance():
    assert evaluate([one()], at(np.add(POINTS, [4.1, 0]))).failure_rate == 1.0
    assert evaluate([one()], at(np.add(POINTS, [3.9, 0]))).failure_rate == 0.0


def test_faces_that_were_not_found_are_counted():
    far = {"a": found([200, 200, 280, 280, 0.9], landmarks=np.array([POINTS]))}
    for predictions in ({}, {"a": found()}, far):
        result = evaluate([one()], predictions)
        assert (result.faces, result.matched, result.error_interocular, result.failure_rate) == (1, 0, None, None)
        assert result.failure_rate_of_all == 1.0
        assert result.cumulative(np.array([1.0])).tolist() == [0.0]


def test_match_needs_more_than_four_tenths():
    exact = [10, 10, 90, 42]  # 0.4 of the box
    above = [10, 10, 90, 42.1]
    assert evaluate([one()], at(POINTS, exact)).matched == 0
    assert evaluate([one()], at(POINTS, above)).matched == 1


def test_the_detection_that_overlaps_most_is_taken_whatever_its_score():
    landmarks = np.stack([np.add(POINTS, [8, 0]), POINTS])
    detections = {"a": found([20, 10, 100, 90, 0.9], [*BOX, 0.5], landmarks=landmarks)}
    assert evaluate([one()], detections).error_interocular == 0.0


def test_errors_of_one_photo_name_face_and_detection():
    partial = POINTS.copy()
    partial[4] = np.nan
    faces = photo("a", [BOX, [100, 10, 180, 90], BOX], landmarks=np.stack([partial, np.add(POINTS, [90, 0]), POINTS]))
    landmarks = np.stack([POINTS, np.add(POINTS, [4, 0])])
    errors = photo_errors(faces, found([300, 10, 380, 90, 0.9], [*BOX, 0.5], landmarks=landmarks))
    assert (errors.faces.tolist(), errors.detections.tolist()) == ([1, 2], [-1, 1])
    assert np.isnan(errors.interocular[0]).all()
    np.testing.assert_allclose(errors.interocular[1], 0.1)


def test_cumulative_curve_by_hand():
    photos = [photo(name, [BOX], landmarks=np.array([POINTS])) for name in "abcd"]
    shifts = {"a": 0.0, "b": 2.0, "c": 4.0}
    detections = {n: found([*BOX, 0.9], landmarks=np.array([np.add(POINTS, [dx, 0])])) for n, dx in shifts.items()}
    result = evaluate(photos, detections)
    assert result.cumulative(np.array([0, 0.05, 0.2])).tolist() == [0.25, 0.5, 0.75]
    assert result.cumulative(np.array([0.024, 0.026]), box=True).tolist() == [0.25, 0.5]


def test_incomplete_and_ignored_faces_do_not_count():
    partial = POINTS.copy()
    partial[4] = np.nan
    joined = POINTS.copy()
    joined[1] = joined[0]
    boxes = [BOX, [100, 10, 180, 90], [200, 10, 280, 90], [300, 10, 380, 90]]
    faces = photo("a", boxes, ignored=[0, 0, 0, 1], landmarks=np.stack([POINTS, partial, joined, POINTS]))
    result = evaluate([faces], {"a": found([*BOX, 0.9], landmarks=np.array([POINTS]))})
    assert (result.faces, result.incomplete, result.matched) == (1, 2, 1)
    with pytest.raises(ValueError, match="no face"):
        evaluate([photo("b", [BOX])], {})


def test_detections_without_landmarks_are_refused():
    with pytest.raises(ValueError, match="a have none"):
        evaluate([one()], {"a": Found(np.array([BOX], float), np.array([0.9]))})


@pytest.mark.parametrize("degrees", [0, 10, 25, 45, 70])
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("tilt", [0, 30])
def test_estimated_yaw_of_a_turned_head(degrees, side, tilt):
    # Eyes at ±1/2, the nose 0.55 in front, seen from far away, then tilted in the image's plane.
    angle = np.radians(degrees * side)
    model = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.6, 0.55], [-0.4, 1.1, 0.1], [0.4, 1.1, 0.1]])
    x = model[:, 0] * np.cos(angle) + model[:, 2] * np.sin(angle)
    turn = np.radians(tilt)
    flat = np.column_stack([x, model[:, 1]]) @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    assert estimated_yaw(100 * flat[None] + 200) == pytest.approx(degrees * side, abs=0.01)


def test_faces_are_sorted_by_yaw():
    profile = POINTS.copy()
    profile[2, 0] = 50 + 40 * 0.55 * np.tan(np.radians(40))
    photos = [one(), photo("b", [BOX], landmarks=np.array([profile]))]
    result = evaluate(photos, at(np.add(POINTS, [4, 0])))
    assert result.yaw_source == "estimated"
    by = {each.smallest: each for each in result.yaws}
    assert (by[0].faces, by[0].matched, by[0].error_interocular) == (1, 1, pytest.approx(0.1))
    assert (by[30].faces, by[30].matched, by[30].error_interocular) == (1, 0, None)


@pytest.mark.parametrize("degrees", [-170.0, -32.0, 0.0, 12.0, 90.0])
def test_faces_are_sorted_by_roll(degrees):
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    photo = one()
    rotated = replace(photo, landmarks=((photo.landmarks - 50) @ rotation + 50).astype(np.float32))
    upright = roll(photo.landmarks.astype(np.float64))[0]
    assert roll(rotated.landmarks.astype(np.float64))[0] - upright == pytest.approx(degrees, abs=0.1)
    result = evaluate([rotated], {})
    (held,) = (each for each in result.rolls if each.faces)
    assert held.smallest <= abs(degrees + upright) < held.largest
    assert (held.matched, held.error_interocular) == (0, None)


def test_annotated_yaw_is_used_where_all_photos_have_it():
    profile = [one(attributes={"yaw": np.array([-75.0])})]
    result = evaluate(profile, at(POINTS))
    assert result.yaw_source == "annotated"
    assert [each.faces for each in result.yaws] == [0, 0, 0, 1]
    mixed = evaluate([*profile, photo("b", [BOX], landmarks=np.array([POINTS]))], at(POINTS))
    assert mixed.yaw_source == "estimated"
