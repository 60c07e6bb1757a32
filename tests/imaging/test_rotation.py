"""In-plane rotation of a photo and its boxes."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.imaging.rotation import rotate_boxes, rotate_image

GRAY = (128, 128, 128)


def ellipse(height: int, width: int, box: tuple[float, ...]) -> np.ndarray:
    """A black image with a white ellipse in the box."""
    y, x = np.mgrid[:height, :width] + 0.5
    x1, y1, x2, y2 = box
    inside = ((x - (x1 + x2) / 2) * 2 / (x2 - x1)) ** 2 + ((y - (y1 + y2) / 2) * 2 / (y2 - y1)) ** 2 <= 1
    return np.repeat(np.uint8(255) * inside[:, :, None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("degrees", [0, 25, -60, 90, 180])
def test_the_box_is_that_of_the_rotated_ellipse(degrees, expand):
    box = (60.0, 40.0, 90.0, 85.0)
    rotated, transform = rotate_image(ellipse(120, 150, box), degrees, (0, 0, 0), expand=expand)
    y, x = np.nonzero(rotated[:, :, 0] > 127)
    found = (x.min(), y.min(), x.max() + 1, y.max() + 1)
    np.testing.assert_allclose(rotate_boxes(np.array([box]), transform)[0], found, atol=1.2)


def test_quarter_turns_are_exact_and_clockwise():
    image = np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)
    rotated, transform = rotate_image(image, 90, GRAY, expand=True)
    assert np.array_equal(rotated, np.rot90(image, -1))
    np.testing.assert_allclose(transform @ [0, 0, 1], [31, 0], atol=1e-9)
    np.testing.assert_allclose(rotate_boxes(np.array([[0.0, 0, 10, 4]]), transform), [[27, 0, 31, 10]], atol=1e-9)


def test_the_canvas():
    image = np.zeros((40, 60, 3), np.uint8)
    same, _ = rotate_image(image, 45, GRAY, expand=False)
    assert same.shape == image.shape and (same[0, 0] == 128).all()
    larger, transform = rotate_image(image, 45, GRAY, expand=True)
    assert larger.shape == (71, 71, 3)
    corners = np.array([[0, 0], [60, 0], [0, 40], [60, 40]]) @ transform[:, :2].T + transform[:, 2]
    assert corners.min() >= 0 and corners.max() <= 71
    assert rotate_boxes(np.zeros((0, 4)), transform).shape == (0, 4)
