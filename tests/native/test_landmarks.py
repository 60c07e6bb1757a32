"""Landmarks in C, from fractions of a window to aligned crops and back, against slow and obvious Python."""

from __future__ import annotations

from math import hypot
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cascade import _native
from cascade.imaging.alignment import ARCFACE_TEMPLATE, ROUNDING

FARTHEST = 2.0**18
ANGLES = st.floats(-np.pi, np.pi)
ZOOMS = st.floats(0.01, 100)
SHIFTS = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
POINTS = hnp.arrays(np.float64, st.tuples(st.integers(2, 8), st.just(2)), elements=st.floats(-1000, 1000))
FACES = hnp.arrays(np.float64, st.tuples(st.integers(0, 6), st.just(5), st.just(2)), elements=st.floats(-1000, 1000))

SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
MIRRORED = SQUARE * (-1, 1) + (1, 0)


def similarity(angle: float, zoom: float, shift: tuple[float, float]) -> np.ndarray:
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def spread(points: np.ndarray) -> float:
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum()))


def error(points: np.ndarray, template: np.ndarray, matrix: np.ndarray) -> float:
    """The sum of squared distances that is to be the least."""
    return float(((moved(points, matrix) - template) ** 2).sum())


def transform(points: np.ndarray, template: np.ndarray, rounding: float = ROUNDING) -> np.ndarray:
    """The transform of one face."""
    matrices = _native.similarity_transforms(points[None], template, rounding)
    assert (matrices.dtype, matrices.shape) == (np.float64, (1, 2, 3))
    return matrices[0]


# Shares of a window

# Eighths: nothing is rounded.
eighths = st.integers(-400, 400).map(lambda n: n / 8)


@given(st.data(), st.integers(0, 6), st.integers(1, 6))
def test_window_points_follow_the_rule(data: st.DataObject, n: int, k: int) -> None:
    windows = data.draw(hnp.arrays(np.float32, (n, 4), elements=eighths))
    shares = data.draw(hnp.arrays(np.float32, (n, k, 2), elements=eighths))
    before = windows.copy(), shares.copy()
    points = _native.window_points(windows, shares)
    assert (points.dtype, points.shape) == (np.float32, (n, k, 2))
    for (x1, y1, x2, y2), face, found in zip(windows.tolist(), shares.tolist(), points.tolist(), strict=True):
        assert found == [[x1 + across * (x2 - x1), y1 + down * (y2 - y1)] for across, down in face]
    np.testing.assert_array_equal(windows, before[0])
    np.testing.assert_array_equal(shares, before[1])


def test_window_points_by_hand() -> None:
    shares = [[(0, 0), (1, 1), (0.5, 0.25), (-1, 2)]]
    points = _native.window_points([(10, 20, 30, 60)], shares)
    assert points.tolist() == [[[10, 20], [30, 60], [20, 30], [-10, 100]]]


def test_a_wild_share_disturbs_no_other_point() -> None:
    shares = [[(0, np.nan), (np.inf, 1), (3e38, 0.5)], [(0, 0), (1, 1), (0.5, 0.5)]]
    points = _native.window_points([(0, 0, 8, 8)] * 2, shares)
    np.testing.assert_array_equal(points[0], np.array([(0, np.nan), (np.inf, 8), (np.inf, 4)], np.float32))
    assert points[1].tolist() == [[0, 0], [8, 8], [4, 4]]


# Similarity transforms


@given(POINTS, ANGLES, ZOOMS, SHIFTS)
def test_a_similarity_is_recovered(points: np.ndarray, angle: float, zoom: float, shift: tuple[float, float]) -> None:
    assume(spread(points) > 1)
    matrix = similarity(angle, zoom, shift)
    found = transform(points, moved(points, matrix))
    np.testing.assert_allclose(found[:, :2], matrix[:, :2], atol=1e-8 * max(1.0, zoom, np.abs(shift).max()))
    np.testing.assert_allclose(moved(points, found), moved(points, matrix), atol=1e-6 * max(1.0, zoom))


