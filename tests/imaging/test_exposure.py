"""Automatic exposure: ordinary photos stay as they are; dark, pale and colour-cast ones get an
ordinary tonal range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cascade import Detector, _native
from cascade.boxes import iou
from cascade.imaging.exposure import exposures
from tests.photos import FACE_BOX, portrait

CHANGES = {
    "blue light": lambda image: image * (0.35, 0.5, 1.2),
    "red light": lambda image: image * (1.2, 0.35, 0.3),
    "night vision": lambda image: image.mean(axis=2, keepdims=True) * (0.25, 1, 0.15),
    "dark": lambda image: image * 0.15,
    "very dark": lambda image: image * 0.06,
    "low contrast": lambda image: image * 0.2 + 100,
}


def changed(name: str) -> np.ndarray:
    return np.clip(np.rint(CHANGES[name](portrait().astype(float))), 0, 255).astype(np.uint8)


def test_an_ordinary_photo_is_the_very_same_array():
    image = portrait()
    assert _native.auto_exposure(image) is image


@pytest.mark.parametrize("name", CHANGES)
def test_ends_of_the_channels_land_where_those_of_ordinary_photos_do(name):
    result = _native.auto_exposure(changed(name))
    low, high = np.quantile(result.reshape(-1, 3), (0.01, 0.99), axis=0)
    assert (np.abs(low - 8) < 16).all()
    assert (np.abs(high - 235) < 24).all()


@pytest.mark.parametrize("name", CHANGES)
def test_the_face_is_found_in_any_light(name):
    faces = Detector(threads=1, exposure="auto").detect(changed(name))
    assert len(faces) == 1
    assert iou(faces.boxes, [FACE_BOX])[0, 0] > 0.6


def test_without_it_photos_stay_as_they_are():
    plain = Detector(threads=1, exposure="none")
    image = portrait()
    np.testing.assert_array_equal(plain.detect(image).boxes, Detector(threads=1, exposure="auto").detect(image).boxes)
    assert len(plain.detect((image * 0.03).astype(np.uint8))) == 0


def lit_face(around: np.ndarray, light: float = 1.0) -> np.ndarray:
    """A photo that shows nothing but a lit face of the portrait."""
    x1, y1, x2, y2 = (int(side) for side in FACE_BOX)
    x1, y1, x2, y2 = x1 - 60, y1 - 60, x2 + 60, y2 + 60
    around[y1:y2, x1:x2] = portrait()[y1:y2, x1:x2] * light
    return around


@pytest.mark.parametrize(
    ("side", "around", "light"), [(4096, 0, 1), (2048, 0, 0.35), (2048, 255, 1)], ids=["black", "dim", "white"]
)
@pytest.mark.parametrize("rotations", [(0,), (90, 0)])
def test_the_only_lit_face_of_a_photo_is_found(side, around, light, rotations):
    image = lit_face(np.full((side, side, 3), around, np.uint8), light)
    faces = Detector(min_face=80, threads=1, exposure="auto", rotations=rotations).detect(image)
    overlaps = iou(faces.boxes, [FACE_BOX])
    assert overlaps.max(initial=0) > 0.6 and (overlaps > 0.3).sum() == 1


def test_photos_in_a_batch_keep_their_places_whatever_their_exposures():
    photos = [portrait(), lit_face(np.zeros((2048, 2048, 3), np.uint8)), changed("dark")]
    detector = Detector(min_face=80, threads=1, rotations=(0, 180))
    for together, photo in zip(detector.detect_batch(iter(photos)), photos, strict=True):
        np.testing.assert_array_equal(together.boxes, detector.detect(photo).boxes)


@pytest.mark.parametrize("name", ["dark", "very dark"])
def test_photos_that_are_dark_all_over_are_searched_once(name):
    (only,) = exposures(changed(name), 20)
    np.testing.assert_array_equal(only, _native.auto_exposure(changed(name)))


def test_an_ordinary_photo_is_searched_once_as_it_is():
    image = portrait()
    (only,) = exposures(image, 20)
    assert only is image


@given(st.integers(1, 70), st.integers(1, 70), st.floats(4, 200))
def test_photos_of_any_size_are_taken(height, width, min_face):
    image = np.full((height, width, 3), 3, np.uint8)
    assert len(exposures(image, min_face)) == 1
    image[: height // 3, : width // 3] = 200
    found = exposures(image, min_face)
    assert all(each.shape == image.shape for each in found)
    assert found[-1] is image or len(found) == 1


def test_other_settings_are_refused():
    with pytest.raises(ValueError, match=r"^exposure: expected 'auto' or 'none', got 'bright'"):
        Detector(exposure="bright")  # type: ignore[arg-type]


@given(arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(3)), elements=st.integers(0, 255)))
def test_any_image_gives_one_table_for_each_channel(image):
    before = image.copy()
    result = _native.auto_exposure(image)
    np.testing.assert_array_equal(image, before)
    assert result.shape == image.shape
    for channel in range(3):
        # equal values become equal, and their order stays
        order = np.argsort(image[:, :, channel], axis=None, kind="stable")
        assert (np.diff(result[:, :, channel].ravel()[order].astype(int)) >= 0).all()


def test_an_image_of_one_colour_and_a_view_are_taken():
    assert _native.auto_exposure(np.zeros((5, 7, 3), np.uint8)).max() <= 8
    view = changed("dark")[::2, ::-3]
    np.testing.assert_array_equal(_native.auto_exposure(view), _native.auto_exposure(np.ascontiguousarray(view)))
