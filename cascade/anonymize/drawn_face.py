"""A drawn face: the same for everybody, placed by the box and the lean of the face that it replaces."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from cascade.anonymize.shapes import Area

__all__ = ["draw_face"]

FloatArray = npt.NDArray[np.float32]

FINER = 4
"""The face is drawn so many times larger, and averaged."""

SKIN, LINE, EYE, LIPS = (236, 200, 160), (96, 66, 50), (250, 250, 250), (190, 90, 90)

# Places in units of half the face's width and height, from its middle: x to the right, y down.
EYES, PUPILS, BROWS, NOSE, MOUTH = ((-0.4, -0.12), (0.4, -0.12)), 0.07, -0.36, (0.0, 0.22), (0.0, 0.52)


def draw_face(area: Area, box: FloatArray, landmarks: FloatArray) -> FloatArray:
    """A drawn face over the pixels of an area: (h, w, 3) float32.

    ``box`` (4,) and ``landmarks`` (5, 2) are those of the face that it replaces. They give its place, its size and, by
    the line between the eyes, its lean; how far apart the eyes are, and all else of the face, is not shown.
    """
    left, top, right, bottom = area.box
    large = Image.new("RGB", (FINER * (right - left), FINER * (bottom - top)), SKIN)
    pen = _Pen(large, box, _lean(landmarks), (left, top))
    for x, y in EYES:
        pen.ellipse(x, y, 0.19, 0.11, EYE)
        pen.ellipse(x, y, PUPILS, PUPILS, LINE)
        pen.line([(x - 0.24, y + BROWS + 0.16), (x, y + BROWS + 0.1), (x + 0.24, y + BROWS + 0.16)], LINE, 0.05)
    pen.line([(0.0, -0.05), (-0.1, NOSE[1]), (0.07, NOSE[1] + 0.02)], LINE, 0.04)
    pen.line([(MOUTH[0] + x, MOUTH[1] + 0.1 - 0.5 * x * x) for x in np.linspace(-0.32, 0.32, 9)], LIPS, 0.07)
    return np.asarray(large.resize((right - left, bottom - top), Image.Resampling.BOX), np.float32)


def _lean(landmarks: FloatArray) -> float:
    """The angle in radians, clockwise, of the line from the left eye to the right one."""
    across, down = (float(each) for each in landmarks[1] - landmarks[0])
    return math.atan2(down, across) if across or down else 0.0


class _Pen:
    """Draws in the frame of a face: its middle is at 0, 0, half its sides are 1."""

    def __init__(self, picture: Image.Image, box: FloatArray, lean: float, origin: tuple[int, int]) -> None:
        self._draw = ImageDraw.Draw(picture)
        sides = (box[2:] - box[:2]).astype(np.float64)
        # of a face on its side, the box is as wide as the face is high
        self._half = (sides if abs(math.cos(lean)) >= math.sqrt(0.5) else sides[::-1]) / 2
        cosine, sine = math.cos(lean), math.sin(lean)
        self._rotation = np.array([[cosine, -sine], [sine, cosine]])
        self._shift = (box[:2] + box[2:]).astype(np.float64) / 2 - origin

    def _places(self, points: npt.ArrayLike) -> list[tuple[float, float]]:
        placed = (np.asarray(points) * self._half) @ self._rotation.T + self._shift
        return [(float(x), float(y)) for x, y in FINER * placed]

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, color: tuple[int, int, int]) -> None:
        """Fill an ellipse; all lengths are in units of half the face's width."""
        turns = np.linspace(0, 2 * np.pi, 33)
        half_height *= self._half[0] / self._half[1]
        self._draw.polygon(self._places(np.c_[x + half_width * np.cos(turns), y + half_height * np.sin(turns)]), color)

    def line(self, points: npt.ArrayLike, color: tuple[int, int, int], width: float) -> None:
        """Draw a line through points; its width is in units of half the face's width."""
        pixels = max(1, round(FINER * width * float(self._half[0])))
        self._draw.line(self._places(points), fill=color, width=pixels, joint="curve")
