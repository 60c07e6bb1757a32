"""Which levels a pyramid has, and which of them crops are cut from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.imaging.pyramid import Pyramid, crop_sources, level_sizes


def test_levels_shrink_from_the_smallest_face_to_the_whole_photo() -> None:
    sizes = level_sizes(640, 480, 20, None, 12, 0.709)
    assert sizes[0] == (384, 288)
    for (width, height), (next_width, next_height) in pairwise(sizes):
        factor = 0.709 if height > 24 else 0.709**0.5  # windows of 12 pixels are half of the photo from there on
        assert next_width == pytest.approx(width * factor, abs=1)
        assert next_height == pytest.approx(height * factor, abs=1)
    assert min(sizes[-1]) >= round(12 * 0.6)
    assert min(sizes[-1]) * 0.709**0.5 < 12 * 0.6 + 1


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.floats(4, 1e6),
    st.one_of(st.none(), st.floats(4, 1e9)),
    st.floats(0.5, 0.95),
)
def test_levels_are_few_and_have_pixels(
    width: int, height: int, min_face: float, max_face: float | None, factor: float
) -> None:
    sizes = level_sizes(width, height, min_face, max_face, 12, factor)
    assert len(sizes) < 200
    assert all(w >= 1 and h >= 1 for w, h in sizes)


def test_crops_come_from_the_photo_and_smaller_levels_only() -> None:
    images = [np.zeros((n, n, 3), np.uint8) for n in (100, 150, 100, 80, 40)]
    pyramid = Pyramid(images, np.array([(len(i) / 100,) * 2 for i in images]))
    found, scales = crop_sources(pyramid)
    assert [len(image) for image in found] == [100, 80, 40]
    assert scales[:, 0].tolist() == [1, 0.8, 0.4]
