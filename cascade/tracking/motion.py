"""Where a face will be: a Kalman filter of constant velocity over centre and size of its box."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Motion"]

FloatArray = npt.NDArray[np.float64]

# In units of the face's size: how exact a detector's boxes are, and how much a velocity changes within a second.
MEASURED = 0.05
ACCELERATION = 8.0
FIRST_VELOCITY = 3.0
LARGEST_STEP = 2.0  # in the logarithm of the size, within one prediction


class Motion:
    """The state of one face: centre x and y in pixels and the logarithms of width and height, with their velocities."""

    def __init__(self, box: npt.ArrayLike, time: float) -> None:
        self.time = time
        self._values = _values(box)
        self._velocities = np.zeros(4)
        # variances and covariance of value and velocity, the same for all four in units of the size
        self._spread = np.diag([MEASURED**2, FIRST_VELOCITY**2])

    def predicted(self, time: float) -> npt.NDArray[np.float32]:
        """The box (4,) float32 at a time in seconds, not before that of the last measurement."""
        moved = self._velocities * max(0.0, time - self.time)
        moved[2:] = np.clip(moved[2:], -LARGEST_STEP, LARGEST_STEP)
        return _box(self._values + moved)

    def update(self, box: npt.ArrayLike, time: float) -> None:
        """Takes a box that was measured at a time in seconds."""
        step = max(0.0, time - self.time)
        moving = np.array([[1.0, step], [0.0, 1.0]])
        noise = ACCELERATION**2 * np.array([[step**4 / 4, step**3 / 2], [step**3 / 2, step**2]])
        spread = moving @ self._spread @ moving.T + noise
        gain = spread[:, 0] / (spread[0, 0] + MEASURED**2)
        expected = self._values + self._velocities * step
        off = _values(box) - expected
        self._spread = spread - np.outer(gain, spread[0])
        self._values = expected + gain[0] * off
        self._velocities = self._velocities + gain[1] * off
        self.time = time


def _values(box: npt.ArrayLike) -> FloatArray:
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, np.log(max(x2 - x1, 1e-3)), np.log(max(y2 - y1, 1e-3))])


def _box(values: FloatArray) -> npt.NDArray[np.float32]:
    width, height = np.exp(np.clip(values[2:], -7, 12))
    x, y = values[:2]
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2], np.float32)
