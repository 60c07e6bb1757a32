"""Drawing what is known of faces: lines through 68 points, and labels of several lines beside boxes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cascade.imaging.reading import RGBImage

__all__ = ["CONTOURS", "draw_contours", "draw_labels"]

CONTOURS: tuple[tuple[int, ...], ...] = (
    tuple(range(17)),  # jaw
    tuple(range(17, 22)),  # brows
    tuple(range(22, 27)),
    tuple(range(27, 31)),  # bridge of the nose
    tuple(range(31, 36)),  # its base
    (*range(36, 42), 36),  # eyes
    (*range(42, 48), 42),
    (*range(48, 60), 48),  # lips, from outside and from inside
    (*range(60, 68), 60),
)
"""Which of iBUG's 68 points, counted from 0, are joined by lines."""

WHITE, DARK = (255, 255, 255), (16, 20, 24)
SMALLEST_TEXT = 12  # pixels from the top of a letter to its foot
LARGEST_TEXT = 28
FINER = 4  # lines are drawn so many times larger, and averaged
RIM = 0.45  # opacity of the dark rim of lines, which shows them on pale skin
PLATE = 0.78  # and of the plate behind a label

FloatArray = npt.NDArray[np.floating]
Place = tuple[int, int, int, int]


def draw_contours(image: RGBImage, points: FloatArray, width: float | None = None) -> RGBImage:
    """Return a copy of the image with white lines along brows, eyes, nose, lips and jaw of each face.

    ``points`` (N, 68, 2) are in pixels of the image; a face with NaN has no lines. ``width`` is that of the lines in
    pixels, by default depending on the face.
    """
    canvas = image.copy()
    for face in points[np.isfinite(points).all(axis=(1, 2))]:
        side = float(np.ptp(face, axis=0).max())
        _draw_face(canvas, face, width or max(1.0, side / 130))
    return canvas


def _draw_face(canvas: RGBImage, face: FloatArray, width: float) -> None:
    """Draw the lines of one face: white, with a dark rim."""
    sides = np.array(canvas.shape[1::-1])
    reach = 2 * width + 2
    low = np.clip(np.floor(face.min(axis=0) - reach), 0, sides).astype(int)
    high = np.clip(np.ceil(face.max(axis=0) + reach), 0, sides).astype(int)
    if (high <= low).any():
        return
    part = canvas[low[1] : high[1], low[0] : high[0]]
    for colour, opacity, wide in ((DARK, RIM, width + 2), (WHITE, 1.0, width)):
        mask = _lines(face - low, (high - low).tolist(), wide)
        _blend(part, opacity * mask, colour)


def _lines(face: FloatArray, size: Sequence[int], width: float) -> FloatArray:
    """(height, width) opacity of 0..1 of the lines."""
    large = Image.new("L", (FINER * size[0], FINER * size[1]))
    draw = ImageDraw.Draw(large)
    for contour in CONTOURS:
        joined = [(float(x), float(y)) for x, y in FINER * face[list(contour)]]
        draw.line(joined, fill=255, width=max(1, round(FINER * width)), joint="curve")
    return np.asarray(large.resize((size[0], size[1]), Image.Resampling.BOX), np.float32) / 255


def _blend(part: RGBImage, opacity: FloatArray, colour: tuple[int, int, int]) -> None:
    changed = part + opacity[:, :, None] * (np.array(colour, np.float32) - part)
    part[...] = np.rint(changed)


def draw_labels(image: RGBImage, boxes: FloatArray, labels: Sequence[Sequence[str]]) -> RGBImage:
    """Return a copy of the image with lines of text beside each box (N, 4).

    The text is white on a dark plate below its box, above it or beside it, where it hides no face. A label without a
    free place is left out, as is one without lines. The first labels take their places first.
    """
    canvas = image.copy()
    sides = np.array(canvas.shape[1::-1])
    taken: list[Place] = []
    for at, (box, lines) in enumerate(zip(boxes.tolist(), labels, strict=True)):
        if not lines:
            continue
        others = [tuple(other) for other in np.delete(boxes, at, axis=0).tolist()]
        for height in _heights(box, sides):
            plate = _plate(tuple(lines), height)
            place = _free_place(box, plate.shape[1], plate.shape[0], sides, [*taken, *others])
            if place is not None:
                _put(canvas, plate, place)
                taken.append(place)
                break
    return canvas


def _heights(box: Sequence[float], sides: npt.NDArray[np.int_]) -> list[int]:
    """Heights of text to try, the usual one first."""
    usual = min(max(0.11 * (box[2] - box[0]), sides.min() / 40, SMALLEST_TEXT), LARGEST_TEXT)
    return sorted({round(usual), SMALLEST_TEXT}, reverse=True)


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _plate(lines: tuple[str, ...], height: int) -> FloatArray:
    """(height, width) opacity of 0..1 of the text, with a margin around it."""
    font, margin, step = _font(round(height / 0.72)), max(3, height // 3), round(1.5 * height)
    width = math.ceil(max(font.getlength(line) for line in lines)) + 2 * margin
    plate = Image.new("L", (width, step * len(lines) - (step - height) + 2 * margin))
    draw = ImageDraw.Draw(plate)
    for at, line in enumerate(lines):
        draw.text((margin, margin + at * step + height), line, fill=255, font=font, anchor="ls")
    return np.asarray(plate, np.float32) / 255


def _free_place(
    box: Sequence[float], width: int, height: int, sides: npt.NDArray[np.int_], taken: Sequence[Sequence[float]]
) -> Place | None:
    """A place for a plate in the image: below, above, right or left of the box, or at its lower end."""
    x1, y1, x2, y2 = (round(side) for side in box)
    gap = 3
    left, top = min(max(x1, 0), int(sides[0]) - width), min(max(y1, 0), int(sides[1]) - height)
    wanted = [(left, y2 + gap), (left, y1 - gap - height), (x2 + gap, top), (x1 - gap - width, top)]
    if height < 0.45 * (y2 - y1):
        wanted.append((left, min(y2, int(sides[1])) - height))
    for x, y in wanted:
        inside = x >= 0 and y >= 0 and x + width <= sides[0] and y + height <= sides[1]
        if inside and all(x >= t[2] or x + width <= t[0] or y >= t[3] or y + height <= t[1] for t in taken):
            return x, y, x + width, y + height
    return None


def _put(canvas: RGBImage, plate: FloatArray, place: Place) -> None:
    part = canvas[place[1] : place[3], place[0] : place[2]]
    _blend(part, np.full(plate.shape, PLATE, np.float32), DARK)
    _blend(part, plate, WHITE)
