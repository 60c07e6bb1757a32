"""Drawing faces on a picture; users call `Faces.draw`."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from cascade.imaging.reading import RGBImage

__all__ = ["DEFAULT_COLOR", "draw_faces"]

DEFAULT_COLOR = (70, 235, 140)
DARK = (16, 20, 24)
WHITE = (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_HEIGHT = 21.0  # of its digits at scale 1, in pixels
SMALLEST_TEXT = 9.0  # pixels; smaller digits cannot be read
FRACTION_BITS = 4  # OpenCV draws at fixed-point coordinates

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
    # Anything further out than this is not visible, and would overflow OpenCV's integers.
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
    x1, y1, x2, y2 = _fixed_point(box)
    if min(box[2] - box[0], box[3] - box[1]) > 20 * width:  # a dark rim where there is room
        cv2.rectangle(canvas, (x1, y1), (x2, y2), DARK, width + 2, cv2.LINE_AA, FRACTION_BITS)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), color, width, cv2.LINE_AA, FRACTION_BITS)


def _draw_points(canvas: RGBImage, points: FloatArray, box: FloatArray, color: Color, width: int) -> None:
    radius = max(0.8, min(1.1 * width + 0.6, float(box[2] - box[0]) / 30))
    for point in points:
        x, y = _fixed_point(point)
        if radius > 1.5:
            cv2.circle(canvas, (x, y), _scaled(radius + 1.2), DARK, cv2.FILLED, cv2.LINE_AA, FRACTION_BITS)
        cv2.circle(canvas, (x, y), _scaled(radius), color, cv2.FILLED, cv2.LINE_AA, FRACTION_BITS)


def _draw_scores(canvas: RGBImage, boxes: FloatArray, scores: FloatArray, rims: list[float]) -> None:
    """Write the scores, the highest first; a score without a free place is left out."""
    sides = np.array([canvas.shape[1], canvas.shape[0]])
    # Labels do not overlap each other, nor the middle of another face.
    middles = 0.5 * (boxes + boxes.reshape(-1, 2, 2).mean(axis=1)[:, [0, 1, 0, 1]])
    labels = np.zeros((0, 4))
    for index, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        face_width = float(box[2] - box[0])
        text_height = max(SMALLEST_TEXT, min(float(sides.min()) / 36, 0.16 * face_width))
        scale, stroke = text_height / FONT_HEIGHT, max(1, round(text_height / 10))
        text = f"{score:.2f}"
        (text_width, _), _ = cv2.getTextSize(text, FONT, scale, stroke)
        pad = max(2, round(0.35 * text_height))
        size = np.array([text_width + 2 * pad, round(text_height) + 2 * pad])
        if size[0] > 1.7 * face_width:
            continue
        taken = np.vstack([labels, np.delete(middles, index, axis=0)])
        place = _free_place(box, size, sides, taken, rims[index])
        if place is None:
            continue
        labels = np.vstack([labels, place])
        x1, y1, x2, y2 = place
        canvas[y1:y2, x1:x2] = DARK
        cv2.putText(canvas, text, (x1 + pad, y2 - pad - 1), FONT, scale, WHITE, stroke, cv2.LINE_AA)


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


def _fixed_point(coordinates: FloatArray) -> list[int]:
    """Coordinates (pixel centres at 0.5) in OpenCV's fixed-point integers (pixel centres at 0)."""
    return [_scaled(float(value) - 0.5) for value in coordinates]


def _scaled(value: float) -> int:
    return round(value * (1 << FRACTION_BITS))


def _checked_color(color: Sequence[int]) -> Color:
    try:
        red, green, blue = (int(value) for value in color)
    except (TypeError, ValueError):
        raise ValueError(f"color: expected red, green and blue, 0..255 each, got {color!r}") from None
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"color: expected red, green and blue, 0..255 each, got {color!r}")
    return red, green, blue