def least_squares(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Four unknown numbers, cosine, sine and the shift, and two equations for each point."""
    rows = [row for x, y in points for row in ((x, -y, 1, 0), (y, x, 0, 1))]
    (cosine, sine, right, down), *_ = np.linalg.lstsq(np.array(rows), template.reshape(-1), rcond=None)
    return np.array([[cosine, -sine, right], [sine, cosine, down]])


@given(hnp.arrays(np.float64, (5, 2), elements=st.floats(-100, 100)))
def test_noisy_points_are_fitted_by_least_squares(points: np.ndarray) -> None:
    assume(spread(points) > 1)
    expected = least_squares(points, ARCFACE_TEMPLATE)
    assume(hypot(expected[0, 0], expected[1, 0]) > 1e-3)
    np.testing.assert_allclose(transform(points, ARCFACE_TEMPLATE), expected, rtol=1e-6, atol=1e-6)


@given(
    hnp.arrays(np.float64, (5, 2), elements=st.floats(-20, 20)),
    ANGLES,
    st.lists(st.tuples(*[st.floats(-1, 1)] * 4), min_size=1, max_size=5),
)
def test_no_other_similarity_is_nearer(
    noise: np.ndarray, angle: float, changes: list[tuple[float, float, float, float]]
) -> None:
    points = moved(ARCFACE_TEMPLATE + noise, similarity(angle, 2, (30, -40)))
    assume(spread(points) > 1)
    found = transform(points, ARCFACE_TEMPLATE)
    assume(not np.isnan(found).any())
    least = error(points, ARCFACE_TEMPLATE, found)
    for cosine, sine, right, down in changes:
        other = found + 0.1 * np.array([[cosine, -sine, 10 * right], [sine, cosine, 10 * down]])
        assert error(points, ARCFACE_TEMPLATE, other) >= least - 1e-6


def test_a_rotation_by_90_degrees_by_hand() -> None:
    points = np.array([(0, 0), (2, 0), (2, 4)], float)
    template = np.array([(5, 7), (5, 8), (3, 8)], float)
    np.testing.assert_allclose(transform(points, template), [[0, -0.5, 5], [0.5, 0, 7]], atol=1e-15)


def test_two_points_are_enough_and_one_is_not() -> None:
    found = transform(np.array([(1, 1), (3, 1)], float), np.array([(0, 0), (0, 6)], float))
    np.testing.assert_allclose(found, [[0, -3, 3], [3, 0, -3]], atol=1e-14)
    assert np.isnan(transform(np.array([(1.0, 1.0)]), np.array([(0.0, 0.0)]))).all()


def test_no_reflection_is_fitted() -> None:
    assert np.linalg.det(transform(ARCFACE_TEMPLATE * (-1, 1), ARCFACE_TEMPLATE)[:, :2]) > 0
    assert np.isnan(transform(MIRRORED, SQUARE)).all()


def test_a_mirrored_square_that_is_a_little_bent_has_a_tiny_transform() -> None:
    bent = MIRRORED + np.array([(0, 0), (1e-3, 0), (0, 0), (0, 0)])
    assert 0 < hypot(*transform(bent, SQUARE)[:, 0]) < 1e-2
    assert np.isnan(transform(bent, SQUARE, 0.01)).all()


@given(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), ANGLES, st.sampled_from([1e-6, 1e-4, 0.01]))
def test_points_coincide_up_to_a_share_of_their_coordinates(x: float, y: float, angle: float, rounding: float) -> None:
    assume(max(abs(x), abs(y)) > 1)
    for factor, apart in ((0.5, False), (2.0, True)):
        side = factor * rounding * max(abs(x), abs(y))
        right, down = side / np.sqrt(2) * np.cos(angle), side / np.sqrt(2) * np.sin(angle)
        points = np.array([(x - right, y - down), (x + right, y + down)])
        assert np.isnan(transform(points, np.array([(0, 0), (1, 0)], float), rounding)).all() == (not apart)


def test_without_rounding_all_but_equal_points_are_apart() -> None:
    points = np.array([(4000, 4000), (4000, 4000 + 1e-9)])
    template = np.array([(0, 0), (0, 1)], float)
    assert np.isnan(transform(points, template, ROUNDING)).all()
    assert np.isfinite(transform(points, template, 0)).all()
    assert np.isnan(transform(points[[0, 0]], template, 0)).all()


FACES_WITHOUT = {
    "nan": np.full((4, 2), np.nan),
    "one nan": SQUARE + np.array([(0, 0), (0, 0), (0, np.nan), (0, 0)]),
    "infinite": np.full((4, 2), np.inf),
    "one infinite": SQUARE + np.array([(0, 0), (0, 0), (0, 0), (-np.inf, 0)]),
    "both ways infinite": SQUARE + np.array([(np.inf, 0), (-np.inf, 0), (0, 0), (0, 0)]),
    "too large to square": SQUARE * 1e200,
    "the largest": SQUARE * 1.7e308 - (8e307, 8e307),
    "too small to square": SQUARE * 1e-200,
    "at the origin": np.zeros((4, 2)),
    "in one place": np.full((4, 2), (30.0, -8.0)),
    "mirrored": MIRRORED,
}


@pytest.mark.parametrize("rounding", [ROUNDING, 0])
@pytest.mark.parametrize("face", FACES_WITHOUT.values(), ids=FACES_WITHOUT.keys())
def test_a_face_without_a_transform_gets_nan_and_disturbs_no_other(face: np.ndarray, rounding: float) -> None:
    good = moved(SQUARE, similarity(0.3, 20, (5, -6)))
    faces = np.stack([face, good, face, SQUARE, face])
    found = _native.similarity_transforms(faces, SQUARE, rounding)
    assert np.isnan(found[::2]).all()
    assert found[1].tobytes() == transform(good, SQUARE).tobytes()
    np.testing.assert_allclose(moved(good, found[1]), SQUARE, atol=1e-12)
    np.testing.assert_allclose(found[3], [(1, 0, 0), (0, 1, 0)], atol=1e-15)


@pytest.mark.parametrize(
    "template",
    [np.full((4, 2), np.nan), FACES_WITHOUT["one infinite"], np.ones((4, 2)), MIRRORED],
    ids=["nan", "infinite", "in one place", "mirrored"],
)
def test_templates_that_nothing_fits(template: np.ndarray) -> None:
    assert np.isnan(_native.similarity_transforms([SQUARE, 3 * SQUARE], template, ROUNDING)).all()


@given(hnp.arrays(np.float64, st.tuples(st.integers(0, 4), st.just(5), st.just(2)), elements=st.floats()))
def test_for_any_numbers_a_transform_is_finite_or_nan(faces: np.ndarray) -> None:
    for matrix in _native.similarity_transforms(faces, ARCFACE_TEMPLATE, ROUNDING):
        assert np.isfinite(matrix).all() or np.isnan(matrix).all()
        if np.isfinite(matrix).all():
            assert matrix[0, 0] == matrix[1, 1]
            assert matrix[0, 1] == -matrix[1, 0]


@given(FACES)
def test_many_at_once_are_to_the_bit_as_one_by_one(faces: np.ndarray) -> None:
    before = faces.copy()
    found = _native.similarity_transforms(faces, ARCFACE_TEMPLATE, ROUNDING)
    assert (found.dtype, found.shape) == (np.float64, (len(faces), 2, 3))
    assert found.tobytes() == b"".join(transform(face, ARCFACE_TEMPLATE).tobytes() for face in faces)
    backwards = _native.similarity_transforms(faces[::-1], ARCFACE_TEMPLATE, ROUNDING)
    assert found.tobytes() == np.ascontiguousarray(backwards[::-1]).tobytes()
    np.testing.assert_array_equal(faces, before)


# What can be aligned


def slow_turnable(points: np.ndarray, matrix: np.ndarray, size: float) -> bool:
    zoom = hypot(matrix[0, 0], matrix[1, 0]) / size
    return bool(1 / FARTHEST <= zoom <= 1 and all(abs(value) <= FARTHEST for value in points.reshape(-1).tolist()))


some_coordinates = st.sampled_from([0.0, 30.0, -500.5, FARTHEST, -FARTHEST, FARTHEST + 1, -3e38, np.inf, np.nan])
some_zooms = st.sampled_from([0.0, 1e-300, 2.0**-19, 2.0**-18, 0.4, 1.0, 1.5, np.inf, np.nan])
some_turns = st.sampled_from([(1.0, 0.0), (0.0, 1.0), (0.0, -1.0), (-1.0, 0.0), (0.6, 0.8), (-0.8, -0.6)])


@given(st.lists(st.tuples(some_zooms, some_turns, *[some_coordinates] * 6), max_size=8), st.sampled_from([1, 32, 48.0]))
def test_can_align_follows_the_rule(rows: list[tuple[float, ...]], size: float) -> None:
    points = np.array([row[2:] for row in rows], np.float32).reshape(-1, 3, 2)
    matrices = np.zeros((len(rows), 2, 3))
    for matrix, (zoom, (cosine, sine), *_) in zip(matrices, rows, strict=True):
        with np.errstate(invalid="ignore"):
            matrix[:, :2] = np.multiply(zoom * size, [(cosine, -sine), (sine, cosine)])
    # rotated by a 3-4-5 triangle the lengths may be off the limits by their last bit
    assume(all(zoom not in (2.0**-18, 1.0) or 0 in turn for zoom, turn, *_ in rows))
    found = _native.can_align(points, matrices, size)
    assert (found.dtype, found.shape) == (np.bool_, (len(rows),))
    assert found.tolist() == [slow_turnable(*pair, size) for pair in zip(points, matrices, strict=True)]


def test_can_align_at_its_limits() -> None:
    """A crop covers from one pixel of the photo to as many as the largest photo has in a row."""
    face, size = np.array([(3, 4), (8, 9)], np.float32), 48
    up, down = np.nextafter(48.0, 99), np.nextafter(48 / FARTHEST, 0)
    matrices = np.stack([similarity(0, zoom, (0, 0)) for zoom in (48, up, 48 / FARTHEST, down, 1)])
    assert _native.can_align([face] * 5, matrices, size).tolist() == [True, False, True, False, True]
    beyond = np.nextafter(np.float32(FARTHEST), np.float32(np.inf))
    faces = [face, *([face[0], (far, 1)] for far in (FARTHEST, -FARTHEST, beyond, -beyond, np.nan, -np.inf))]
    matrices = np.stack([similarity(1, 2, (0, 0))] * 7)
    assert _native.can_align(faces, matrices, size).tolist() == [True, True, True, False, False, False, False]


def test_what_has_no_transform_cannot_be_aligned() -> None:
    faces = np.stack([face * 10 for face in (SQUARE, np.zeros((4, 2)), MIRRORED, SQUARE)])
    matrices = _native.similarity_transforms(faces, SQUARE * 20, ROUNDING)
    assert _native.can_align(faces, matrices, 32).tolist() == [True, False, False, True]


# Back to the photo


@given(st.lists(st.tuples(ANGLES, ZOOMS, SHIFTS), max_size=5), st.integers(1, 6), st.randoms(use_true_random=False))
def test_inverse_transform_is_the_inverse(
    turns: list[tuple[float, float, tuple[float, float]]], k: int, random: Random
) -> None:
    matrices = np.array([similarity(*turn) for turn in turns]).reshape(-1, 2, 3)
    points = np.array([[random.uniform(-200, 200) for _ in range(2 * k)] for _ in turns]).reshape(-1, k, 2)
    points = points.astype(np.float32)
    before = points.copy(), matrices.copy()
    found = _native.inverse_transform(points, matrices)
    assert (found.dtype, found.shape) == (np.float64, (len(turns), k, 2))
    for crop, matrix, face in zip(points.astype(float), matrices, found, strict=True):
        zoom, far = hypot(*matrix[:, 0]), 1e4 + 200
        np.testing.assert_allclose(moved(face, matrix), crop, atol=1e-12 * far)
        np.testing.assert_allclose(
            face, (crop - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T, atol=1e-12 * far / zoom
        )
    np.testing.assert_array_equal(points, before[0])
    np.testing.assert_array_equal(matrices, before[1])


@given(hnp.arrays(np.float32, (5, 2), elements=st.floats(-1000, 1000, width=32)))
def test_a_face_comes_back_from_its_crop(points: np.ndarray) -> None:
    """The template's points, mapped to the photo and back to the crop, are the template's points."""
    matrix = transform(points.astype(float), ARCFACE_TEMPLATE)
    assume(not np.isnan(matrix).any() and hypot(*matrix[:, 0]) > 1e-3)
    places = ARCFACE_TEMPLATE.astype(np.float32)
    back = _native.inverse_transform(places[None], matrix[None])[0]
    np.testing.assert_allclose(moved(back, matrix), places, atol=1e-6)


def test_inverse_transform_by_hand() -> None:
    quarter_turn = [(0, -2, 10), (2, 0, 20)]
    found = _native.inverse_transform([[(10, 20), (10, 22), (6, 20)]], [quarter_turn])
    np.testing.assert_array_equal(found, [[(0, 0), (1, 0), (0, 2)]])


def test_a_transform_without_an_inverse_disturbs_no_other() -> None:
    points = np.array([SQUARE] * 4)
    matrices = np.stack([similarity(0, 1, (2, 3)), np.full((2, 3), np.nan), np.zeros((2, 3)), similarity(0, 2, (0, 0))])
    found = _native.inverse_transform(points, matrices)
    np.testing.assert_array_equal(found[0], SQUARE - (2, 3))
    assert not np.isfinite(found[1:3]).any()
    np.testing.assert_array_equal(found[3], SQUARE / 2)


# Nothing


@pytest.mark.parametrize("k", [1, 5])
def test_no_faces_give_nothing(k: int) -> None:
    no_points, no_matrices = np.empty((0, k, 2)), np.empty((0, 2, 3))
    assert _native.window_points(np.empty((0, 4)), no_points).shape == (0, k, 2)
    assert _native.similarity_transforms(no_points, np.zeros((k, 2)), 0).shape == (0, 2, 3)
    assert _native.can_align(no_points, no_matrices, 32).shape == (0,)
    assert _native.inverse_transform(no_points, no_matrices).shape == (0, k, 2)
