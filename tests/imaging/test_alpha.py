"""Transparent pictures: laid on white they show what viewers show, and nothing of what is under transparent pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cascade import ImageError, ImageWarning, read_image

COLOUR = np.full((4, 6, 3), (200, 40, 10), np.uint8)
ALPHA = np.repeat(np.array([[0, 0, 128, 128, 255, 255]], np.uint8), 4, 0)
LAID = np.rint(255 + (COLOUR.astype(float) - 255) * ALPHA[:, :, None] / 255)
RGBA = np.dstack([COLOUR, ALPHA])


def png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def premultiplied(picture: Image.Image) -> Image.Image:
    return picture.convert("RGBa")


@pytest.mark.parametrize(
    "picture",
    [
        RGBA,
        RGBA.astype(np.uint16) * 257,
        RGBA / 255,
        Image.fromarray(RGBA),
        png(Image.fromarray(RGBA)),
        premultiplied(Image.fromarray(RGBA)),
    ],
    ids=["uint8", "uint16", "float", "Pillow", "PNG", "premultiplied"],
)
def test_colours_are_laid_on_white(picture):
    laid = read_image(picture, alpha="white")
    assert (laid.dtype, laid.shape) == (np.uint8, (4, 6, 3))
    assert np.abs(laid.astype(int) - LAID).max() <= 1
    assert (laid[:, :2] == 255).all()
    if not (isinstance(picture, Image.Image) and picture.mode == "RGBa"):
        assert (read_image(picture) == COLOUR).all()


@pytest.mark.parametrize("alpha", ["drop", "white"])
def test_premultiplied_gray_is_read_as_gray_with_alpha(alpha):
    opaque = Image.fromarray(np.dstack([RGBA[:, :, 0], np.full(RGBA.shape[:2], 255, np.uint8)]))
    gray = opaque.convert("La")
    assert (gray.mode, opaque.mode) == ("La", "LA")
    assert (read_image(gray, alpha=alpha) == RGBA[:, :, :1]).all()


def test_arrays_of_opencv_are_laid_on_white():
    laid = read_image(RGBA[:, :, [2, 1, 0, 3]], color="bgr", alpha="white")
    assert np.abs(laid.astype(int) - LAID).max() <= 1


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "P", "1"])
def test_a_value_that_stands_for_transparent_pixels_is_white(mode):
    if mode == "I;16":
        image = Image.fromarray(np.array([[7, 60_000]], np.uint16))
        transparent: Any = 7
    else:
        image = Image.fromarray(np.array([[[9, 9, 9], [250, 250, 250]]], np.uint8)).convert(mode)
        transparent = (9, 9, 9) if mode == "RGB" else image.getpixel((0, 0))
    laid = read_image(png(image, transparency=transparent), alpha="white")
    assert (laid[0, 0] == 255).all()
    assert (laid[0, 1] == read_image(png(image))[0, 1]).all()


def test_damaged_transparency_is_ignored_as_viewers_do():
    data = png(Image.fromarray(COLOUR), transparency=(200, 40, 10))
    assert (read_image(data, alpha="white") == 255).all()
    at = data.index(b"tRNS")
    damaged = data[: at + 4] + b"\1" + data[at + 5 :]
    with pytest.warns(ImageWarning, match="tRNS was ignored"):
        assert (read_image(damaged, alpha="white") == COLOUR).all()


def test_gray_and_alpha():
    array = np.dstack([COLOUR[:, :, 0], ALPHA])
    for picture in (array, png(Image.fromarray(array, "LA"))):
        laid = read_image(picture, alpha="white")
        assert np.abs(laid.astype(int) - LAID[:, :, :1]).max() <= 1


def test_what_has_no_alpha_is_as_it_was():
    assert read_image(COLOUR, alpha="white") is COLOUR
    assert (read_image(png(Image.fromarray(COLOUR)), alpha="white") == COLOUR).all()


def test_another_word_is_refused():
    with pytest.raises(ImageError, match='alpha: expected "drop" or "white", got \'black\''):
        read_image(COLOUR, alpha="black")  # type: ignore[call-overload]
