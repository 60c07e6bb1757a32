"""What is put in the place of a face: a few noisy means, a colour, or a drawn face."""

from __future__ import annotations

import math
from random import SystemRandom

import numpy as np
import numpy.typing as npt
from PIL import Image

from cascade.anonymize.drawn_face import draw_face
from cascade.anonymize.settings import Hiding
from cascade.anonymize.shapes import Area, area_of
from cascade.faces import Faces
from cascade.imaging.pixels import RGBImage

__all__ = ["hide"]

FloatArray = npt.NDArray[np.float32]

_random = SystemRandom()


def hide(image: RGBImage, faces: Faces, hiding: Hiding) -> RGBImage:
    """A copy of an image (H, W, 3) uint8 RGB in which these faces, in its pixels, are hidden.

    A face that overlaps one before it is hidden over what hides that one. So of pixels that several faces share, no
    more is told than of those of one.
    """
    canvas = image.copy()
    height, width = image.shape[:2]
    for box, landmarks in zip(faces.boxes, faces.landmarks, strict=True):
        area = area_of(box, width, height, hiding)
        if area is None:
            continue
        left, top, right, bottom = area.box
        part = canvas[top:bottom, left:right]
        opacity = area.opacity[:, :, None]
        part[...] = np.rint(part + opacity * (_content(part, area, box, landmarks, hiding) - part))
    return canvas


def _content(part: RGBImage, area: Area, box: FloatArray, landmarks: FloatArray, hiding: Hiding) -> FloatArray:
    """What hides a face: (h, w, 3) float32 for the pixels of its area, which are ``part``."""
    if hiding.method == "solid":
        return np.broadcast_to(np.array(hiding.color, np.float32), part.shape)
    if hiding.method == "drawn":
        return draw_face(area, box, landmarks)
    return _cells(part, area.side / hiding.cells, hiding.noise, smooth=hiding.method == "blur")


def _cells(part: RGBImage, cell: float, noise: float, *, smooth: bool) -> FloatArray:
    """Brightness of cells of that size in pixels, and one colour, with noise: (h, w, 3) float32.

    The cells are shown as squares or joined smoothly. The result depends on the pixels through the mean brightness of
    each cell and the mean colour of all, rounded to grey levels: no deconvolution can find more of the face than these
    hold.
    """
    height, width = part.shape[:2]
    columns, rows = max(1, math.ceil(width / cell)), max(1, math.ceil(height / cell))
    bright = Image.fromarray(part).convert("L")
    colour = part.mean(axis=(0, 1)) - np.asarray(bright, np.float64).mean() + _noise((3,), noise / 4)
    means = np.asarray(bright.resize((columns, rows), Image.Resampling.BOX), np.float64) + _noise((rows, columns), noise)
    shown = Image.fromarray(np.clip(np.rint(means), 0, 255).astype(np.uint8))
    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    grey = np.asarray(shown.resize((width, height), method), np.float32)[:, :, None]
    return np.clip(grey + np.rint(colour).astype(np.float32), 0, 255)


def _noise(shape: tuple[int, ...], deviation: float) -> npt.NDArray[np.float64]:
    return np.array([_random.gauss(0, deviation) for _ in range(math.prod(shape))]).reshape(shape)
