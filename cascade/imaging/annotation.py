"""Drawing what is known of faces: lines through 68 points, and labels of several lines beside boxes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from cascade.imaging.drawing import DARK, WHITE, Label, blend, text_height
from cascade.imaging.pixels import RGBImage

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

SMALLEST_TEXT = 10.0  # pixels
LARGEST_SHARE = 0.11  # of a face's width, for text
GAP = 3  # pixels between a box and its label
ON_FACE = 0.45  # largest share of a box's height that a label within it may take
FINER = 4  # lines are drawn so many times larger, and averaged
RIM = 0.45  # opacity of the dark rim of lines, which shows them on pale skin

FloatArray = npt.NDArray[np.floating]


def draw_contours(image: RGBImage, points: FloatArray, width: float | None = None) -> RGBImage:
    """Return a copy of the image with white lines along brows, eyes, nose, lips and jaw of each face.

    ``points`` (N, 68, 2) are in pixels of the image; a face with NaN has no lines. ``width`` is that of the lines in
    pixels, by default depending on the face.
    """
    canvas = image.copy()
    for face in points[np.isfinite(points).all(axis=(1, 2))]:
        side = float(np.ptp(face, axis=0).max())
        _draw_face(canvas, face, width or max(1.5, side / 110))
    return canvas


def _draw_face(canvas: RGBImage, face: FloatArray, width: float) -> None:
    """Draw the lines of one face: white, with a dark rim."""
    sides = np.array(canvas.shape[1::-1])
    reach = 2 * width + 2
    low = np.clip(np.floor(face.min(axis=0) - reach), 0, sides).astype(int)
    high = np.clip(np.ceil(face.max(axis=0) + reach), 0, sides).astype(int)
    if (high <= low).any():
        return
    for color, opacity, wide in ((DARK, RIM, width + 2), (WHITE, 1.0, width)):
        mask = _lines(face - low, (high - low).tolist(), wide)
        blend(canvas, int(low[0]), int(low[1]), np.asarray(opacity * mask, np.float32), color)


def _lines(face: FloatArray, size: Sequence[int], width: float) -> FloatArray:
    """(height, width) opacity of 0..1 of the lines."""
    large = Image.new("L", (FINER * size[0], FINER * size[1]))
    draw = ImageDraw.Draw(large)
    for contour in CONTOURS:
        joined = [(float(x), float(y)) for x, y in FINER * face[list(contour)]]
        draw.line(joined, fill=255, width=max(1, round(FINER * width)), joint="curve")
    return np.asarray(large.resize((size[0], size[1]), Image.Resampling.BOX), np.float32) / 255


def draw_labels(image: RGBImage, boxes: FloatArray, texts: Sequence[Sequence[str]]) -> RGBImage:
    """Return a copy of the image with lines of text beside each box (N, 4).

    The lines are white on dark plates below their box, above it or beside it, where they hide no face. They are smaller
    or joined where there is little room, and the last ones are left out where there is less. Where there is none, they
    are at the lower end of their own face, if it is large enough. The first boxes take their places first.
    """
    canvas = image.copy()
    sides = np.array(canvas.shape[1::-1])
    taken: list[Sequence[float]] = []
    for at, (box, lines) in enumerate(zip(boxes.tolist(), texts, strict=True)):
        others = [*taken, *np.delete(boxes, at, axis=0).tolist()]
        for on_face, joined, height in product((False, True), _layouts(lines), _heights(canvas, box)):
            labels = [Label(line, height) for line in joined]
            size = max(label.width for label in labels), sum(label.height for label in labels)
            place = _free_place(box, size, sides, others, on_face)
            if place is not None:
                _put(canvas, labels, place)
                taken.append((*place, place[0] + size[0], place[1] + size[1]))
                break
    return canvas


def _layouts(lines: Sequence[str]) -> list[list[str]]:
    """The lines as they are, two in one, and all in one; then the same without the last of them, and so on."""
    return [
        [", ".join(lines[first : min(first + each, count)]) for first in range(0, count, each)]
        for count in range(len(lines), 0, -1)
        for each in sorted({1, min(2, count), count})
    ]


def _heights(canvas: RGBImage, box: Sequence[float]) -> list[float]:
    """Heights of text to try, the usual one first."""
    usual = max(SMALLEST_TEXT, min(text_height(canvas, box[2] - box[0]), LARGEST_SHARE * (box[2] - box[0])))
    return sorted({usual, SMALLEST_TEXT}, reverse=True)


def _put(canvas: RGBImage, labels: Sequence[Label], place: tuple[int, int]) -> None:
    top = place[1]
    for label in labels:
        label.draw(canvas, place[0], top)
        top += label.height


def _free_place(
    box: Sequence[float],
    size: tuple[int, int],
    sides: npt.NDArray[np.int_],
    taken: Sequence[Sequence[float]],
    on_face: bool,
) -> tuple[int, int] | None:
    """The corner of a free place in the image: below, above, right or left of the box, or at the box's lower end."""
    (x1, y1, x2, y2), (width, height) = (round(side) for side in box), size
    left, top = min(max(x1, 0), int(sides[0]) - width), min(max(y1, 0), int(sides[1]) - height)
    wanted = [(left, y2 + GAP), (left, y1 - GAP - height), (x2 + GAP, top), (x1 - GAP - width, top)]
    if on_face:
        wanted = [(left, min(y2, int(sides[1])) - height)] if height < ON_FACE * (y2 - y1) else []
    for x, y in wanted:
        inside = x >= 0 and y >= 0 and x + width <= sides[0] and y + height <= sides[1]
        if inside and all(x >= t[2] or x + width <= t[0] or y >= t[3] or y + height <= t[1] for t in taken):
            return x, y
    return None
