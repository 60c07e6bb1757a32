"""How much boxes overlap: the one definition behind labelling, evaluation and comparisons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Smaller unions count as this: two boxes without area have no overlap rather than 0/0.
SMALLEST_UNION = 1e-9


def iou(boxes: npt.ArrayLike, others: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Intersection over union (n, m), 0 to 1, of n boxes with m others: x1, y1, x2, y2, x2 − x1 wide."""
    a = np.asarray(boxes, np.float64).reshape(-1, 1, 4)
    b = np.asarray(others, np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(sides[..., 0], 0, None) * np.clip(sides[..., 1], 0, None)
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return np.asarray(shared / np.maximum(area_a + area_b - shared, SMALLEST_UNION))
