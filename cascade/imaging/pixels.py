"""Pixels by the rules of this package: Pillow images and arrays become H×W×3 uint8 RGB."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from cascade.imaging.errors import ImageError

RGBImage: TypeAlias = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, upright."""

MAX_PIXELS = 200_000_000  # 600 MB of RGB: more than any camera has, far less than a malicious header can claim
MAX_SIDE = 65_500  # the longest side that JPEG libraries accept
FLOAT_TOLERANCE = 1e-3  # how far floats can be outside 0..1: a quarter of a grey level
BIT_DEPTHS = (8, 10, 12, 14, 16)
"""Bits per value that cameras and scanners have. Integers of more than 8 bits are scaled by the least that fits."""

_BLOCK = 1 << 18  # bytes: what stays in a processor's cache


def check_size(width: int, height: int, max_pixels: int | None = None) -> None:
    """Raise `ImageError` for a picture without pixels, or with more than `MAX_PIXELS` or other limits."""
    most = MAX_PIXELS if max_pixels is None else max_pixels
    if width == 0 or height == 0:
        raise ImageError(f"image: expected at least one pixel, got {width}×{height}")
    if max(width, height) > MAX_SIDE or width * height > most:
        limits = f"sides up to {MAX_SIDE:,} and {most:,} pixels in all"
        raise ImageError(f"image: expected {limits}, got {width:,}×{height:,}")


def from_pillow(image: Image.Image, *, on_white: bool = False) -> RGBImage:
    """The pixels of a loaded Pillow image of any mode, without its alpha or laid ``on_white``.

    Raises `ImageError` for values that no rule holds for.
    """
    image = image.convert("LA") if image.mode == "La" else image  # Pillow converts it to nothing else
    if on_white and image.has_transparency_data:
        return _pillow_on_white(image)
    mode = image.mode
    if mode in ("RGB", "RGBA", "RGBX"):
        return _packed(image)
    if mode == "F":
        return from_array(np.asarray(image))
    if mode == "I" or mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"image: expected values of 0..65535 in int32, got {values.min()} to {values.max()}")
        return from_array(values.astype(np.uint16))
    if mode in ("L", "LA"):
        return from_array(np.asarray(image if mode == "L" else image.getchannel("L")))
    # A palette not to RGB, which warns about transparent ones.
    return _packed(image.convert("RGBA" if mode in ("P", "PA", "RGBa") else "RGB"))


def _pillow_on_white(image: Image.Image) -> RGBImage:
    """The pixels of a Pillow image with an alpha channel, or with a value that stands for transparent pixels."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        pixels = from_pillow(image)
        pixels[np.asarray(image) == image.info["transparency"]] = 255
        return pixels
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return _packed(white)


def _packed(image: Image.Image) -> RGBImage:
    """Three of the four bytes that Pillow has for a pixel.

    It does what `numpy.array(image)` does, without three copies of the whole picture.
    """
    width, height = image.size
    pixels = np.empty(height * width * 3, np.uint8)
    encoder = Image._getencoder(image.mode, "raw", ("RGB", 0, 1))
    encoder.setimage(image.im, (0, 0, width, height))
    at, status = 0, 0
    while not status:
        _, status, block = encoder.encode(max(_BLOCK, 4 * width))
        pixels[at : at + len(block)] = np.frombuffer(block, np.uint8)
        at += len(block)
    return pixels.reshape(height, width, 3)


def from_array(array: npt.NDArray[Any], *, bgr: bool = False, on_white: bool = False) -> RGBImage:
    """The pixels of an array of any accepted shape and type; it is returned itself if it is RGB already.

    Alpha is dropped, or the picture is laid ``on_white``.

    Raises `ImageError` for other arrays.
    """
    _check_array(array)
    if array.ndim == 3 and array.shape[2] != 3:  # drop alpha
        if on_white and array.shape[2] in (2, 4):
            array = _laid_on_white(_of_8_bits(array))
        array = array[:, :, 0] if array.shape[2] < 3 else array[:, :, :3]
    values = _of_8_bits(array)
    if values.ndim == 3 and not bgr:
        return np.ascontiguousarray(values)
    pixels = np.empty((*values.shape[:2], 3), np.uint8)
    for channel in range(3):
        pixels[:, :, channel] = values if values.ndim == 2 else values[:, :, 2 - channel]
    return pixels


def _of_8_bits(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    return _from_integers(array) if array.dtype.kind == "u" else _from_floats(array)


def _laid_on_white(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The colours (H, W, 1 or 3) of values whose last channel is alpha, over white, rounded to the nearest."""
    laid = np.empty((*values.shape[:2], values.shape[2] - 1), np.uint8)
    rows = max(1, _BLOCK // max(1, values[0].size))
    for top in range(0, len(values), rows):
        block = values[top : top + rows].astype(np.int32)
        colour, alpha = block[:, :, :-1], block[:, :, -1:]
        laid[top : top + rows] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return laid


def _from_integers(array: npt.NDArray[Any]) -> RGBImage:
    """Values of 10 to 16 bits, which the largest one tells, as 8 bits, rounded to the nearest."""
    largest = int(array.max())
    full = next((1 << bits) - 1 for bits in BIT_DEPTHS if largest < 1 << bits)
    table = np.rint(np.arange(full + 1) * (255 / full)).astype(np.uint8)
    scaled: RGBImage = np.take(table, array)
    return scaled


def _from_floats(array: npt.NDArray[Any]) -> RGBImage:
    """Values in 0..1 as 8 bits, rounded to the nearest."""
    low, high = float(array.min()), float(array.max())  # NaN anywhere makes both NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"image: expected finite {array.dtype} values in 0..1, got NaN or infinity")
    if low < -FLOAT_TOLERANCE or high > 1 + FLOAT_TOLERANCE:
        hint = "scale it to 0..1" if low < 0 else "divide it by 255 or use image.astype(numpy.uint8)"
        raise ImageError(f"image: expected {array.dtype} values in 0..1, got {low:g} to {high:g}; {hint}")
    scaled = np.empty(array.shape, np.uint8)
    rows = max(1, _BLOCK // max(1, array[0].size))
    for top in range(0, len(array), rows):  # in blocks, since float32 needs four times the memory of the result
        block = array[top : top + rows].astype(np.float32)
        scaled[top : top + rows] = np.rint(np.clip(block * np.float32(255), 0, 255))
    return scaled


def _check_array(array: npt.NDArray[Any]) -> None:
    shape, kind, width = array.shape, array.dtype.kind, array.dtype.itemsize
    if not (array.ndim == 2 or (array.ndim == 3 and 1 <= shape[2] <= 4)):
        hint = ""
        if array.ndim == 3 and 1 <= shape[0] <= 4:
            hint = "; the channels come first here: use image.transpose(1, 2, 0)"
        elif array.ndim == 4:
            hint = "; pass one image at a time"
        elif array.ndim == 1 and array.dtype == np.uint8:
            hint = "; for the bytes of a file pass image.tobytes()"
        raise ImageError(f"image: expected an array of shape (H, W) or (H, W, 1 to 4), got {shape}{hint}")
    check_size(shape[1], shape[0])
    if not ((kind == "u" and width <= 2) or (kind == "f" and width <= 8)):
        hint = "; if its values are 0..255, use image.astype(numpy.uint8)" if kind in "iu" else ""
        hint = "; a mask is not a picture" if kind == "b" else hint
        raise ImageError(f"image: expected uint8, uint16 or float16/32/64 values, got {array.dtype}{hint}")
