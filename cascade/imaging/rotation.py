"""In-plane rotation of a photo, and of the boxes in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.imaging.reading import RGBImage

__all__ = ["rotate_boxes", "rotate_image"]


def rotate_image(
    image: RGBImage, degrees: float, padding: tuple[int, int, int], *, expand: bool
) -> tuple[RGBImage, npt.NDArray[np.float64]]:
    """Rotate an image (h, w, 3) clockwise about its middle; return it with the transform (2, 3) of its points.

    With ``expand`` the canvas holds the corners of the photo, otherwise it has the size of the photo. ``padding`` is
    the RGB value of the rest of the canvas. A point p becomes ``transform[:, :2] @ p + transform[:, 2]``; pixel centres
    lie at halves. It needs OpenCV.
    """
    import cv2

    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    size = np.array(image.shape[1::-1])
    canvas = np.ceil(np.abs(rotation) @ size - 1e-6).astype(int) if expand else size
    shift = canvas / 2 - rotation @ (size / 2)
    # OpenCV's pixel centres lie at integers
    matrix = np.c_[rotation, shift + rotation @ [0.5, 0.5] - 0.5]
    width, height = canvas.tolist()
    rotated = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=padding)
    return np.asarray(rotated, np.uint8), np.c_[rotation, shift]


def rotate_boxes(boxes: npt.NDArray[Any], transform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bounding boxes (n, 4) of the rotated ellipses that the boxes hold: a face fills its ellipse, not the corners."""
    rotation, shift = transform[:, :2], transform[:, 2]
    centres = (boxes[:, :2] + boxes[:, 2:]).astype(np.float64) / 2 @ rotation.T + shift
    halves = np.sqrt(((boxes[:, 2:] - boxes[:, :2]) / 2) ** 2 @ (rotation**2).T)
    return np.concatenate([centres - halves, centres + halves], axis=1)
