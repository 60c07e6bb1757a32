"""How good a photo of a face is for recognition: large, sharp, frontal, upright and well lit, or not.

>>> from cascade.quality import face_quality
>>> face_quality("crew.jpg", faces)  # doctest: +SKIP

The measures are plain ones of pixels and landmarks, without a network, so they cost little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cascade.face_model import five_point_lean, five_point_yaw, landmarks_of, sizes_of
from cascade.faces import Faces, FloatArray
from cascade.imaging.alignment import align
from cascade.imaging.reading import ImageInput, RGBImage, read_image

__all__ = [
    "BLURRED",
    "LIGHT",
    "PROFILE",
    "ROTATED_HINT",
    "FaceQuality",
    "FaceQualityError",
    "crop_sharpness",
    "face_quality",
    "is_rotated",
    "measure",
    "measure_crops",
    "rotation_problem",
]

BLURRED, PROFILE, LIGHT = "blurred", "profile", "badly lit"
"""What can be wrong with a face, besides its size, and that it is `ROTATED`."""

ROTATED = "rotated"
"""How the problem of a face on its side or upside down begins: "rotated by 180°"."""

ROTATED_HINT = "rotate the photo, or search with rotations"
"""What to do about it."""

GOOD_SIZE = 112.0
"""Pixels. Larger faces tell no more, since the crops that networks see have this size."""

GOOD_SHARPNESS = 400.0
"""Sharpness at which it counts half."""

GOOD_CONTRAST = 12.0
"""Standard deviation of the brightness in the middle of a crop, of 255, at which it counts half."""

LEAST_SHARPNESS, MOST_YAW, LEAST_EXPOSURE, MOST_LEAN = 100.0, 45.0, 0.35, 45.0
"""Where a face is called blurred, a profile (degrees), badly lit and rotated (degrees)."""

PROFILE_POWER = 4
"""Of the cosine of the yaw: chosen on people held out of training, like the form of the other factors."""

DARK, BRIGHT = 20, 235
"""Brightness below and above which a pixel shows next to nothing."""

MIDDLE = slice(24, 104)
"""Rows and columns of a crop that lie on the face."""


class FaceQualityError(ValueError):
    """A photo of a face is too bad to store somebody by it; ``problems`` says what is wrong with it.

    ``image`` is the photo's name, ``quality`` the face's quality, 0 to 1.
    """

    def __init__(self, image: str, problems: tuple[str, ...], quality: float) -> None:
        super().__init__(image, problems, quality)
        self.image = image
        self.problems = problems
        self.quality = quality

    def __str__(self) -> str:
        hint = f"; {ROTATED_HINT}" if is_rotated(self.problems) else ""
        return (
            f"{self.image}: expected a sharp, frontal, upright and well lit face, found it "
            f"{' and '.join(self.problems)} (quality {self.quality:.2f}){hint}; allow_poor=True takes it"
        )


@dataclass(frozen=True, eq=False)
class FaceQuality:
    """What was measured of n faces.

    size       (n,) pixels: the side of a detector's box around such a face
    sharpness  (n,) variance of the Laplacian of the aligned crop at half its size; enlarged faces have little
    yaw        (n,) degrees, by the five landmarks, rough; positive where the face looks to the right
    exposure   (n,) 0 to 1: the share of the face's pixels that are neither black nor white, less where there is little
               contrast
    lean       (n,) degrees from upright by the five landmarks, −180 to 180; positive where the head leans clockwise in
               the photo. The score does not depend on it
    """

    size: FloatArray
    sharpness: FloatArray
    yaw: FloatArray
    exposure: FloatArray
    lean: FloatArray

    def __len__(self) -> int:
        return len(self.size)

    @classmethod
    def joined(cls, parts: Sequence[FaceQuality]) -> FaceQuality:
        """The measures of several photos' faces, one after the other; at least one part."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    @property
    def score(self) -> FloatArray:
        """(n,) float32, 0 to 1: the product of four factors, one for each measure."""
        sharp = self.sharpness / (self.sharpness + GOOD_SHARPNESS)
        frontal = np.cos(np.radians(np.clip(np.abs(self.yaw), 0, 90))) ** PROFILE_POWER
        large = np.clip(self.size / GOOD_SIZE, 0, 1)
        return np.asarray(np.clip(large * sharp * frontal * self.exposure, 0, 1), np.float32)

    def problems(self, index: int, rotations: Sequence[int] = (0,)) -> tuple[str, ...]:
        """What is wrong with a face: any of `BLURRED`, `PROFILE`, `LIGHT` and "rotated by 180°"; empty for a good one.

        ``rotations`` are the degrees by which the photo was searched, see `cascade.Detector`.
        """
        found = {
            BLURRED: self.sharpness[index] < LEAST_SHARPNESS,
            PROFILE: abs(self.yaw[index]) > MOST_YAW,
            LIGHT: self.exposure[index] < LEAST_EXPOSURE,
        }
        rotated = rotation_problem(float(self.lean[index]), rotations)
        return tuple(problem for problem, there in found.items() if there) + (() if rotated is None else (rotated,))


