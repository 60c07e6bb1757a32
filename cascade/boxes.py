"""Boxes x1, y1, x2, y2, of width x2 − x1: how much they overlap, their squares, and the windows of P-Net."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cascade import _native
from cascade._native import expand, square
from cascade.nn.architectures import Architecture

__all__ = ["expand", "iou", "square", "window_boxes"]

# Smaller unions count as this: two boxes without area have no overlap rather than 0/0.
SMALLEST_UNION = 1e-9


def iou(boxes: npt.ArrayLike, others: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Intersection over union (n, m), 0 to 1, of n boxes with m others."""
    a = np.asarray(boxes, np.float64).reshape(-1, 1, 4)
    b = np.asarray(others, np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(sides[..., 0], 0, None) * np.clip(sides[..., 1], 0, None)
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return np.asarray(shared / np.maximum(area_a + area_b - shared, SMALLEST_UNION))


def window_boxes(levels: Sequence[np.ndarray], architecture: Architecture, scales: np.ndarray) -> np.ndarray:
    """P-Net's windows (n, 4) float32 in pixels of the photo, for the columns and rows ``level[:, :2]`` of each level.

    ``scales`` (levels, 2): pixels of each level over pixels of the photo, across and down.
    """
    margin = (architecture.input_size - architecture.window) / 2 - architecture.padding
    return _native.window_boxes(levels, scales, architecture.stride, margin, architecture.window)
