"""A mean face in space from many faces in the plane: structure from motion with a camera far away.

Tomasi and Kanade (1992): the 2-D points of all photos, each centred, are a matrix of rank three, cameras times face.
Its factors are known up to a 3×3 matrix, which the cameras' rows, orthogonal and of equal length, determine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cascade.landmarks import MIRRORED

Points = NDArray[np.float64]

LEFT, RIGHT, TIP = 36, 45, 30  # outer corners of the eyes, tip of the nose


def mean_face(points: NDArray[np.floating]) -> Points:
    """(68, 3) face from points (n, 68, 2): x to the right, y down, z away from the camera, eye corners 1 apart.

    It is made symmetric: each photo counts as its mirror image too. Raises ValueError for points without depth.
    """
    both = np.concatenate([points, points[:, MIRRORED] * (-1, 1)]).astype(np.float64)
    both -= both.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(both[:, RIGHT] - both[:, LEFT], axis=1)
    size = np.sqrt(np.square(both).mean(axis=(1, 2)))
    both /= np.where(scale > 0, size, 1)[:, None, None]
    seen = both.transpose(0, 2, 1).reshape(-1, both.shape[1])  # (2 n, 68)
    left, values, right = np.linalg.svd(seen, full_matrices=False)
    cameras, face = left[:, :3] * values[:3], right[:3]
    upgrade = _metric(cameras.reshape(-1, 2, 3))
    return _posed(np.linalg.solve(upgrade, face).T)


def _metric(cameras: Points) -> Points:
    """The 3×3 matrix that makes the rows of each camera (n, 2, 3) most nearly orthogonal and of length 1."""
    first, second = cameras[:, 0], cameras[:, 1]
    wanted = np.concatenate([np.ones(2 * len(cameras)), np.zeros(len(cameras))])
    rows = np.concatenate([_products(first, first), _products(second, second), _products(first, second)])
    a, b, c, d, e, f = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    values, vectors = np.linalg.eigh([[a, b, c], [b, d, e], [c, e, f]])
    if values.min() <= 0:
        raise ValueError("points: expected faces from several directions, found no depth in them")
    return np.asarray(vectors * np.sqrt(values))


def _products(p: Points, q: Points) -> Points:
    """Coefficients of the six different entries of a symmetric matrix L in pᵀ L q."""
    x, y, z = p.T
    u, v, w = q.T
    return np.stack([x * u, x * v + y * u, x * w + z * u, y * v, y * w + z * v, z * w], axis=1)


def _posed(face: Points) -> Points:
    """The face (68, 3) rotated upright and to the camera: eyes level, the nose nearest."""
    face = face - face.mean(axis=0)
    across = face - face[MIRRORED]  # only the axis of symmetry is left
    x = np.linalg.svd(across)[2][0]
    x = x if (face[RIGHT] - face[LEFT]) @ x > 0 else -x
    middle = (face + face[MIRRORED]) / 2
    plane = middle[36:48].mean(axis=0) - middle[[48, 54]].mean(axis=0)  # from the mouth to the eyes
    y = -(plane - (plane @ x) * x)
    y /= np.linalg.norm(y)
    z = np.cross(x, y)
    rotated: Points = face @ np.stack([x, y, z], axis=1)
    if rotated[TIP, 2] > rotated[36:48, 2].mean():  # depth is known up to its sign
        rotated[:, 2] *= -1
    return rotated / np.linalg.norm(rotated[RIGHT] - rotated[LEFT])
