"""What all models of faces share: the detector before them, and which faces are large and frontal enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cascade.checks import FixedSettings, number, thread_count
from cascade.detect import Detector
from cascade.engines.threads import Threads
from cascade.faces import Faces
from cascade.imaging.alignment import (
    ARCFACE_TEMPLATE,
    TEMPLATE_SIZE,
    align,
    checked_landmarks,
    similarity_transforms,
)
from cascade.imaging.reading import ImageInput, RGBImage, read_image

__all__ = [
    "CHUNK",
    "PROFILE",
    "TOO_SMALL",
    "FaceModel",
    "UsesDetector",
    "five_point_lean",
    "five_point_yaw",
    "landmarks_of",
    "sizes_of",
]

TOO_SMALL, PROFILE = "too small", "profile"
"""Why a face is not estimated."""

CHUNK = 256
"""Faces whose crops are in memory at a time."""

BOX_SHARE = 0.7
"""Side of a detector's box over that of the aligned crop."""

NOSE = 0.55
"""How far the tip of the nose is in front of the eyes, over their distance; the mean over people."""


class UsesDetector(FixedSettings):
    """Base of what uses a detector: holds it and the number of threads, and finds the faces of an image.

    A subclass calls `_set_detector` in its constructor, and `_fix_settings` at its end.
    """

    threads: int

    def _set_detector(self, threads: int | None, detector: Detector | None) -> None:
        if detector is not None and not isinstance(detector, Detector):
            raise TypeError(f"detector: expected a Detector, got {type(detector).__name__}")
        self.threads = thread_count(threads)
        self._given_detector = self._detector = detector

    @property
    def detector(self) -> Detector:
        """The detector that finds the faces where none are given."""
        if self._detector is None:
            # no lock: several threads may each create one at first, and a lock might be held during a fork
            self._detector = Detector(threads=self.threads)
        return self._detector

    def _read(
        self, image: ImageInput, faces: Faces | npt.ArrayLike | None, color: Literal["rgb", "bgr"]
    ) -> tuple[RGBImage, Faces | npt.ArrayLike]:
        """The pixels, and the faces that are given or found."""
        pixels = read_image(image, color=color)
        return pixels, self.detector.detect(pixels) if faces is None else faces


class FaceModel(UsesDetector):
    """Base of models of faces: their common settings, and which faces are estimated.

    A subclass calls `_set_common` in its constructor, and `_fix_settings` at its end.
    """

    min_face: float
    max_yaw: float

    def _set_common(self, threads: int | None, min_face: float, max_yaw: float, detector: Detector | None) -> None:
        self._set_detector(threads, detector)
        self.min_face = number("min_face", min_face, 0, 1000)
        self.max_yaw = number("max_yaw", max_yaw, 0, 90)
        self._threads = Threads(self.threads)

    def _common(self) -> dict[str, Any]:
        """The common settings, as the constructors take them."""
        names = ("threads", "min_face", "max_yaw")
        return {**{name: getattr(self, name) for name in names}, "detector": self._given_detector}

    def _located(
        self, image: ImageInput, faces: Faces | npt.ArrayLike | None, color: Literal["rgb", "bgr"]
    ) -> tuple[RGBImage, npt.NDArray[np.float32], Faces | None]:
        """The pixels, the five points (N, 5, 2) of each face, and the `Faces` if they are not points alone."""
        pixels, faces = self._read(image, faces, color)
        points = landmarks_of(faces).astype(np.float32, copy=False)
        return pixels, points, faces if isinstance(faces, Faces) else None

    def _unknown(self, pixels: RGBImage, points: npt.NDArray[np.float32]) -> tuple[str, ...]:
        """Why each face is not estimated, "" where it is. Raises `AlignError` for points of no face."""
        if not np.isfinite(sizes_of(points)).all():
            align(pixels, points)  # its error names the face and says what is wrong
        small, profile = sizes_of(points) < self.min_face, np.abs(five_point_yaw(points)) > self.max_yaw
        return tuple(
            TOO_SMALL if is_small else PROFILE if is_profile else ""
            for is_small, is_profile in zip(small.tolist(), profile.tolist(), strict=True)
        )


def landmarks_of(faces: Faces | npt.ArrayLike) -> npt.NDArray[np.floating]:
    """The five points (N, 5, 2) of `Faces`, or of landmarks; an empty list is no face.

    Raises `AlignError` for anything but numbers of that shape.
    """
    if isinstance(faces, Faces):
        return faces.landmarks
    return np.empty((0, 5, 2)) if isinstance(faces, (list, tuple)) and not faces else checked_landmarks(faces)


def recreated(kind: type[Any], settings: dict[str, Any]) -> Any:
    """A model from its settings, for pickle and copy."""
    return kind(**settings)


def checked_images(images: Any) -> Any:
    """The images, if they are several. Raises TypeError for one image, whose parts would be taken for images."""
    one_array = isinstance(images, np.ndarray) and images.ndim < 4 and images.dtype != object
    if isinstance(images, (str, bytes, bytearray, memoryview, Path)) or one_array or not hasattr(images, "__iter__"):
        raise TypeError(f"images: expected several images, as a list, got one {type(images).__name__}")
    return images


def check_crops(crops: Any, side: int) -> None:
    """Raises TypeError or ValueError unless these are crops (n, side, side, 3) uint8."""
    if not isinstance(crops, np.ndarray):
        raise TypeError(f"crops: expected a numpy array, got {type(crops).__name__}")
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (side, side, 3):
        hint = "; for one crop pass crop[None]" if crops.ndim == 3 else ""
        raise ValueError(f"crops: expected uint8 (n, {side}, {side}, 3), got {crops.dtype} {crops.shape}{hint}")


def sizes_of(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Sides (n,) in pixels of the boxes that a detector puts around faces with these five points (n, 5, 2)."""
    scale = similarity_transforms(points, ARCFACE_TEMPLATE)[:, :, 0]
    lengths = np.hypot(scale[:, 0], scale[:, 1])
    return np.asarray(BOX_SHARE * TEMPLATE_SIZE / np.maximum(lengths, 1e-9))


def five_point_yaw(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Rough yaw (n,) in degrees of faces with these five points (n, 5, 2), positive where they look to the right.

    It goes by where the nose is between the eyes. It is good enough to tell a profile: `cascade.landmarks` has the
    head pose.
    """
    left, right, nose = (points[:, at].astype(np.float64) for at in range(3))
    across = right - left
    shift = ((nose - (left + right) / 2) * across).sum(axis=1)
    distance = np.square(across).sum(axis=1)
    return np.asarray(np.degrees(np.arctan2(shift, NOSE * distance)))


def five_point_lean(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """By how much faces with these five points (n, 5, 2) are rotated from upright: (n,) degrees, −180 to 180.

    It goes by where the mouth is from the eyes, and is positive where the head leans clockwise in the photo.
    """
    eyes, mouth = points[:, :2].mean(axis=1, dtype=np.float64), points[:, 3:].mean(axis=1, dtype=np.float64)
    right, down = (mouth - eyes).T
    return np.asarray(np.degrees(np.arctan2(-right, down)))
