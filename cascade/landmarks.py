"""68 landmarks of a face in the order of iBUG's 300-W, and from them the head pose.

>>> from cascade.landmarks import LandmarkEstimator
>>> points = LandmarkEstimator().predict("photo.jpg")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cascade import _native
from cascade.checks import integer
from cascade.detect import Detector
from cascade.face_model import CHUNK, FaceModel, check_crops, recreated, sizes_of
from cascade.faces import Faces, FloatArray
from cascade.imaging.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE, align, similarity_transforms
from cascade.imaging.reading import ImageInput, RGBImage
from cascade.models.landmarks import OUTPUT, POINTS, LandmarkWeights, load_landmarks

__all__ = ["MIRRORED", "TEMPLATE", "LandmarkEstimator", "five_points", "head_pose"]

ZOOM, CENTRE, PLACE = 0.88, (56.5, 78.0), (56.0, 56.0)
TEMPLATE: npt.NDArray[np.float64] = (ARCFACE_TEMPLATE - CENTRE) * ZOOM + PLACE
"""The five points in a crop of 112×112 pixels that shows the whole face, from above the brows to below the chin."""
TEMPLATE.flags.writeable = False

MIRRORED: npt.NDArray[np.intp] = np.array(
    [
        *range(16, -1, -1),  # jaw
        *range(26, 16, -1),  # brows
        *range(27, 31),  # bridge of the nose
        *range(35, 30, -1),  # its base
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # lips from outside
        *(64, 63, 62, 61, 60, 67, 66, 65),  # and from inside
    ]
)
"""The number of each point in the mirror image."""
MIRRORED.flags.writeable = False

RIGID = np.r_[27:48]
"""Nose and eyes, which move little against each other: what the head pose is computed from."""

DEPTH, FORWARD = 0.65, 8.0
"""Corrections of the mean face, which comes from motion, before the head pose is computed: its depth is multiplied,
since motion makes it too deep and all angles too small; and it is pitched by these degrees, so that a pitch of 0 looks
straight ahead. Chosen on folds 1 to 3 of GENKI-4K, whose poses were labelled by hand."""


class LandmarkEstimator(FaceModel):
    """Finds the 68 points of faces, with settings that are checked once and then fixed.

    Parameters
    ----------
    weights : a safetensors file, or the result of `cascade.models.landmarks.load_landmarks`; None: the shipped network.
    threads : threads that share the work of one call; None takes one per available core, at most 4.
    passes : 1 to 4. Each further pass aligns the crop by the points of the one before. On HELEN's test part it gains
        nothing.
    min_face : side of a face in pixels of the photo, 0 to 1000, below which it has no points.
    max_yaw : degrees, 0 to 90, the largest yaw to either side. Beyond, half of the points are hidden, and
        it has none.
    detector : finds the faces where none are given. None: a `Detector` with its default settings, created on first use.

    It can be used from several threads at once and after a fork, and it can be copied and pickled, with its weights.
    Raises ValueError or TypeError naming a wrong setting, and `cascade.WeightsError` for weights that cannot be used.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | LandmarkWeights | None = None,
        threads: int | None = None,
        *,
        passes: int = 1,
        min_face: float = 24,
        max_yaw: float = 75,
        detector: Detector | None = None,
    ) -> None:
        self._set_common(threads, min_face, max_yaw, detector)
        self.weights = weights if isinstance(weights, LandmarkWeights) else load_landmarks(weights)
        self.passes = integer("passes", passes, 1, 4)
        graph = self.weights.graph
        self._graph = _native.Graph(self.weights.nodes(), graph.input_size, [graph.outputs[OUTPUT]])
        self._fix_settings()

    def __reduce__(self) -> tuple[Any, ...]:
        return recreated, (type(self), {"weights": self.weights, "passes": self.passes, **self._common()})

    def predict(
        self, image: ImageInput, faces: Faces | npt.ArrayLike | None = None, *, color: Literal["rgb", "bgr"] = "rgb"
    ) -> FloatArray:
        """The points (N, 68, 2) float32 of the faces of one image, in its pixels; NaN for a face that has none.

        ``image`` is whatever `cascade.read_image` takes. ``faces`` are `Faces`, or their five landmarks (N, 5, 2);
        without them, the ``detector`` finds the faces. No face gives (0, 68, 2).

        Raises `ImageError` if the image cannot be used, and `AlignError` for landmarks that cannot.
        """
        pixels, five, _ = self._located(image, faces, color)
        return self._predict(pixels, five)[0]

    def analyze(self, image: ImageInput, faces: Faces | None = None, *, color: Literal["rgb", "bgr"] = "rgb") -> Faces:
        """The faces, found or given, with "points" (N, 68, 2), "pose" (N, 3) and "points_unknown" in ``data``.

        The pose is yaw, pitch and roll in degrees, see `head_pose`. A face that has no points has NaN in both, and the
        reason in "points_unknown": "too small" or "profile", "" for others. Raises as `predict`.
        """
        pixels, five, located = self._located(image, faces, color)
        if located is None:
            raise TypeError(f"faces: expected Faces, got {type(faces).__name__}")
        points, unknown = self._predict(pixels, five)
        data = {"points": points, "pose": self.pose(points), "points_unknown": np.array(unknown, np.str_)}
        return located.with_data(data)

    def pose(self, points: npt.ArrayLike) -> FloatArray:
        """Yaw, pitch and roll (N, 3) float32 in degrees of faces with these points (N, 68, 2); NaN where these are.

        See `head_pose`. The angles were compared with labels up to a yaw of 40°; nothing is known of larger ones.
        Raises ValueError for another shape.
        """
        array = np.asarray(points, np.float64)
        if array.ndim != 3 or array.shape[1:] != (POINTS, 2):
            raise ValueError(f"points: expected shape (N, {POINTS}, 2), got {array.shape}")
        found = np.full((len(array), 3), np.nan, np.float32)
        known = np.isfinite(array).all(axis=(1, 2))
        found[known] = head_pose(array[known], _corrected(self.weights.tensors["mean_face"]))
        return found

    def _predict(self, pixels: RGBImage, five: npt.NDArray[np.float32]) -> tuple[FloatArray, tuple[str, ...]]:
        """The points of all faces, and why some have none."""
        unknown = self._unknown(pixels, five)
        known = np.flatnonzero([not reason for reason in unknown])
        found = np.full((len(five), POINTS, 2), np.nan, np.float32)
        for first in range(0, len(known), CHUNK):
            rows = known[first : first + CHUNK]
            found[rows] = self._passes(pixels, five[rows])
        return found, unknown

    def _passes(self, pixels: RGBImage, five: npt.NDArray[np.float32]) -> FloatArray:
        """The points after all passes. A face whose points no crop can be aligned by keeps them."""
        points = self._one_pass(pixels, five)
        for _ in range(self.passes - 1):
            closer = five_points(points)
            rows = np.flatnonzero(np.isfinite(sizes_of(closer)))
            points[rows] = self._one_pass(pixels, closer[rows])
        return points

    def _one_pass(self, pixels: RGBImage, five: FloatArray) -> FloatArray:
        """The points in the image, from crops aligned by five points each."""
        side = self.weights.graph.input_size
        crops = align(pixels, five, side, TEMPLATE)
        points = self.predict_crops(crops)
        forward = similarity_transforms(five, TEMPLATE * (side / TEMPLATE_SIZE))
        back = np.linalg.inv(forward[:, :, :2])
        found = (points.astype(np.float64) - forward[:, None, :, 2]) @ back.transpose(0, 2, 1)
        return found.astype(np.float32)

    def predict_crops(self, crops: RGBImage) -> FloatArray:
        """The points (n, 68, 2) in pixels of crops (n, side, side, 3) uint8 RGB that are aligned by `TEMPLATE`.

        Raises ValueError or TypeError for another shape or type.
        """
        check_crops(crops, self.weights.graph.input_size)
        (found,) = self._graph.run(np.ascontiguousarray(crops), self._threads.pool)
        shares = found.reshape(-1, POINTS, 2) + self.weights.tensors["mean_shape"]
        return np.asarray(shares * self.weights.graph.input_size, np.float32)


