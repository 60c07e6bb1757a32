"""Windows around faces with landmarks, rotated in the plane: heads lean, but the labelled photos seldom show it."""

from __future__ import annotations

import cv2
import numpy as np

from cascade.boxes import square
from cascade.datasets import Photo
from cascade.imaging.pyramid import PADDING_VALUE, Pyramid
from train.detection.labels import LANDMARK

# Standard deviation and limit of the angle in degrees.
ANGLE, MAX_ANGLE = 18.0, 45.0
PADDING = (PADDING_VALUE,) * 3


def windows_around_landmarks(
    photo: Photo, count: int, jitter: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """``count`` square windows (n, 4) float32 around each face with landmarks, and the faces' indices (n,).

    ``jitter``: how far a window's centre may be off, over the side of the face, and the logarithm of its size.
    """
    labelled = np.flatnonzero(np.isfinite(photo.landmarks).all(axis=(1, 2)) & ~photo.ignored)
    owners = np.repeat(labelled, count)
    faces = square(photo.boxes[owners])
    sides = faces[:, 2:] - faces[:, :2]
    centres = (faces[:, :2] + faces[:, 2:]) / 2 + rng.uniform(-jitter[0], jitter[0], sides.shape) * sides
    halves = sides / 2 * np.exp(rng.uniform(-jitter[1], jitter[1], (len(sides), 1)))
    return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32), owners


def rotated_windows(
    photo: Photo,
    pyramid: Pyramid,
    count: int,
    side: int,
    context: float,
    jitter: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``count`` rotated windows of each face with landmarks, placed as `windows_around_landmarks` does.

    Returns crops (n, side, side, 3) uint8 that show ``context`` times the window, kinds (n,), all LANDMARK, and
    targets (n, 14) in units of the window: the landmarks rotated with the pixels, and no boxes (NaN), since the box
    of a rotated face is not known.
    """
    windows, owners = windows_around_landmarks(photo, count, jitter, rng)
    landmarks = photo.landmarks[owners].astype(np.float64)
    centres = (windows[:, :2] + windows[:, 2:]).astype(np.float64) / 2
    sides = (windows[:, 2] - windows[:, 0]).astype(np.float64)
    angles = np.radians(np.clip(rng.normal(0, ANGLE, len(windows)), -MAX_ANGLE, MAX_ANGLE))
    crops = np.empty((len(windows), side, side, 3), np.uint8)
    targets = np.full((len(windows), 14), np.nan, np.float32)
    for i, (centre, width, angle) in enumerate(zip(centres, sides, angles, strict=True)):
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        crops[i] = _rotated(pyramid, centre, width * context, rotation, side)
        targets[i, 4:] = ((landmarks[i] - centre) @ rotation.T / width + 0.5).ravel()
    return crops, np.full(len(windows), LANDMARK), targets


def _rotated(pyramid: Pyramid, centre: np.ndarray, width: float, rotation: np.ndarray, side: int) -> np.ndarray:
    """A square of ``width`` pixels of the photo around ``centre``, rotated by ``rotation``, as ``side`` pixels."""
    # the smallest level that still has a pixel for each pixel of the crop: nothing is left to alias
    enough = [i for i, scale in enumerate(pyramid.scales) if scale.min() * width >= side]
    level = min(enough, key=lambda i: pyramid.scales[i].min()) if enough else 0
    scale = side / width
    linear = rotation @ np.diag(1 / pyramid.scales[level]) * scale
    # pixel centres lie at halves in our frame and at integers in OpenCV's
    middle = centre * pyramid.scales[level] - 0.5
    shift = np.full(2, side / 2 - 0.5) - linear @ middle
    matrix = np.c_[linear, shift]
    image = pyramid.images[level]
    return np.asarray(cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=PADDING))