def rotation_problem(lean: float, rotations: Sequence[int] = (0,)) -> str | None:
    """What is wrong with a face that leans by so many degrees, as `five_point_lean` has them; None if nothing is.

    The networks know faces that are nearly upright. So their landmarks, and all that depends on them, are right only
    where one of the ``rotations`` by which the photo was searched brings the face near to that.
    """
    beyond = min(abs((lean - angle + 180) % 360 - 180) for angle in rotations)
    return f"{ROTATED} by {abs(lean):.0f}°" if beyond > MOST_LEAN else None


def is_rotated(problems: Sequence[str]) -> bool:
    """Whether a face's problems have one of `rotation_problem`."""
    return any(problem.startswith(ROTATED) for problem in problems)


def face_quality(
    image: ImageInput, faces: Faces | npt.ArrayLike, *, color: Literal["rgb", "bgr"] = "rgb"
) -> FloatArray:
    """The quality (N,) float32 of the faces of one image, 0 to 1, in their order: the `FaceQuality.score`.

    ``image`` is whatever `cascade.read_image` takes. ``faces`` are `Faces`, or their landmarks (N, 5, 2) in pixels of
    the image as displayed. Raises as `measure` does.
    """
    return measure(image, faces, color=color).score


def measure(image: ImageInput, faces: Faces | npt.ArrayLike, *, color: Literal["rgb", "bgr"] = "rgb") -> FaceQuality:
    """The measures behind `face_quality`.

    Raises `ImageError` if the image cannot be used, and `AlignError` naming the face whose landmarks are not finite,
    coincide or are of the wrong shape.
    """
    pixels = read_image(image, color=color)
    points = landmarks_of(faces)
    return measure_crops(align(pixels, points), points)


def measure_crops(crops: RGBImage, points: npt.NDArray[np.floating]) -> FaceQuality:
    """The same from aligned crops (n, 112, 112, 3) uint8 and the landmarks (n, 5, 2) that they were aligned by."""
    yaw, lean = five_point_yaw(points), five_point_lean(points)
    measures = sizes_of(points), crop_sharpness(crops), yaw, _exposure(crops), lean
    return FaceQuality(*(np.asarray(each, np.float32) for each in measures))


def crop_sharpness(crops: RGBImage) -> FloatArray:
    """Variance (n,) of the Laplacian of every second pixel of aligned crops (n, 112, 112, 3) uint8."""
    gray = crops[:, ::2, ::2, 1].astype(np.float32)
    laplacian = (
        4 * gray[:, 1:-1, 1:-1] - gray[:, :-2, 1:-1] - gray[:, 2:, 1:-1] - gray[:, 1:-1, :-2] - gray[:, 1:-1, 2:]
    )
    return np.asarray(laplacian.var(axis=(1, 2)), np.float32)


def _exposure(crops: RGBImage) -> FloatArray:
    """Share (n,) of the pixels on the face that are neither black nor white, times a factor for its contrast."""
    gray = crops[:, MIDDLE, MIDDLE, 1]
    seen = ((gray > DARK) & (gray < BRIGHT)).mean(axis=(1, 2))
    contrast = gray.std(axis=(1, 2), dtype=np.float32)
    return np.asarray(seen * contrast / (contrast + GOOD_CONTRAST), np.float32)
