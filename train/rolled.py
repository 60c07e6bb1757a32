"""Windows about marked faces, turned in the plane: heads lean, but the labelled photos seldom show it."""

from __future__ import annotations

import cv2
import numpy as np

from cascade.datasets import Photo
from cascade.detect import square
from cascade.pyramid import Pyramid
from train.packed import LANDMARK

# Standard deviation and limit of the turn in degrees, and how far off a window may be, in sides of the face.
ROLL, MOST_ROLL, SHIFT, ZOOM = 18.0, 45.0, 0.12, 0.18
OUTSIDE = (128, 128, 128)


def rolled_windows(
    photo: Photo, pyramid: Pyramid, count: int, side: int, context: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``count`` turned windows of each face with landmarks.

    Returns crops (n, side, side, 3) uint8 that show ``context`` times the window, kinds (n,), all LANDMARK, and
    targets (n, 14) in units of the window: the landmarks turned with the pixels, and no boxes (NaN), since the box
    of a turned face is not known.
    """
    marked = np.isfinite(photo.landmarks).all(axis=(1, 2)) & ~photo.ignored
    faces = np.repeat(square(photo.boxes[marked]), count, axis=0)
    landmarks = np.repeat(photo.landmarks[marked], count, axis=0).astype(np.float64)
    sides = (faces[:, 2] - faces[:, 0]).astype(np.float64)
    centres = (faces[:, :2] + faces[:, 2:]) / 2 + rng.uniform(-SHIFT, SHIFT, (len(faces), 2)) * sides[:, None]
    sides *= np.exp(rng.uniform(-ZOOM, ZOOM, len(faces)))
    turns = np.radians(np.clip(rng.normal(0, ROLL, len(faces)), -MOST_ROLL, MOST_ROLL))
    crops = np.empty((len(faces), side, side, 3), np.uint8)
    targets = np.full((len(faces), 14), np.nan, np.float32)
    for i, (centre, window, turn) in enumerate(zip(centres, sides, turns, strict=True)):
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        crops[i] = _turned(pyramid, centre, window * context, rotation, side)
        targets[i, 4:] = ((landmarks[i] - centre) @ rotation.T / window + 0.5).ravel()
    return crops, np.full(len(faces), LANDMARK), targets


def _turned(pyramid: Pyramid, centre: np.ndarray, width: float, rotation: np.ndarray, side: int) -> np.ndarray:
    """A square of ``width`` pixels of the photo about ``centre``, turned by ``rotation``, ``side`` pixels wide."""
    # the smallest level that still has a pixel for each pixel of the crop: nothing is left to alias
    enough = [i for i, scale in enumerate(pyramid.scales) if scale.min() * width >= side]
    level = min(enough, key=lambda i: pyramid.scales[i].min()) if enough else 0
    scale = side / width
    turn = rotation @ np.diag(1 / pyramid.scales[level]) * scale
    # pixel centres lie at halves in our frame and at whole numbers in OpenCV's
    middle = centre * pyramid.scales[level] - 0.5
    shift = np.full(2, side / 2 - 0.5) - turn @ middle
    matrix = np.c_[turn, shift]
    image = pyramid.images[level]
    return np.asarray(cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=OUTSIDE))
