"""Aligned crops follow the rule to the byte, come from the right level, and lie where they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import _native
from cascade.imaging.pyramid import build_pyramid
from tests.photos import portrait

OUTSIDE, BITS, PART = 128, 32, 8


def similarity(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def by_the_rule(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop by Python's integers, pixel by pixel."""
    (a, b), (c, d) = matrix[:, :2]
    determinant = a * d - b * c
    back = np.array([[d, -b], [-c, a]]) / determinant
    start = back[:, 0] * (0.5 - matrix[0, 2]) + back[:, 1] * (0.5 - matrix[1, 2])
    fixed = [[round(float(v) * 2**BITS) for v in (*row, s)] for row, s in zip(back, start, strict=True)]
    height, width = image.shape[:2]
    crop = np.full((size, size, 3), OUTSIDE, np.uint8)
    for row in range(size):
        for column in range(size):
            x, y = (f[0] * column + f[1] * row + f[2] for f in fixed)
            if not (0 <= x < width << BITS and 0 <= y < height << BITS):
                continue
            (left, across), (top, down) = (divmod(v - (1 << (BITS - 1)), 1 << BITS) for v in (x, y))
            across, down = across >> (BITS - PART), down >> (BITS - PART)
            columns = np.clip([left, left + 1], 0, width - 1)
            rows = np.clip([top, top + 1], 0, height - 1)
            four = image[np.ix_(rows, columns)].astype(int)
            weights = np.outer([256 - down, down], [256 - across, across])
            crop[row, column] = ((four * weights[..., None]).sum(axis=(0, 1)) + 32768) >> 16
    return crop


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.floats(-np.pi, np.pi),
    st.floats(0.3, 8),
    st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    st.integers(1, 12),
)
def test_warp_follows_the_rule(
    shape: tuple[int, int], angle: float, scale: float, shift: tuple[float, float], size: int
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    matrix = similarity(angle, scale, shift)
    found = _native.warp([image], [(1.0, 1.0)], matrix[None], size)
    np.testing.assert_array_equal(found[0], by_the_rule(image, matrix, size))


def test_shifts_by_integers_copy_pixels() -> None:
    image = portrait()
    found = _native.warp([image], [(1.0, 1.0)], similarity(0, 1, (-100, -40))[None], 64)
    np.testing.assert_array_equal(found[0], image[40:104, 100:164])


def test_a_rotation_by_90_degrees_is_exact() -> None:
    image = portrait()[:64, :64]
    found = _native.warp([image], [(1.0, 1.0)], similarity(np.pi / 2, 1, (64, 0))[None], 64)
    np.testing.assert_array_equal(found[0], np.rot90(image, -1))


def test_each_crop_comes_from_the_smallest_level_that_is_fine_enough() -> None:
    colours = [np.full((s, s, 3), value, np.uint8) for s, value in ((400, 10), (200, 20), (100, 30))]
    matrices = np.stack([similarity(0.3, scale, (0, 0)) for scale in (0.24, 0.26, 0.49, 0.51, 3.0)])
    found = _native.warp(colours, [(1.0, 1.0), (0.5, 0.5), (0.25, 0.25)], matrices, 9)
    assert found[:, 0, 0, 0].tolist() == [30, 20, 20, 10, 10]


def test_levels_agree_about_the_place() -> None:
    image = portrait()
    pyramid = build_pyramid(image, [(256, 256), (128, 128)])
    matrix = similarity(0.4, 0.12, (-5, 12))[None]
    coarse = _native.warp(pyramid.images, pyramid.scales, matrix, 48)[0].astype(float)
    fine = _native.warp([image], [(1.0, 1.0)], similarity(0.4, 0.12, (-5, 12))[None], 48)[0].astype(float)
    shifted = np.roll(coarse, 1, axis=1)
    assert np.abs(coarse - fine)[2:-2, 2:-2].mean() < 0.5 * np.abs(shifted - fine)[2:-2, 2:-2].mean()


def test_no_crops() -> None:
    assert _native.warp([portrait()], [(1.0, 1.0)], np.empty((0, 2, 3)), 8).shape == (0, 8, 8, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], [], np.zeros((1, 2, 3)), 8), "^images"),
        (([np.zeros((4, 4, 3), np.uint8)], [(1.0, 1.0)], np.zeros((1, 2, 3)), 8), "^matrices: .*within"),
        (([np.zeros((4, 4, 3), np.uint8)], [(1.0, 1.0)], np.full((1, 2, 3), np.nan), 8), "^matrices: .*within"),
        (([np.zeros((4, 4, 3), np.uint8)], [(1.0, 1.0)], [similarity(0, 1, (1e7, 0))], 8), "^matrices: .*within"),
        (([np.zeros((4, 4, 3), np.uint8)], [(1.0, 1.0)], [similarity(0, 1e-7, (0, 0))], 8), "^matrices: .*within"),
        (([np.zeros((4, 4, 3), np.uint8)], [(1.0, 1.0)], np.zeros((2, 3)), 8), "^matrices: .*shape"),
        (([np.zeros((4, 4, 3), np.uint8)], [(1.0, 1.0)], "turn", 8), "^matrices: .*numbers"),
        (([np.zeros((4, 4, 3), np.uint8)], [(1.0, 1.0), (0.5, 0.5)], np.zeros((1, 2, 3)), 8), "^scales"),
        (([np.zeros((4, 4, 3), np.uint8)], [(1.0, 1.0)], [similarity(0, 1, (0, 0))], 0), "^size"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _native.warp(*arguments)  # type: ignore[arg-type]
