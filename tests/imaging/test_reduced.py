"""JPEG files read at a fraction of their size, and where what is read lies in the photo."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cascade.imaging.reading import ImageError, ImageWarning, read_image, read_reduced
from cascade.imaging.reduced import REDUCTIONS, SMALLEST_REDUCED_FACE, Frame, largest_reduction
from tests.imaging.pictures import assert_contract, colours, encode, exif, oriented
from tests.photos import PORTRAIT, portrait


def spot_picture(width: int, height: int, x: int, y: int) -> np.ndarray:
    """A grey picture with one white square of 24 pixels."""
    picture = np.full((height, width, 3), 64, np.uint8)
    picture[y : y + 24, x : x + 24] = 255
    return picture


def centre_of_white(pixels: np.ndarray) -> np.ndarray:
    """The centre of what is brighter than the ground, weighted by how much."""
    weight = np.clip(pixels[:, :, 0].astype(float) - 80, 0, None)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("reduction", REDUCTIONS)
@settings(max_examples=5)
@given(width=st.integers(80, 110), height=st.integers(80, 110))
def test_a_point_is_found_where_it_is_in_the_photo(orientation: int, reduction: int, width: int, height: int) -> None:
    picture = spot_picture(width, height, 32, 40)
    data = encode(oriented(picture, orientation), "JPEG", quality=95, exif=exif(orientation))
    read = read_reduced(data, reduction)
    assert_contract(read.pixels)
    assert (read.frame.width, read.frame.height, read.frame.reduction) == (width, height, reduction)
    found = read.frame.to_photo(centre_of_white(read.pixels))
    assert np.abs(found - (44, 52)).max() < 0.6
    corners = read.frame.to_photo(np.array([[0.0, 0.0], read.pixels.shape[1::-1]]))
    assert ((corners[0] <= 0) & (corners[0] > -reduction)).all()
    assert ((corners[1] - (width, height) >= 0) & (corners[1] - (width, height) < reduction)).all()


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}], ids=["plain", "progressive", "444"]
)
@pytest.mark.parametrize("reduction", REDUCTIONS[1:])
def test_the_picture_is_the_same_but_smaller(options: dict[str, object], reduction: int) -> None:
    data = encode(portrait(), "JPEG", quality=92, **options)
    read = read_reduced(data, reduction)
    side = 512 // reduction
    assert read.pixels.shape == (side, side, 3)
    blocks = read_image(data).reshape(side, reduction, side, reduction, 3).mean(axis=(1, 3))
    assert np.abs(read.pixels - blocks).mean() < 3


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_colours(mode: str) -> None:
    data = encode(Image.fromarray(portrait()).convert(mode), "JPEG")
    assert read_reduced(data, 4).pixels.shape == (128, 128, 3)


def test_a_reduction_of_one_is_the_photo() -> None:
    read = read_reduced(PORTRAIT, 1)
    assert np.array_equal(read.pixels, portrait())
    assert read.frame == Frame(512, 512)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_other_files_are_read_as_they_are(kind: str) -> None:
    data = encode(colours(), kind)
    read = read_reduced(data, 8)
    assert np.array_equal(read.pixels, read_image(data))
    assert read.frame == Frame(28, 20)


def test_arrays_pillow_images_and_tiny_jpegs_are_read_as_they_are() -> None:
    array = colours()
    assert read_reduced(array, 8).pixels is array
    opened = Image.open(io.BytesIO(encode(array, "JPEG")))
    assert read_reduced(opened, 8).frame == Frame(28, 20)
    tiny = read_reduced(encode(array[:7, :7], "JPEG"), 8)
    assert tiny.pixels.shape == (7, 7, 3)
    assert tiny.frame == Frame(7, 7)


def test_bad_files_are_errors_as_at_full_size() -> None:
    data = PORTRAIT.read_bytes()
    with pytest.raises(ImageError, match="cut short"):
        read_reduced(data[: len(data) // 2], 4)
    with pytest.warns(ImageWarning, match="cut short"):
        assert read_reduced(data[: len(data) // 2], 4, truncated="allow").pixels.shape == (128, 128, 3)
    with pytest.raises(ImageError, match="100,000 pixels in all"):
        read_reduced(data, 4, max_pixels=100_000)
    with pytest.raises(ValueError, match=r"^reduction: expected 1, 2, 4 or 8, got 3"):
        read_reduced(data, 3)


@given(st.floats(4, 1e6))
def test_faces_keep_enough_pixels(min_face: float) -> None:
    reduction = largest_reduction(min_face)
    assert reduction in REDUCTIONS
    assert reduction == 1 or min_face / reduction >= SMALLEST_REDUCED_FACE
    assert reduction == 8 or min_face / (2 * reduction) < SMALLEST_REDUCED_FACE
