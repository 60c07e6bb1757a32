"""Drawing faces on a picture; users call `Faces.draw`."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cascade.imaging.pixels import RGBImage

__all__ = ["DARK", "DEFAULT_COLOR", "WHITE", "Label", "blend", "draw_faces", "text_height"]

DEFAULT_COLOR = (70, 235, 140)
DARK = (16, 20, 24)
WHITE = (255, 255, 255)
DIGIT_HEIGHT = 0.73  # of the font's size
SMALLEST_TEXT = 9.0  # pixels; smaller digits cannot be read

FloatArray = npt.NDArray[np.float32]
Color = tuple[int, int, int]


def draw_faces(
    image: RGBImage,
    boxes: FloatArray,
    scores: FloatArray,
    landmarks: FloatArray,
    *,
    color: Sequence[int] = DEFAULT_COLOR,
    width: int | None = None,
    with_scores: bool = True,
    with_landmarks: bool = True,
) -> RGBImage:
    """Return a copy of the image with the faces drawn on it.

    `image` (H, W, 3) uint8 RGB; `boxes` (N, 4), `scores` (N,), `landmarks` (N, 5, 2) float32 in pixels of the
    image with pixel centres at 0.5; `color` red, green, blue; `width` of the lines in pixels, by default
    depending on the image and each face. Raises `ValueError` for a wrong color or width.
    """
    rgb = _checked_color(color)
    if width is not None and (not isinstance(width, (int, np.integer)) or width < 1):
        raise ValueError(f"width: expected an integer number of pixels, at least 1, or None, got {width!r}")
    canvas: RGBImage = image.copy()
    sides = np.array([canvas.shape[1], canvas.shape[0]])
    # Anything further out than this is not visible.
    boxes = np.clip(boxes, -10_000, np.tile(sides, 2) + 10_000)
    landmarks = np.clip(landmarks, -10_000, sides + 10_000)
    widths = [int(width) if width else _line_width(box, sides) for box in boxes]
    best_first = np.argsort(-scores, kind="stable")
    for index in best_first[::-1]:  # the best are drawn last, on top
        _draw_box(canvas, boxes[index], rgb, widths[index])
    for index in best_first[::-1] if with_landmarks else ():
        _draw_points(canvas, landmarks[index], boxes[index], rgb, widths[index])
    if with_scores:
        rims = [widths[index] / 2 + 1 for index in best_first]
        _draw_scores(canvas, boxes[best_first], scores[best_first], rims)
    return canvas


def _line_width(box: FloatArray, sides: npt.NDArray[np.int64]) -> int:
    """Thicker on larger images, but never so thick that it hides a small face."""
    face = float((box[2:] - box[:2]).min())
    return max(1, round(min(float(sides.min()) / 250, face / 28)))


def _draw_box(canvas: RGBImage, box: FloatArray, color: Color, width: int) -> None:
    if min(box[2] - box[0], box[3] - box[1]) > 20 * width:  # a dark rim where there is room
        _draw_outline(canvas, box, DARK, width + 2)
    _draw_outline(canvas, box, color, width)


def _draw_outline(canvas: RGBImage, box: FloatArray, color: Color, width: int) -> None:
    """The edges of a box with their corners; a pixel that an edge covers in part is blended."""
    # A line of one pixel that lies between two would be faint on both: it gets half a pixel more, and a clear one.
    half, shift = (0.75, 0.12) if width == 1 else (width / 2, 0.0)
    x1, y1, x2, y2 = (float(side) + shift for side in box)
    outer = (x1 - half, y1 - half, x2 + half, y2 + half)
    if min(x2 - x1, y2 - y1) <= 2 * half:
        _fill(canvas, outer, color)
        return
    _fill(canvas, (outer[0], outer[1], outer[2], y1 + half), color)
    _fill(canvas, (outer[0], y2 - half, outer[2], outer[3]), color)
    _fill(canvas, (outer[0], y1 + half, x1 + half, y2 - half), color)
    _fill(canvas, (x2 - half, y1 + half, outer[2], y2 - half), color)


def _fill(canvas: RGBImage, area: tuple[float, float, float, float], color: Color) -> None:
    height, width = canvas.shape[:2]
    left, columns = _covered(area[0], area[2], width)
    top, rows = _covered(area[1], area[3], height)
    blend(canvas, left, top, rows[:, None] * columns, color)


def _covered(start: float, end: float, length: int) -> tuple[int, FloatArray]:
    """Of pixels along an axis, the first that lies in start..end, and how much of it and of each further one does."""
    start, end = max(start, 0.0), min(end, float(length))
    first, last = math.floor(start), math.ceil(end)
    pixels = np.arange(first, max(first, last))
    covered: FloatArray = np.clip(np.minimum(pixels + 1, end) - np.maximum(pixels, start), 0, 1).astype(np.float32)
    return first, covered


def blend(canvas: RGBImage, left: int, top: int, opacity: FloatArray, color: Color) -> None:
    """Paint a colour on a part of the canvas, with an opacity of 0..1 for each of its pixels."""
    height, width = opacity.shape
    part = canvas[top : top + height, left : left + width]
    changed = part + opacity[:, :, None] * (np.array(color, np.float32) - part)
    part[...] = np.rint(changed)


def _draw_points(canvas: RGBImage, points: FloatArray, box: FloatArray, color: Color, width: int) -> None:
    radius = max(0.8, min(1.1 * width + 0.6, float(box[2] - box[0]) / 30))
    for x, y in points.tolist():
        if radius > 1.5:
            _draw_disc(canvas, x, y, radius + 1.2, DARK)
        _draw_disc(canvas, x, y, radius, color)


def _draw_disc(canvas: RGBImage, x: float, y: float, radius: float, color: Color) -> None:
    height, width = canvas.shape[:2]
    reach = radius + 1
    left, right = max(0, math.floor(x - reach)), min(width, math.ceil(x + reach))
    top, bottom = max(0, math.floor(y - reach)), min(height, math.ceil(y + reach))
    if left >= right or top >= bottom:
        return
    across, down = np.arange(left, right) + 0.5 - x, np.arange(top, bottom) + 0.5 - y
    distance = np.hypot(across, down[:, None])
    blend(canvas, left, top, np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32), color)


def _draw_scores(canvas: RGBImage, boxes: FloatArray, scores: FloatArray, rims: list[float]) -> None:
    """Write the scores, the highest first; a score without a free place is left out."""
    sides = np.array([canvas.shape[1], canvas.shape[0]])
    # Labels do not overlap each other, nor the middle of another face.
    middles = 0.5 * (boxes + boxes.reshape(-1, 2, 2).mean(axis=1)[:, [0, 1, 0, 1]])
    labels = np.zeros((0, 4))
    for index, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        face_width = float(box[2] - box[0])
        label = Label(f"{score:.2f}", text_height(canvas, face_width), "0")
        size = np.array([label.width, label.height])
        if label.width > 1.7 * face_width:
            continue
        taken = np.vstack([labels, np.delete(middles, index, axis=0)])
        place = _free_place(box, size, sides, taken, rims[index])
        if place is None:
            continue
        labels = np.vstack([labels, place])
        label.draw(canvas, place[0], place[1])


def text_height(image: RGBImage, face_width: float) -> float:
    """The height in pixels of the text beside a face."""
    return max(SMALLEST_TEXT, min(float(min(image.shape[:2])) / 36, 0.16 * face_width))


class Label:
    """A text in white on a dark plate, in Pillow's own font.

    Parameters
    ----------
    text
        One line.
    height
        Of a digit in pixels.
    reach
        Characters that the plate is high enough for, whatever the text, so that plates of one line are equal.
    """

    def __init__(self, text: str, height: float, reach: str = "0gj") -> None:
        self._text = text
        self._font = _font(round(height / DIGIT_HEIGHT))
        self._pad = max(2, round(0.35 * height))
        _, top, _, bottom = self._font.getbbox(reach)
        self._top = float(top)
        self.width = math.ceil(self._font.getlength(text)) + 2 * self._pad
        """In pixels, of the plate."""
        self.height = math.ceil(bottom - self._top) + 2 * self._pad
        """In pixels, of the plate."""

    def draw(self, canvas: RGBImage, left: int, top: int) -> None:
        """Draw the plate with its corner at a pixel; what lies outside the canvas is cut off."""
        plate = Image.new("L", (self.width, self.height))
        place = (self._pad, self._pad - self._top)
        ImageDraw.Draw(plate).text(place, self._text, fill=255, font=self._font)
        height, width = canvas.shape[:2]
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + self.width, width), min(top + self.height, height)
        if x1 < x2 and y1 < y2:
            canvas[y1:y2, x1:x2] = DARK
            opacity = np.asarray(plate, np.float32)[y1 - top : y2 - top, x1 - left : x2 - left] / np.float32(255)
            blend(canvas, x1, y1, opacity, WHITE)


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _free_place(
    box: FloatArray,
    size: npt.NDArray[np.int64],
    sides: npt.NDArray[np.int64],
    taken: npt.NDArray[np.float64],
    rim: float,
) -> tuple[int, int, int, int] | None:
    """A place for a label of that size: above, below or in its box, within the image and free of what is taken."""
    if (box[2:] <= 0).any() or (box[:2] >= sides).any() or (size > sides).any():
        return None
    width, height = int(size[0]), int(size[1])
    x1, y1, _, y2 = (float(side) for side in box)
    left = min(max(round(x1 - rim), 0), int(sides[0]) - width)
    tops = [round(y1 - rim) - height, round(y2 + rim)]
    if y2 - y1 > 4 * height:
        tops.append(max(round(y1 + rim), 0))
    for top in tops:
        right, bottom = left + width, top + height
        apart = (taken[:, 2:] <= (left, top)) | (taken[:, :2] >= (right, bottom))
        if top >= 0 and bottom <= sides[1] and apart.any(axis=1).all():
            return left, top, right, bottom
    return None


def _checked_color(color: Sequence[int]) -> Color:
    try:
        red, green, blue = (int(value) for value in color)
    except (TypeError, ValueError):
        raise ValueError(f"color: expected red, green and blue, 0..255 each, got {color!r}") from None
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"color: expected red, green and blue, 0..255 each, got {color!r}")
    return red, green, blue
