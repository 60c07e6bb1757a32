"""Finding the faces to hide: several searches of one photo, whose results are merged, down to low scores.

What is not found stays visible. So a photo is searched as it is, mirrored, at a second scale and on its sides, and
faces of lower scores count than a `Detector` reports by itself. The scores that a face has in the upright searches are
averaged (test-time augmentation): what is found in each, if only with a low score, is likelier a face than what is
found in one alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from cascade.boxes import iou
from cascade.checks import FixedSettings, boolean, number
from cascade.detect import Detector
from cascade.faces import MIRRORED_LANDMARKS, Faces
from cascade.imaging.pixels import MAX_PIXELS, MAX_SIDE, RGBImage
from cascade.imaging.reading import ImageInput, read_image
from cascade.rotations import checked_rotations, merge, rotate, rotate_back

__all__ = ["DOUBTFUL_SCORE", "FaceFinder", "fuse"]

SAME_FACE = 0.4
"""IoU above which boxes found in two searches are of one face."""

PNET_THRESHOLD, RNET_THRESHOLD = 0.5, 0.15
"""Of the first two networks in each search."""

NOT_FOUND = 0.1
"""Score of a face in a search in which it was not found, and O-Net's threshold in each."""

DOUBTFUL_SCORE = 0.7
"""Score below which a face is worth a look."""


class FaceFinder(FixedSettings):
    """Finds the faces to hide, with settings that are checked once and then fixed.

    Parameters
    ----------
    min_score : mean score over the upright searches, 0.1 to 1, from which on a face is found.
    min_face : smallest side of a face in pixels of the photo, at each scale.
    scales : factors by which the photo is resized before it is searched.
    mirrored : whether its mirror image is searched too, at the first scale.
    rotations : of 0, 90, 180 and 270 degrees: the photo is searched rotated by each. Beyond 0, at the first scale
        alone, and only faces of at least ``rotated_score`` count: there are few faces on their side.
    rotated_score : see there
    exposure : "auto" or "none", see `cascade.detect.Detector`
    threads, weights : as for `cascade.detect.Detector`

    The defaults were chosen on photos held out of training. Raises ValueError or TypeError naming a wrong setting.
    """

    def __init__(
        self,
        min_score: float = 0.55,
        *,
        min_face: float = 14,
        scales: Sequence[float] = (1.0,),
        mirrored: bool = True,
        rotations: Sequence[int] = (0, 90, 270),
        rotated_score: float = 0.95,
        exposure: Literal["auto", "none"] = "none",
        threads: int | None = None,
        weights: str | os.PathLike[str] | None = None,
    ) -> None:
        self.min_score = number("min_score", min_score, NOT_FOUND, 1)
        self.rotated_score = number("rotated_score", rotated_score, NOT_FOUND, 1)
        self.min_face = number("min_face", min_face, 4, 1e6)
        if not isinstance(scales, Iterable):
            raise TypeError(f"scales: expected numbers such as (1.0, 1.5), got {type(scales).__name__}")
        self.scales = tuple(number("scales", scale, 0.05, 8) for scale in scales)
        if not self.scales:
            raise ValueError("scales: expected at least one, got none")
        self.rotations = checked_rotations(rotations)
        self.mirrored = boolean("mirrored", mirrored)
        self.exposure = exposure
        thresholds = (PNET_THRESHOLD, RNET_THRESHOLD, NOT_FOUND)
        self._detectors = tuple(
            Detector(
                max(4, self.min_face * min(scale, 1)),
                thresholds=thresholds,
                exposure=exposure,
                threads=threads,
                weights=weights,
            )
            for scale in self.scales
        )
        self._fix_settings()

    def find(self, image: ImageInput, min_score: float | None = None, *, color: Literal["rgb", "bgr"] = "rgb") -> Faces:
        """The faces of one image, best first, in its pixels.

        ``image`` is whatever `cascade.read_image` takes. ``min_score`` is another one than that of the finder. Raises
        `cascade.ImageError` if the image cannot be used.
        """
        limit = self.min_score if min_score is None else number("min_score", min_score, NOT_FOUND, 1)
        pixels = read_image(image, color=color)
        parts = []
        for angle in self.rotations:
            if angle:
                faces = self._detectors[0].detect(rotate(pixels, angle))
                faces = rotate_back(faces[faces.scores >= self.rotated_score], angle, pixels.shape[1], pixels.shape[0])
            else:
                faces = self._find_upright(pixels)
                faces = faces[faces.scores >= limit]
            parts.append(faces)
        return parts[0] if len(parts) == 1 else merge(parts)

    def _find_upright(self, pixels: RGBImage) -> Faces:
        searched = [
            _at_scale(detector, pixels, scale) for detector, scale in zip(self._detectors, self.scales, strict=True)
        ]
        if self.mirrored:
            searched.append(_mirrored(_at_scale(self._detectors[0], _mirror(pixels), self.scales[0]), pixels.shape[1]))
        return fuse(searched)


