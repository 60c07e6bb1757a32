"""Aligned face crops: the similarity transform that fits five points best, and one antialiased warp."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade import _native
from cascade.imaging.reading import ImageInput, RGBImage, read_image

__all__ = ["ARCFACE_TEMPLATE", "TEMPLATE_SIZE", "AlignError", "align", "similarity_transform", "similarity_transforms"]

TEMPLATE_SIZE = 112  # side in pixels of the crops that templates are for
MAX_SIZE = 2048  # crops are computed at twice their size, and the limit of the native core is 4096

ROUNDING = 1e-6  # shares of a coordinate below this are rounding of float32

ARCFACE_TEMPLATE: npt.NDArray[np.float64] = 0.5 + np.array(
    [
        [38.2946, 51.6963],  # left eye
        [73.5318, 51.5014],  # right eye
        [56.0252, 71.7366],  # nose
        [41.5493, 92.3655],  # left mouth corner
        [70.7299, 92.2041],  # right mouth corner
    ]
)
"""The five points in a crop of 112×112 pixels, as ArcFace and most later recognition networks expect them.

In the published numbers the centre of the first pixel is at 0, in this package it is at 0.5. So 0.5 is added to each,
and the crops are those of the published numbers.
"""
ARCFACE_TEMPLATE.flags.writeable = False


class AlignError(ValueError):
    """Points that no similarity transform can be fitted to. The message names the argument and what came."""


def similarity_transform(points: npt.ArrayLike, template: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the rotation, scale and shift that bring `points` nearest to `template`.

    Nearest means the least sum of squared distances (Umeyama's problem without reflections). In the plane,
    rotation and scale are one complex factor, so the solution is a linear regression in closed form.

    Parameters
    ----------
    points, template
        (K, 2) points x, y each, K ≥ 2, in any frame.

    Returns
    -------
    (2, 3) float64 matrix M with ``template ≈ points @ M[:, :2].T + M[:, 2]``, in the same frames.

    Raises
    ------
    AlignError
        For wrong shapes, NaN or infinity, points that (nearly) coincide, and points that no rotation fits,
        such as the mirror image of a template that is symmetric about two axes.
    """
    source = _finite_points(points, "points")
    target = _finite_points(template, "template")
    if source.shape != target.shape:
        raise AlignError(f"points: expected as many as in template, {len(target)}, got {len(source)}")
    matrix: npt.NDArray[np.float64] = similarity_transforms(source[None], target)[0]
    if np.isfinite(matrix).all():
        return matrix
    # Landmarks are float32: what lies below a millionth of the coordinates is rounding, not shape.
    if np.square(source - source.mean(0)).sum() <= (ROUNDING * float(np.abs(source).max())) ** 2:
        raise AlignError(f"points: expected points apart from each other, got {source.tolist()}")
    raise AlignError("points: no rotation and scale takes them to template; are they mirrored?")


