"""Similarity transforms are exact, and aligned crops show what they should, to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cascade.imaging.alignment import ARCFACE_TEMPLATE, AlignError, align, similarity_transform, similarity_transforms
from cascade.imaging.reading import ImageError
from tests.photos import FACE_LANDMARKS, portrait

ANGLES = st.floats(-np.pi, np.pi)
SCALES = st.floats(0.01, 100)
SHIFTS = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
POINTS = hnp.arrays(np.float64, st.tuples(st.integers(2, 8), st.just(2)), elements=st.floats(-1000, 1000))


def similarity(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def taken_back(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def spread(points: np.ndarray) -> float:
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum()))


# The transform


@given(POINTS, ANGLES, SCALES, SHIFTS)
def test_a_similarity_is_recovered(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> None:
    assume(spread(points) > 1)
    matrix = similarity(angle, scale, shift)
    found = similarity_transform(points, moved(points, matrix))
    assert found.shape == (2, 3)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[:, :2], matrix[:, :2], atol=1e-8 * max(1.0, scale, np.abs(shift).max()))
    np.testing.assert_allclose(moved(points, found), moved(points, matrix), atol=1e-6 * max(1.0, scale))


@given(hnp.arrays(np.float64, (5, 2), elements=st.floats(-100, 100)), ANGLES)
def test_same_as_umeyama_by_singular_values(points: np.ndarray, angle: float) -> None:
    """Noisy points, mirrored ones too: no similarity without reflection comes nearer."""
    assume(spread(points) > 1)
    template = ARCFACE_TEMPLATE
    x, y = points - points.mean(0), template - template.mean(0)
    left, singular, right = np.linalg.svd(y.T @ x)
    sign = np.array([1, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    assume((singular * sign).sum() > 1e-3 * singular.sum())
    linear = (singular * sign).sum() / (x**2).sum() * (left * sign) @ right
    found = similarity_transform(points, template)
    np.testing.assert_allclose(found[:, :2], linear, atol=1e-9)
    np.testing.assert_allclose(found[:, 2], template.mean(0) - linear @ points.mean(0), atol=1e-6)
    rotation = similarity(angle, 1, (0, 0))
    again = similarity_transform(moved(points, rotation), template)  # rotating first changes nothing
    np.testing.assert_allclose(moved(moved(points, rotation), again), moved(points, found), atol=1e-6)


def test_mirrored_points_are_not_reflected() -> None:
    found = similarity_transform(ARCFACE_TEMPLATE * (-1, 1), ARCFACE_TEMPLATE)
    assert np.linalg.det(found[:, :2]) > 0


@pytest.mark.parametrize(
    ("points", "template", "words"),
    [
        (np.ones((5, 2)), ARCFACE_TEMPLATE, "^points: .*apart"),
        (np.full((5, 2), 4000, np.float32) + np.float32(1e-4), ARCFACE_TEMPLATE, "^points: .*apart"),
        (np.zeros((5, 2)), ARCFACE_TEMPLATE, "^points: .*apart"),
        (ARCFACE_TEMPLATE, np.ones((5, 2)), "^points: no rotation"),
        ([[0, 0], [1, 0], [1, 1], [0, 1]], [[1, 0], [0, 0], [0, 1], [1, 1]], "^points: no rotation"),
        ([[0, 0], [np.nan, 1]], [[0, 0], [1, 1]], "^points: .*finite"),
        ([[0, 0], [1, 1]], [[0, 0], [np.inf, 1]], "^template: .*finite"),
        (ARCFACE_TEMPLATE[:3], ARCFACE_TEMPLATE, "^points: expected as many .* 5, got 3"),
        ([[0, 0]], [[0, 0]], r"^points: expected shape .*got \(1, 2\)"),
        (np.zeros((5, 3)), ARCFACE_TEMPLATE, r"^points: expected shape .*got \(5, 3\)"),
        ([["a", "b"]], ARCFACE_TEMPLATE, "^points: expected an array of numbers"),
    ],
)
def test_degenerate_points(points: object, template: object, words: str) -> None:
    with pytest.raises(AlignError, match=words) as caught:
        similarity_transform(points, template)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)


@given(hnp.arrays(np.float64, (3, 5, 2), elements=st.floats(-1000, 1000)))
def test_many_at_once_are_as_one_by_one(faces: np.ndarray) -> None:
    for points, found in zip(faces, similarity_transforms(faces, ARCFACE_TEMPLATE), strict=True):
        try:
            expected = similarity_transform(points, ARCFACE_TEMPLATE)
        except AlignError:
            assert np.isnan(found).any()
        else:
            np.testing.assert_array_equal(found, expected)


def test_a_face_without_a_transform_does_not_disturb_the_others() -> None:
    faces = np.stack([ARCFACE_TEMPLATE, np.full((5, 2), np.nan), np.zeros((5, 2)), np.full((5, 2), np.inf)])
    found = similarity_transforms(faces, ARCFACE_TEMPLATE)
    np.testing.assert_allclose(found[0], [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    assert np.isnan(found[1:]).all()
    assert similarity_transforms(np.empty((0, 5, 2)), ARCFACE_TEMPLATE).shape == (0, 2, 3)


def test_template_is_the_published_one_in_our_frame() -> None:
    np.testing.assert_allclose(ARCFACE_TEMPLATE[0], (38.2946 + 0.5, 51.6963 + 0.5))
    assert not ARCFACE_TEMPLATE.flags.writeable


# The crops


def test_points_already_in_place_give_the_image_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    np.testing.assert_array_equal(align(image, ARCFACE_TEMPLATE[None])[0], image)


@pytest.mark.parametrize("offset", [(0, 0), (7, 30), (3000, 900)])
def test_whole_pixel_shifts_are_exact(offset: tuple[int, int]) -> None:
    x, y = offset
    image = np.zeros((y + 150, x + 140, 3), np.uint8)
    face = np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8)
    image[y : y + 112, x : x + 112] = face
    np.testing.assert_array_equal(align(image, ARCFACE_TEMPLATE[None] + offset)[0], face)


@pytest.mark.parametrize("factor", [2, 3, 5, 8])
def test_whole_number_shrinking_averages_blocks(factor: int) -> None:
    """A crop pixel is the mean of the pixels it covers: true only if both frames agree to the half pixel."""
    rng = np.random.default_rng(factor)
    image = rng.integers(0, 256, (112 * factor, 112 * factor, 3), np.uint8)
    means = image.reshape(112, factor, 112, factor, 3).mean(axis=(1, 3))
    crop = align(image, factor * ARCFACE_TEMPLATE[None])[0]
    # Its filters reach a little into the neighbouring blocks, so that noise does not agree exactly …
    assert np.corrcoef(crop.ravel(), means.ravel())[0, 1] > 0.85
    # … but evenly to all sides.
    left = np.corrcoef(crop[:, 1:].ravel(), means[:, :-1].ravel())[0, 1]
    right = np.corrcoef(crop[:, :-1].ravel(), means[:, 1:].ravel())[0, 1]
    assert left == pytest.approx(right, abs=0.03)
    assert left < 0.1


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0.05, 6),
    ANGLES,
    st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    st.sampled_from([16, 56, 112, 113]),
)
def test_every_pixel_comes_from_its_place(scale: float, angle: float, shift: tuple[float, float], size: int) -> None:
    """On an image that rises evenly, each crop pixel tells where it was taken from."""
    side, slope = 120, 2.1
    rise = np.rint(slope * (np.arange(side) + 0.5)).astype(np.uint8)
    image = np.dstack(np.broadcast_arrays(rise[None, :], rise[:, None], np.uint8(0)))
    matrix = similarity(angle, scale, (0, 0))
    matrix[:, 2] = size / 2 - matrix[:, :2] @ (np.array([side / 2, side / 2]) + shift)
    points = taken_back(ARCFACE_TEMPLATE * (size / 112), matrix)[None]
    rising = align(image, points, size)[0, :, :, :2] / slope
    falling = (255 - align(255 - image, points, size)[0, :, :, :2].astype(float)) / slope
    grid = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)
    source = taken_back(grid.reshape(-1, 2), matrix).reshape(size, size, 2)
    reach = 2 + 2 / scale  # further in, the black around the image has no influence
    inside = ((source > reach) & (source < side - reach)).all(axis=-1)
    if not inside.any():
        return
    error = ((rising + falling) / 2 - source)[inside]
    assert np.abs(error).max() < 0.75  # pixels: grey levels are rounded two or three times
    if len(error) >= 50:  # enough to even that out; a frame off by half a pixel would show as 0.5 or more
        assert np.abs(error.mean(axis=0)).max() < 0.25


def test_shrinking_does_not_alias() -> None:
    """Stripes one pixel wide become an even gray, not stripes of another width."""
    image = np.zeros((1500, 1500, 3), np.uint8)
    image[:, ::2] = 255
    for factor in (2.0, 3.7, 6.3, 11.9):
        crop = align(image, factor * ARCFACE_TEMPLATE[None] + 3)[0].astype(float)
        assert np.abs(crop - 127.5).max() < 20, factor


def test_agrees_with_dense_sampling_of_a_photo() -> None:
    landmarks = np.array(FACE_LANDMARKS)
    size = 24  # shrinks about 5.5 times
    crop = align(portrait(), landmarks[None], size)[0].astype(float)
    matrix = similarity_transform(landmarks, ARCFACE_TEMPLATE * (size / 112))
    fine = (np.arange(size * 16) + 0.5) / 16
    grid = np.stack(np.meshgrid(fine, fine), axis=-1).reshape(-1, 2)
    x, y = np.floor(taken_back(grid, matrix)).astype(int).T
    expected = portrait()[y, x].reshape(size, 16, size, 16, 3).mean(axis=(1, 3))
    assert np.abs(crop - expected).mean() < 3
    assert np.abs((crop - expected).mean()) < 0.3


def test_outside_the_image_is_black() -> None:
    white = np.full((50, 60, 3), 255, np.uint8)
    crop = align(white, ARCFACE_TEMPLATE[None] - 56)[0]
    expected = np.zeros((112, 112, 3), np.uint8)
    expected[56:106, 56:] = 255
    np.testing.assert_array_equal(crop, expected)
    for far in (1e4, -1e4, 1e6):
        assert not align(white, ARCFACE_TEMPLATE[None] + far).any()


def test_large_images_work_beyond_what_opencv_can_warp() -> None:
    image = np.zeros((200, 40_000, 3), np.uint8)
    face = np.random.default_rng(2).integers(0, 256, (112, 112, 3), np.uint8)
    image[50:162, 39_000:39_112] = face
    np.testing.assert_array_equal(align(image, ARCFACE_TEMPLATE[None] + (39_000, 50))[0], face)


def test_several_faces_sizes_and_templates() -> None:
    landmarks = np.array([FACE_LANDMARKS, np.array(FACE_LANDMARKS) + 10], np.float32)
    crops = align(portrait(), landmarks, size=64)
    assert crops.shape == (2, 64, 64, 3)
    assert crops.dtype == np.uint8
    np.testing.assert_array_equal(crops[1], align(portrait(), landmarks[1:], size=64)[0])
    shifted = align(portrait(), landmarks, size=112, template=ARCFACE_TEMPLATE + np.array([8, 0]))
    plain = align(portrait(), landmarks, size=112).astype(int)
    assert np.abs(shifted[:, :, 8:] - plain[:, :, :-8]).mean() < 1
    assert align(portrait(), np.zeros((0, 5, 2))).shape == (0, 112, 112, 3)


def test_image_goes_through_the_one_door() -> None:
    bgr = portrait()[:, :, ::-1]
    rgb = align(bgr[:, :, ::-1] / 255, np.array([FACE_LANDMARKS]))
    np.testing.assert_array_equal(rgb, align(portrait(), np.array([FACE_LANDMARKS])))
    with pytest.raises(ImageError, match=r"image"):
        align(None, np.array([FACE_LANDMARKS]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"landmarks": np.zeros((5, 2))},
            r"^landmarks: expected shape \(N, 5, 2\), got \(5, 2\); .*\[None\]",
        ),
        ({"landmarks": np.zeros((2, 4, 2))}, r"^landmarks: .*got \(2, 4, 2\)"),
        ({"landmarks": np.stack([FACE_LANDMARKS, np.ones((5, 2))])}, r"^landmarks\[1\]: .*apart"),
        ({"landmarks": np.full((1, 5, 2), np.nan)}, r"^landmarks\[0\]: .*finite"),
        ({"landmarks": "faces"}, "^landmarks: expected an array of numbers"),
        ({"size": 0}, "^size: expected 1 to"),
        ({"size": 10**9}, "^size: expected 1 to"),
        ({"size": 112.0}, "^size: expected an integer"),
        ({"template": np.zeros((4, 2))}, r"^template: expected shape \(5, 2\), got \(4, 2\)"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(AlignError, match=words):
        align(portrait(), **{"landmarks": np.array([FACE_LANDMARKS]), **arguments})  # type: ignore[arg-type]
