"""Crops of faces that are changed and put back into the photo they came from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cascade.imaging.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE, align, similarity_transforms
from cascade.imaging.reading import RGBImage

__all__ = ["HEAD_TEMPLATE", "LOWER_TEMPLATE", "SHIFT", "add_residual", "mirrored_crops", "soft_mask"]

SHIFT = 14
"""Rows by which crops of `LOWER_TEMPLATE` lie lower than those of `ARCFACE_TEMPLATE`, at 112 pixels a side."""

LOWER_TEMPLATE: npt.NDArray[np.float64] = ARCFACE_TEMPLATE - (0, SHIFT)
"""The five points in a crop of 112×112 pixels that shows a face from above the brows to below the chin."""
LOWER_TEMPLATE.flags.writeable = False

HEAD_TEMPLATE: npt.NDArray[np.float64] = (ARCFACE_TEMPLATE - (56.5, 62.0)) * 0.62 + (56.0, 56.0)
"""The five points in a crop of 112×112 pixels that shows the whole head: for looking at."""
HEAD_TEMPLATE.flags.writeable = False

MOST_PADDING = 512  # pixels of mirrored photo around it
ROUND = 2.5  # exponent of the curve within which a face changes: 2 is a circle, more is squarer
FADE = 0.25  # of the way from that curve to the middle, over which a change fades to nothing
ROWS = 256  # rows of the photo that are computed at a time

FloatArray = npt.NDArray[np.float32]


def mirrored_crops(image: RGBImage, landmarks: npt.NDArray[np.floating], size: int = TEMPLATE_SIZE) -> RGBImage:
    """Crops (n, size, size, 3) aligned by `LOWER_TEMPLATE`; what lies outside the image is its mirror image.

    ``landmarks`` (n, 5, 2) are in pixels of the image. Raises `AlignError` for points that no crop can be aligned by.
    """
    height, width = image.shape[:2]
    points = np.asarray(landmarks, np.float64)
    matrices = similarity_transforms(points, LOWER_TEMPLATE * (size / TEMPLATE_SIZE))
    corners = np.concatenate([_corners(matrix, size) for matrix in matrices]) if len(matrices) else np.zeros((1, 2))
    low, high = np.nan_to_num(corners.min(axis=0)), np.nan_to_num(corners.max(axis=0))
    beyond = max(-low.min(), high[0] - width, high[1] - height)
    if beyond <= 0:
        return align(image, points, size, LOWER_TEMPLATE)
    padding = min(MOST_PADDING, int(beyond) + 2, height - 1, width - 1)
    around = ((padding, padding), (padding, padding), (0, 0))
    return align(np.pad(image, around, mode="reflect"), points + padding, size, LOWER_TEMPLATE)


def _corners(matrix: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """The corners (4, 2) in the image of the crop of a transform."""
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64) - matrix[:, 2]
    return np.asarray(corners @ np.linalg.inv(matrix[:, :2]).T)


def soft_mask(size: int) -> FloatArray:
    """(size, size) float32: 1 in the middle of a crop, falling smoothly to 0 at a round curve that touches its edges.

    A square mask would leave a visible square beside the face.
    """
    place = np.abs((np.arange(size) + 0.5) / size * 2 - 1) ** ROUND
    radius = (place[:, None] + place[None]) ** (1 / ROUND)
    edge = np.clip((1 - radius) / FADE, 0, 1)
    return np.asarray(edge * edge * (3 - 2 * edge), np.float32)


def add_residual(canvas: npt.NDArray[np.float32], residual: FloatArray, landmarks: npt.NDArray[np.floating]) -> None:
    """Adds what changes in an aligned crop to the photo, in place.

    ``canvas`` (H, W, 3) float32 is the photo, ``residual`` (size, size, 3) float32 the change of the crop that
    `mirrored_crops` cuts for the landmarks (5, 2), in steps of 8 bits; it should have faded to 0 at its border. It is
    enlarged to the face's size in the photo, so the photo keeps its own detail.
    """
    size = len(residual)
    matrix = similarity_transforms(np.asarray(landmarks, np.float64)[None], LOWER_TEMPLATE * (size / TEMPLATE_SIZE))[0]
    height, width = canvas.shape[:2]
    corners = _corners(matrix, size)
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)).astype(int)
    if left >= right:
        return
    for first in range(top, bottom, ROWS):
        last = min(first + ROWS, bottom)
        y, x = np.mgrid[first:last, left:right].astype(np.float32) + np.float32(0.5)
        across, down = (row[0] * x + row[1] * y + row[2] - 0.5 for row in matrix)
        canvas[first:last, left:right] += _sampled(residual, across.astype(np.float32), down.astype(np.float32))


def _sampled(values: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Values (size, size, C) between their pixels by quadratic B-splines, which leave no lattice; 0 outside."""
    padded = np.pad(values, ((2, 2), (2, 2), (0, 0)))
    size = len(padded)
    found = np.zeros((*x.shape, values.shape[2]), np.float32)
    columns, rows = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    for down, weight_y in zip((-1, 0, 1), _spline(y - rows), strict=True):
        for across, weight_x in zip((-1, 0, 1), _spline(x - columns), strict=True):
            row, column = (np.clip(each, 0, size - 1) for each in (rows + down + 2, columns + across + 2))
            found += (weight_y * weight_x)[..., None] * padded[row, column]
    return found


def _spline(offset: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights of the pixels before, at and behind a place that is -0.5 to 0.5 behind one."""
    before, behind = 0.5 * (0.5 - offset) ** 2, 0.5 * (0.5 + offset) ** 2
    return before, 1 - before - behind, behind