def similarity_transforms(points: npt.NDArray[Any], template: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """`similarity_transform` of many faces at once: (n, K, 2) points and one template (K, 2) → (n, 2, 3) float64.

    A face that has none (NaN, points that coincide, or that no rotation fits) gets NaN; nothing is raised.
    """
    return _native.similarity_transforms(points, template, ROUNDING)


def align(
    image: ImageInput,
    landmarks: npt.ArrayLike,
    size: int = TEMPLATE_SIZE,
    template: npt.ArrayLike | None = None,
) -> RGBImage:
    """Return one aligned crop per face: its five points lie where `template` has them.

    Parameters
    ----------
    image
        Anything that `cascade.imaging.reading.read_image` takes.
    landmarks
        (N, 5, 2) points x, y in pixels of the image, which spans [0, W]×[0, H] with pixel centres at 0.5.
    size
        Side of the crops in pixels, 1 to 2048.
    template
        (5, 2) places of the points in a crop of 112×112 pixels, pixel centres at 0.5 here too; scaled to
        `size`. Without it, `ARCFACE_TEMPLATE`.

    Returns
    -------
    (N, size, size, 3) uint8 RGB. Pixels outside the image are black. Faces larger than the crop are
    averaged, not sampled, so that fine detail does not become noise.

    Raises
    ------
    ImageError
        If the image cannot be read.
    AlignError
        For wrong shapes or sizes, NaN, and points that coincide; it says which face.
    """
    pixels = read_image(image)
    side = _checked_size(size)
    faces = checked_landmarks(landmarks)
    target = ARCFACE_TEMPLATE if template is None else _finite_points(template, "template")
    if target.shape != (5, 2):
        raise AlignError(f"template: expected shape (5, 2), got {target.shape}")
    crops = np.zeros((len(faces), side, side, 3), np.uint8)
    for index, points in enumerate(faces):
        try:
            matrix = similarity_transform(points, target * (side / TEMPLATE_SIZE))
        except AlignError as error:
            raise AlignError(f"landmarks[{index}]: {error}") from None
        crops[index] = _warp(pixels, matrix, side)
    return crops


def checked_landmarks(landmarks: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The landmarks (N, 5, 2) as float64. Raises `AlignError` unless they are numbers of that shape."""
    faces = _numbers(landmarks, "landmarks")
    if faces.ndim != 3 or faces.shape[1:] != (5, 2):
        hint = "; for one face pass landmarks[None]" if faces.shape == (5, 2) else ""
        raise AlignError(f"landmarks: expected shape (N, 5, 2), got {faces.shape}{hint}")
    return faces


def _warp(image: RGBImage, matrix: npt.NDArray[np.float64], size: int) -> RGBImage:
    """The size×size crop of a transform from image to crop (pixel centres at 0.5), without aliasing.

    A face larger than the crop is warped at twice the crop's size and averaged. If that would still skip pixels of
    the image, the image is first resampled to a smaller one.
    """
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    left, top, right, bottom = _needed(image, matrix, size, margin=2 * max(1, math.ceil(1 / scale)))
    if left >= right or top >= bottom:
        return np.zeros((size, size, 3), np.uint8)
    patch = image[top:bottom, left:right]
    linear, shift = matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ (left, top)
    if scale >= 1 - ROUNDING:
        crop: RGBImage = _native.warp([patch], [(1, 1)], np.column_stack([linear, shift])[None], size, outside=0)[0]
        return crop
    if scale < 0.5:
        sides = np.array(patch.shape[1::-1])
        columns, rows = np.maximum(1, np.rint(2 * scale * sides)).astype(int)
        patch = _native.resample(patch, (0, 0, *sides), columns, rows)
        linear = linear * sides / (columns, rows)
    twice = _native.warp([patch], [(1, 1)], 2 * np.column_stack([linear, shift])[None], 2 * size, outside=0)[0]
    rows = np.add(twice[::2], twice[1::2], dtype=np.uint16).reshape(size, size, 2, 3)
    means: RGBImage = ((rows[:, :, 0] + rows[:, :, 1] + 2) >> 2).astype(np.uint8)
    return means


def _needed(
    image: RGBImage, matrix: npt.NDArray[np.float64], size: int, margin: int
) -> tuple[np.intp, np.intp, np.intp, np.intp]:
    """The part of the image that a crop shows, with `margin` pixels around it: left, top, right, bottom."""
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - matrix[:, 2]
    needed = corners @ np.linalg.inv(matrix[:, :2]).T
    bounds = (image.shape[1], image.shape[0])
    left, top = np.clip(np.floor(needed.min(0)) - margin, 0, bounds).astype(np.intp)
    right, bottom = np.clip(np.ceil(needed.max(0)) + margin, 0, bounds).astype(np.intp)
    return left, top, right, bottom


def _finite_points(points: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    array = _numbers(points, name)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < 2:
        raise AlignError(f"{name}: expected shape (K, 2) with K ≥ 2, got {array.shape}")
    if not np.isfinite(array).all():
        raise AlignError(f"{name}: expected finite numbers, got {array.tolist()}")
    return array


def _numbers(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AlignError(f"{name}: expected an array of numbers: {error}") from error


def _checked_size(size: int) -> int:
    try:
        side = operator.index(size)
    except TypeError:
        raise AlignError(f"size: expected an integer number of pixels, got {size!r}") from None
    if not 1 <= side <= MAX_SIZE:
        raise AlignError(f"size: expected 1 to {MAX_SIZE} pixels, got {side}")
    return side
