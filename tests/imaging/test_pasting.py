"""Crops that are changed and put back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.imaging.alignment import AlignError, align
from cascade.imaging.pasting import LOWER_TEMPLATE, SHIFT, add_residual, mirrored_crops, soft_mask
from tests.photos import portrait

FACE = np.array([[[200, 100], [260, 102], [231, 135], [207, 168], [256, 169]]], np.float32)


def test_crops_within_the_photo_are_those_of_the_template() -> None:
    assert np.array_equal(mirrored_crops(portrait(), FACE), align(portrait(), FACE, template=LOWER_TEMPLATE))
    lower, usual = mirrored_crops(portrait(), FACE)[0], align(portrait(), FACE)[0]
    assert np.abs(lower[: 112 - SHIFT].astype(int) - usual[SHIFT:]).max() <= 1
    assert mirrored_crops(portrait(), np.empty((0, 5, 2))).shape == (0, 112, 112, 3)


def test_beyond_the_photo_is_its_mirror_image() -> None:
    photo = portrait()[:150, 180:300]
    crop = mirrored_crops(photo, FACE - (180, 0), 64)[0]
    assert (crop.reshape(-1, 3).sum(axis=1) > 0).mean() > 0.99
    assert mirrored_crops(photo[:1, :1], FACE, 64).shape == (1, 64, 64, 3)
    with pytest.raises(AlignError):
        mirrored_crops(photo, np.ones((1, 5, 2)))


def test_a_change_lands_where_the_crop_came_from() -> None:
    """What is brighter in the crop is brighter in the photo's crop, by about as much."""
    photo = np.full((260, 400, 3), 100, np.float32)  # all of the crop is within it
    residual = (60 * soft_mask(64))[:, :, None].repeat(3, axis=2)
    add_residual(photo, residual, FACE[0])
    crop = mirrored_crops(np.rint(photo).astype(np.uint8), FACE, 64)[0].astype(float) - 100
    assert np.abs(crop - residual).max() < 6
    assert photo[:, :60].max() == 100 == photo[:, 380:].min()


@given(st.integers(-300, 600), st.integers(-300, 600), st.floats(0.05, 8))
def test_faces_anywhere_leave_the_rest_alone(x: int, y: int, scale: float) -> None:
    photo = np.zeros((60, 80, 3), np.float32)
    add_residual(
        photo, (50 * soft_mask(32))[:, :, None].repeat(3, axis=2), (FACE[0] - FACE[0].mean(0)) * scale + (x, y)
    )
    assert np.isfinite(photo).all() and photo.min() >= 0 and photo.max() <= 50.001


def test_the_mask_is_whole_within_and_nothing_at_the_border_and_in_the_corners() -> None:
    mask = soft_mask(64)
    assert mask[20:44, 20:44].min() == 1 and mask[0].max() < 0.02 and np.array_equal(mask, mask.T)
    assert mask[:8, :8].max() == 0
