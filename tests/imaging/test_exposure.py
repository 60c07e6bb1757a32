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
