"""Searching a photo in several orientations: rotation by quarter turns, and merging what several searches found.

P-, R- and O-Net know faces that lean a little. Faces of a photo that lies on its side, or of heads upside down, are
found by looking at the photo in each orientation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cascade import _native
from cascade.checks import is_number
from cascade.faces import Faces
from cascade.imaging.reading import RGBImage
from cascade.stages import ONET_NMS

ANGLES = (0, 90, 180, 270)
"""Angles in degrees, counterclockwise, by which a photo can be rotated before it is searched."""


def checked_rotations(angles: Sequence[int]) -> tuple[int, ...]:
    """The angles, if they are one or more of `ANGLES`, each once. Raises TypeError or ValueError."""
    try:
        given = tuple(angles)
    except TypeError:
        raise TypeError(f"rotations: expected angles such as (0, 90), got {type(angles).__name__}") from None
    valid = {angle for angle in given if is_number(angle) and angle in ANGLES}
    if not given or len(valid) < len(given):
        raise ValueError(f"rotations: expected one or more of {', '.join(map(str, ANGLES))}, each once, got {given}")
    return tuple(int(angle) for angle in given)


def rotate(image: RGBImage, angle: int) -> RGBImage:
    """The image (height, width, 3) rotated counterclockwise by one of `ANGLES`."""
    return image if angle == 0 else np.ascontiguousarray(np.rot90(image, angle // 90))


def rotate_back(faces: Faces, angle: int, width: int, height: int) -> Faces:
    """Faces of a rotated image in pixels of the original one, which is ``width`` by ``height``.

    The landmarks stay in the order of the upright face: its eye on the left comes first.
    """
    if angle == 0 or not len(faces):
        return faces
    corners = _points_back(faces.boxes.reshape(-1, 2, 2), angle, width, height)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return Faces(boxes, faces.scores, _points_back(faces.landmarks, angle, width, height), faces.data)


def merge(parts: Sequence[Faces]) -> Faces:
    """What several searches of a photo found, best first; of overlapping boxes the one with the highest score stays."""
    boxes = np.concatenate([part.boxes for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    landmarks = np.concatenate([part.landmarks for part in parts])
    kept, _, _ = _native.candidates(boxes, np.zeros_like(boxes), scores, -np.inf, ONET_NMS)
    return Faces(boxes[kept], scores[kept], landmarks[kept]).sort()


def _points_back(points: np.ndarray, angle: int, width: int, height: int) -> np.ndarray:
    x, y = points[..., 0], points[..., 1]
    if angle == 90:
        return np.stack([width - y, x], axis=-1)
    if angle == 180:
        return np.stack([width - x, height - y], axis=-1)
    return np.stack([y, height - x], axis=-1)