def _corrected(mean_face: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The mean face (68, 3) with another depth and zero of the pitch: see `DEPTH`."""
    cosine, sine = np.cos(np.radians(FORWARD)), np.sin(np.radians(FORWARD))
    pitched = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return np.asarray((mean_face.astype(np.float64) * (1, 1, DEPTH)) @ pitched.T)


def five_points(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """The five points (n, 5, 2) of a detector from 68 (n, 68, 2): centres of the eyes, nose tip, mouth corners."""
    eyes = [points[:, first : first + 6].mean(axis=1) for first in (36, 42)]
    return np.stack([*eyes, points[:, 30], points[:, 48], points[:, 54]], axis=1).astype(np.float32)


def head_pose(points: npt.NDArray[np.floating], mean_face: npt.NDArray[np.floating]) -> FloatArray:
    """Yaw, pitch and roll (n, 3) float32 in degrees from 68 points (n, 68, 2) and a face in space (68, 3).

    Yaw is positive where the face looks to the right of the image, pitch where it looks up, roll where the head leans
    clockwise in the image; the head rolls first, then pitches, then yaws. The camera is far away (weak
    perspective); 0, 0, 0 looks straight into it.
    """
    face = mean_face[RIGID].astype(np.float64)
    face = face - face.mean(axis=0)
    seen = points[:, RIGID].astype(np.float64)
    seen = seen - seen.mean(axis=1, keepdims=True)
    rows = np.einsum("pk,npc->nck", face @ np.linalg.inv(face.T @ face), seen)  # (n, 2, 3), least squares
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    first, second = np.moveaxis(left @ right, 1, 0)  # the nearest pair of orthogonal unit rows
    third = np.cross(first, second)
    # the camera looks along z, so the face's forward direction is −z: minus the third column of the rotation
    forward = -np.stack([first[:, 2], second[:, 2], third[:, 2]], axis=1)
    yaw = np.arctan2(forward[:, 0], -forward[:, 2])
    pitch = np.arcsin(np.clip(-forward[:, 1], -1, 1))
    level = np.stack([np.cos(yaw), np.zeros_like(yaw), np.sin(yaw)], axis=1)  # the face's x axis without roll
    down = np.cross(level, forward)
    across = np.stack([first[:, 0], second[:, 0], third[:, 0]], axis=1)
    roll = np.arctan2((across * down).sum(1), (across * level).sum(1))
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=1)), np.float32)