def _at_scale(detector: Detector, pixels: RGBImage, scale: float) -> Faces:
    """What the detector finds in the resized image, in pixels of the image itself."""
    height, width = pixels.shape[:2]
    # no larger than an image can be; the scale then is smaller
    scale = min(scale, max(1.0, (MAX_PIXELS / (height * width)) ** 0.5 * 0.99), max(1.0, MAX_SIDE / max(height, width)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return detector.detect(pixels)
    method = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    faces = detector.detect(np.asarray(Image.fromarray(pixels).resize(size, method)))
    back = np.array([width / size[0], height / size[1]])
    boxes = np.clip(faces.boxes * np.tile(back, 2), 0, [width, height, width, height])
    return Faces(boxes, faces.scores, faces.landmarks * back)


def _mirror(pixels: RGBImage) -> RGBImage:
    return np.ascontiguousarray(pixels[:, ::-1])


def _mirrored(faces: Faces, width: int) -> Faces:
    """Faces of the mirror image in pixels of the image itself."""
    boxes = faces.boxes.copy()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    landmarks = faces.landmarks[:, MIRRORED_LANDMARKS].copy()
    landmarks[:, :, 0] = width - landmarks[:, :, 0]
    return Faces(boxes, faces.scores, landmarks)


def fuse(searched: Sequence[Faces]) -> Faces:
    """The faces that several searches of one image found, best first, each with the mean of its log-odds in them.

    In each search, of the boxes that overlap that of the highest score, the one that overlaps most is the same face.
    Boxes and landmarks are means weighted by the scores. Where a search did not find a face its score is `NOT_FOUND`.
    """
    if len(searched) == 1:
        return searched[0]
    boxes = np.concatenate([faces.boxes for faces in searched]).astype(np.float64)
    scores = np.concatenate([faces.scores for faces in searched]).astype(np.float64)
    landmarks = np.concatenate([faces.landmarks for faces in searched])
    search = np.repeat(np.arange(len(searched)), [len(faces) for faces in searched])
    left = np.ones(len(boxes), bool)
    fused: list[tuple[npt.NDArray[np.intp], float]] = []
    for best in np.argsort(-scores, kind="stable"):
        if not left[best]:
            continue
        overlap = iou(boxes[best], boxes)[0]
        near = left & (overlap > SAME_FACE)
        near[best] = True
        ones = [np.flatnonzero(near & (search == each)) for each in np.unique(search[near])]
        members = np.array([_closest(rows, overlap) for rows in ones])
        left &= ~near
        logits = _logit(scores[members]).sum() + (len(searched) - len(members)) * _logit(NOT_FOUND)
        fused.append((members, float(1 / (1 + np.exp(-logits / len(searched))))))
    if not fused:
        return Faces.empty()
    weights = [(members, scores[members] / scores[members].sum()) for members, _ in fused]
    return Faces(
        np.stack([weight @ boxes[members] for members, weight in weights]),
        [score for _, score in fused],
        np.stack([np.tensordot(weight, landmarks[members], 1) for members, weight in weights]),
    ).sort()


def _closest(rows: npt.NDArray[np.intp], overlap: npt.NDArray[np.float64]) -> np.intp:
    return np.intp(rows[np.argmax(overlap[rows])])


def _logit(score: npt.ArrayLike) -> npt.NDArray[np.float64]:
    bounded = np.clip(np.asarray(score, np.float64), 1e-4, 1 - 1e-4)
    return np.log(bounded / (1 - bounded))
