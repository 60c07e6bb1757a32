"""The one face of a photo that a label is about: found, and aligned.

In photos as taken it is the largest face. In crops of one face it is the largest one over the centre, the detector need
not be sure, and small crops are enlarged, since it needs pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from cascade.detect import THRESHOLDS, Detector
from cascade.faces import Faces
from cascade.imaging.alignment import align
from cascade.imaging.reading import RGBImage, read_image

__all__ = ["Cut", "SingleFace", "align_as_usual", "enlarged", "find_single_face"]

Cut: TypeAlias = Callable[[RGBImage, npt.NDArray[np.float32]], RGBImage]
"""From an image and the five points of faces (n, 5, 2) to crops (n, side, side, 3), such as `align`."""

SURE, UNSURE = THRESHOLDS, (0.5, 0.1, 0.69)  # the detector's thresholds in photos and in crops
SMALLEST = 0.25  # side of a face over a crop's shorter side
SMALL_CROP, ENLARGED = 128, 192  # crops with shorter sides below the first are enlarged to the second
MIN_FACE = 24  # pixels, in photos as taken


@dataclass(frozen=True, eq=False)
class SingleFace:
    """A face as an aligned crop.

    crop       (112, 112, 3) uint8 RGB
    landmarks  (5, 2) float32 that it was aligned by, as shares of the photo's width and height
    rival      side of the next largest face over that of this one, 0 if there is none
    """

    crop: RGBImage
    landmarks: npt.NDArray[np.float32]
    rival: float = 0.0


def find_single_face(path: str | Path, is_crop: bool, cut: Cut = align) -> SingleFace | None:
    """The face of a photo, or of a crop of one face; None if there is none. ``cut`` makes the crop.

    Raises `ImageError` or `AlignError` for a photo or a face that cannot be used.
    """
    image = read_image(path)
    if is_crop:
        image = enlarged(image)
    height, width = image.shape[:2]
    side = max(MIN_FACE, int(SMALLEST * min(height, width))) if is_crop else MIN_FACE
    faces = _detector(side, UNSURE if is_crop else SURE).detect(image)
    sides = np.sqrt((faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(axis=1))
    largest = np.argsort(-sides, kind="stable")
    if is_crop:
        largest = largest[over_centre(faces, width, height)[largest]]
    if not len(largest):
        return None
    face = faces[largest[:1]]
    rival = float(sides[largest[1]] / sides[largest[0]]) if len(largest) > 1 else 0.0
    return SingleFace(cut(image, face.landmarks)[0], face.landmarks[0] / np.array([width, height], np.float32), rival)


def align_as_usual(path: str | Path, landmarks: npt.NDArray[np.float32], cut: Cut = align) -> RGBImage:
    """A crop in which no face was found, aligned by the median landmarks (5, 2) of other crops, as shares of the sides.

    Raises `ImageError` or `AlignError`.
    """
    image = enlarged(read_image(path))
    crop: RGBImage = cut(image, landmarks[None] * np.array(image.shape[1::-1], np.float32))[0]
    return crop


def enlarged(image: RGBImage) -> RGBImage:
    """The image, one whose shorter side is below 128 pixels at a shorter side of 192."""
    height, width = image.shape[:2]
    if min(height, width) >= SMALL_CROP:
        return image
    scale = ENLARGED / min(height, width)
    size = round(scale * width), round(scale * height)
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


@lru_cache(maxsize=8)
def _detector(min_face: int, thresholds: tuple[float, float, float]) -> Detector:
    return Detector(min_face=min_face, thresholds=thresholds, threads=1)


def over_centre(faces: Faces, width: int, height: int) -> npt.NDArray[np.bool_]:
    """Which of the faces (n,) lie over the centre of a photo of that size in pixels."""
    x1, y1, x2, y2 = faces.boxes.T
    return np.asarray((x1 <= width / 2) & (width / 2 < x2) & (y1 <= height / 2) & (height / 2 < y2))
