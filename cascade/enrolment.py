"""Which face of a photo somebody is compared or stored by, and whether it is good enough for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cascade.checks import boolean
from cascade.face_model import TOO_SMALL
from cascade.faces import Faces
from cascade.imaging.reading import RGBImage
from cascade.operating_point import OperatingPoint, face_sizes
from cascade.quality import FaceQualityError, measure

__all__ = [
    "FaceCountError",
    "FaceQualityError",
    "FaceSizeError",
    "Suitability",
    "check_enrolment",
    "only_face",
    "suitability",
]


class FaceCountError(ValueError):
    """A photo of one person has no face or several; ``image`` is its name, ``count`` the number of faces."""

    def __init__(self, image: str, count: int) -> None:
        super().__init__(image, count)
        self.image = image
        self.count = count

    def __str__(self) -> str:
        hint = "; largest=True takes the largest" if self.count else ""
        return f"{self.image}: expected one face, found {self.count}{hint}"


class FaceSizeError(ValueError):
    """A face is too small to store somebody by it; ``size`` is its size and ``needed`` the least, in pixels."""

    def __init__(self, image: str, size: float, needed: float) -> None:
        super().__init__(image, size, needed)
        self.image = image
        self.size = size
        self.needed = needed

    def __str__(self) -> str:
        return (
            f"{self.image}: expected a face of at least {self.needed:.0f} pixels, got {self.size:.0f}; smaller faces "
            "are often taken for other people's; allow_small=True takes it"
        )


def only_face(faces: Faces, image: str = "image", largest: bool = False) -> Faces:
    """The one face of a photo, as `Faces` of one; with ``largest``, the one of largest area.

    Of equal areas the first one is taken. ``image`` is the photo's name in the error. Raises `FaceCountError` if there
    is no face, or if there are several and not ``largest``; TypeError for a ``largest`` that is no bool.
    """
    largest = boolean("largest", largest)
    if not len(faces) or (len(faces) > 1 and not largest):
        raise FaceCountError(image, len(faces))
    sides = faces.boxes[:, 2:].astype(np.float64) - faces.boxes[:, :2]
    return faces[[int(np.argmax(sides.prod(axis=1)))]]


@dataclass(frozen=True)
class Suitability:
    """How suited a face is for recognition.

    size      pixels, see `cascade.operating_point.face_sizes`
    quality   0 to 1, see `cascade.quality.face_quality`
    problems  what is wrong: any of "too small", "blurred", "profile", "badly lit" and, with the degrees, "rotated by
              180°"; empty for a good face
    """

    size: float
    quality: float
    problems: tuple[str, ...]


def suitability(
    image: RGBImage, face: Faces, point: OperatingPoint | None, rotations: Sequence[int] = (0,)
) -> Suitability:
    """Measures a face (`Faces` of one): its quality, and whether it is small, if an operating point says from where.

    ``rotations`` are the degrees by which the photo was searched.
    """
    size, quality = float(face_sizes(face.boxes)[0]), measure(image, face)
    small = (TOO_SMALL,) if point is not None and point.is_small(size) else ()
    return Suitability(size, float(quality.score[0]), small + quality.problems(0, rotations))


def check_enrolment(
    image: RGBImage,
    face: Faces,
    point: OperatingPoint | None,
    name: str = "image",
    *,
    allow_small: bool = False,
    allow_poor: bool = False,
    rotations: Sequence[int] = (0,),
) -> None:
    """Refuses a face (`Faces` of one) that somebody should not be stored by; ``name`` is the photo's.

    ``rotations`` are the degrees by which the photo was searched.

    Raises `FaceSizeError` for a face that is small by the operating point of the network's weights and not
    ``allow_small``, and `FaceQualityError` for one that is blurred, a profile, badly lit or rotated and not
    ``allow_poor``.
    """
    size = float(face_sizes(face.boxes)[0])
    if not allow_small and point is not None and point.is_small(size):
        raise FaceSizeError(name, size, point.smallest_good_face)
    if allow_poor:
        return
    quality = measure(image, face)
    problems = quality.problems(0, rotations)
    if problems:
        raise FaceQualityError(name, problems, float(quality.score[0]))
