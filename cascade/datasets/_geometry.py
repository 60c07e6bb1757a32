"""Boxes out of the forms that annotations use."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def ellipse_boxes(ellipses: ArrayLike) -> NDArray[np.float64]:
    """Return the (N, 4) tightest upright boxes x1, y1, x2, y2 around (N, 5) ellipses.

    An ellipse is major radius, minor radius, angle of the major axis to the x axis in radians, centre x,
    centre y.
    """
    major, minor, angle, x, y = np.asarray(ellipses, np.float64).reshape(-1, 5).T
    with np.errstate(over="ignore"):  # the callers refuse what becomes infinite
        half_width = np.hypot(major * np.cos(angle), minor * np.sin(angle))
        half_height = np.hypot(major * np.sin(angle), minor * np.cos(angle))
        return np.column_stack([x - half_width, y - half_height, x + half_width, y + half_height])


def corners(xywh: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Turn (N, 4) boxes x, y, width, height into x1, y1, x2, y2, and tell which have no area.

    The annotations hold a few negative sizes. Their corners are put in order, since a face is likely to be
    there; they count among those without area, which the readers mark as ignored.
    """
    boxes = np.array(xywh, np.float64).reshape(-1, 4)
    flat: NDArray[np.bool_] = np.any(boxes[:, 2:] <= 0, axis=1)
    first, second = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    return np.hstack([np.minimum(first, second), np.maximum(first, second)]), flat


def no_landmarks(n: int) -> NDArray[np.float32]:
    """Return (n, 5, 2) float32 of NaN: landmarks unknown."""
    return np.full((n, 5, 2), np.nan, np.float32)
