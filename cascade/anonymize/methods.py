"""What is put in the place of a face: a few noisy means, a colour, or a drawn face."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from cascade.anonymize.drawn_face import draw_face
from cascade.anonymize.settings import Hiding
from cascade.anonymize.shapes import area_of
from cascade.faces import Faces
from cascade.imaging.pixels import RGBImage

__all__ = ["Noise", "draw_noise", "hide"]

FloatArray = npt.NDArray[np.float32]
Noise = npt.NDArray[np.float64]

MOST_CELLS = 96
"""Cells along a side, those of the soft edge included, and one row for the colour."""

COLOUR_NOISE = 0.25
"""Deviation of the noise of the colour, over that of a cell: a colour tells less than a cell."""


def hide(image: RGBImage, faces: Faces, hiding: Hiding, noises: Sequence[Noise] | None = None) -> RGBImage:
    """A copy of an image (H, W, 3) uint8 RGB in which these faces, in its pixels, are hidden.

    A face that overlaps one before it is hidden over what hides that one. ``noises`` has the noise of each face where
    it must be the same in several images; None: each has its own.
    """
    canvas = image.copy()
    height, width = image.shape[:2]
    for at, (box, landmarks) in enumerate(zip(faces.boxes, faces.landmarks, strict=True)):
        area = area_of(box, width, height, hiding)
        if area is None:
            continue
        left, top, right, bottom = area.box
        part = canvas[top:bottom, left:right]
        if hiding.method == "solid":
            content: FloatArray = np.broadcast_to(np.array(hiding.fill, np.float32), part.shape)
        elif hiding.method == "drawn":
            content = draw_face(area, box, landmarks)
        else:
            noise = draw_noise() if noises is None else noises[at]
            content = _cells(part, area.side / hiding.cells, hiding.noise * noise, smooth=hiding.method == "blur")
        opacity = area.opacity[:, :, None]
        part[...] = np.rint(part + opacity * (content - part))
    return canvas


def draw_noise() -> Noise:
    """Noise of deviation 1 for the cells of one face, from the random numbers of the operating system."""
    uniform = np.frombuffer(os.urandom(8 * 2 * MOST_CELLS**2), np.uint64).reshape(2, MOST_CELLS, MOST_CELLS)
    first, second = (uniform.astype(np.float64) + 1) / 2.0**64
    return np.asarray(np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second))  # Box and Muller


def _cells(part: RGBImage, cell: float, noise: Noise, *, smooth: bool) -> FloatArray:
    """Brightness of cells of that size in pixels, and one colour, with noise: (h, w, 3) float32.

    The cells are shown as squares or joined smoothly. The result depends on the pixels through the mean brightness of
    each cell and the mean colour of all, rounded to grey levels: no deconvolution can find more of the face than these
    hold.
    """
    height, width = part.shape[:2]
    columns, rows = (min(max(1, math.ceil(side / cell)), MOST_CELLS - 1) for side in (width, height))
    bright = Image.fromarray(part).convert("L")
    colour = part.mean(axis=(0, 1)) - np.asarray(bright, np.float64).mean() + COLOUR_NOISE * noise[-1, :3]
    means = np.asarray(bright.resize((columns, rows), Image.Resampling.BOX), np.float64) + noise[:rows, :columns]
    shown = Image.fromarray(np.clip(np.rint(means), 0, 255).astype(np.uint8))
    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    grey = np.asarray(shown.resize((width, height), method), np.float32)[:, :, None]
    return np.asarray(np.clip(grey + np.rint(colour), 0, 255), np.float32)
