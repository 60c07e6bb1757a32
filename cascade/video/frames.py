"""From decoded frames to the package's images: colours, rotation and the shape of pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from cascade.imaging.pixels import MAX_PIXELS, RGBImage
from cascade.video.errors import VideoError

__all__ = ["VideoFrame", "check_size", "to_image"]

# Codes of ISO/IEC 23091-2.
UNSPECIFIED = 2
BT709, BT470BG, BT2020 = 1, 5, 9
PQ, HLG = 16, 18

# FFmpeg's numbers of swscale for the matrix of a frame's colours, by the code above; those of a frame that does not
# say are BT.709 from this height on, and BT.601 below, as players take them.
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
HD_HEIGHT = 720

FULL_RANGE = 2
LUT_SIDE = 33  # points per axis of the table that maps HDR colours

# Luminance in cd/m² of the white of a picture, and the brightest that is told apart in a tone-mapped one.
HDR_WHITE, HDR_PEAK = 203.0, 1000.0


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame of a video or camera."""

    time: float
    """Seconds from the beginning of the video; of a camera or live stream, from its first frame."""
    index: int
    """Place among the frames that were read, from 0; frames that ``every`` leaves out count, those before ``start``
    and damaged ones do not."""
    image: RGBImage
    """(H, W, 3) uint8 RGB, upright."""


def check_size(width: int, height: int, what: str) -> None:
    """Raises `VideoError` for frames of more pixels than the package takes."""
    if width * height > MAX_PIXELS:
        raise VideoError(f"{what}: expected frames of at most {MAX_PIXELS:,} pixels, got {width} × {height}")


Matrix = tuple[int, int, int, int]


def to_image(frame: Any, aspect: Fraction | None, matrix: Matrix) -> RGBImage:
    """The image (H, W, 3) uint8 RGB of a decoded ``av.VideoFrame``, upright and with square pixels.

    ``aspect`` is the width of a pixel over its height (None: square), ``matrix`` from `display_matrix`. Of 10 and 12
    bits the upper 8 remain. HDR (PQ and HLG) is mapped to the range and colours of ordinary screens.
    """
    width = frame.width
    if aspect and abs(aspect - 1) > Fraction(1, 100):
        width = max(1, round(width * aspect))
    colours = MATRICES.get(frame.colorspace, BT709 if frame.height >= HD_HEIGHT else BT470BG)
    full = frame.color_range == FULL_RANGE or (frame.format.name.startswith("yuvj"))
    rgb = frame.reformat(
        width=width,
        format="rgb24",
        src_colorspace=colours,
        dst_colorspace=colours,
        src_color_range=FULL_RANGE if full else 1,
        dst_color_range=FULL_RANGE,
        threads=1,
    )
    pixels: RGBImage = rgb.to_ndarray()
    if frame.color_trc in (PQ, HLG):
        pixels = np.asarray(Image.fromarray(pixels).filter(_tone_map(frame.color_trc)))
    return upright(pixels, matrix)


def display_matrix(frame: Any) -> Matrix:
    """The signs (a, b, c, d) of a frame's display matrix: x' = ax + cy, y' = bx + dy.

    A frame that was asked for it stays in memory until Python collects cycles, so it is not asked of every frame.
    """
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = struct.unpack("<5i", bytes(data)[:20])
            largest = max(abs(a), abs(b), abs(c), abs(d))
            if not largest:
                break
            signs = tuple(round(value / largest) for value in (a, b, c, d))
            return signs[0], signs[1], signs[2], signs[3]
    return 1, 0, 0, 1


def upright(pixels: RGBImage, matrix: Matrix) -> RGBImage:
    """The pixels moved as a display matrix of quarter turns and mirrors says; unchanged by any other matrix."""
    a, b, c, d = matrix
    if (b, c) == (0, 0) and abs(a * d) == 1:
        moved = pixels[::d, ::a]
    elif (a, d) == (0, 0) and abs(b * c) == 1:
        moved = pixels.transpose(1, 0, 2)[::b, ::c]
    else:
        moved = pixels
    return np.ascontiguousarray(moved)


# HDR


@cache
def _tone_map(transfer: int) -> Any:
    """A table from R'G'B' of BT.2020 with the PQ or HLG curve to sRGB."""
    steps = np.linspace(0, 1, LUT_SIDE)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")  # Pillow's order: red changes first
    signal = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    linear = (_pq(signal) if transfer == PQ else _hlg(signal)) / HDR_WHITE
    # the largest channel is compressed, so that colours keep their hue
    peak = HDR_PEAK / HDR_WHITE
    largest = linear.max(axis=1, keepdims=True)
    mapped = linear * _compressed(largest, peak) / np.maximum(largest, 1e-9)
    table = _srgb(np.clip(mapped @ BT2020_TO_BT709.T, 0, 1))
    return ImageFilter.Color3DLUT(LUT_SIDE, table.astype(np.float32).ravel().tolist())


BT2020_TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]
)
"""Of linear colours, from ITU-R BT.2087."""

FloatArray = npt.NDArray[np.float64]


def _pq(signal: FloatArray) -> FloatArray:
    """Luminance in cd/m² of a PQ signal (SMPTE ST 2084)."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = signal ** (1 / m2)
    return np.asarray(10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1))


def _hlg(signal: FloatArray) -> FloatArray:
    """Luminance in cd/m² of a hybrid log-gamma signal (ITU-R BT.2100) on a screen of 1,000 cd/m²."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return np.asarray(HDR_PEAK * scene * np.maximum(luminance, 1e-9)[:, None] ** 0.2)


def _compressed(value: FloatArray, peak: float) -> FloatArray:
    """Values of 0..peak in 0..1: Reinhard's curve with a white point."""
    return np.asarray(value * (1 + value / peak**2) / (1 + value))


def _srgb(linear: FloatArray) -> FloatArray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
