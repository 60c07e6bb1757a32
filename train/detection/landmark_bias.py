"""Centres L-Net's landmarks: removes from each point what it is off by in the median face.

    python -m train centre-landmarks --weights runs/int8 --data DATA --set net7876_train --out runs/centred

The products of int8 are rounded, and sets of landmarks differ in conventions: where the middle of an eye is, say. Both
move each of the five points by up to half a pixel of the aligned crop, for all faces alike. Recognition is sensitive to
it, as it learned from faces that were aligned by other weights.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from cascade.boxes import iou
from cascade.datasets import Photo
from cascade.detect import Detector
from cascade.imaging.alignment import similarity_transforms
from cascade.imaging.reading import ImageError
from cascade.models.detector import DetectorWeights
from cascade.nn.architectures import LANDMARK_STAGE
from cascade.nn.heads import LANDMARKS
from cascade.stages import landmark_template
from train.detection.calibration import shift_outputs

MIN_FACE, THRESHOLDS = 24, (0.6, 0.3, 0.5)

SAME_FACE = 0.3
"""Overlap from which a face that was found is the labelled one: boxes of sets with landmarks are of another kind."""


def centre_landmarks(
    weights: DetectorWeights, photos: Iterable[Photo]
) -> tuple[DetectorWeights, npt.NDArray[np.float64]]:
    """The set with another bias of L-Net's landmarks, and what they were off by: (5, 2), in pixels of its crops.

    The photos are training photos with landmarks. Raises ValueError if none of their faces is found, and for a set
    without L-Net.
    """
    stage = weights.stages.get(LANDMARK_STAGE)
    if stage is None:
        raise ValueError(f"weights: expected a set with {LANDMARK_STAGE}, got {', '.join(weights.stages)}")
    errors = _errors(weights, photos)
    if not len(errors):
        raise ValueError("photos: none of the faces with landmarks is found")
    shift = np.median(errors, axis=0)
    in_windows = (shift / stage.architecture.window).ravel()
    return shift_outputs(weights, LANDMARK_STAGE, LANDMARKS.name, -in_windows), shift


def _errors(weights: DetectorWeights, photos: Iterable[Photo]) -> npt.NDArray[np.float64]:
    """Found minus labelled landmarks (n, 5, 2) of the faces that are found, in pixels of L-Net's crops."""
    template = landmark_template(weights[LANDMARK_STAGE].architecture)
    detector = Detector(weights=weights, min_face=MIN_FACE, thresholds=THRESHOLDS)
    errors: list[npt.NDArray[np.float64]] = []
    for photo in tqdm(photos, desc="landmarks", unit="photo"):
        known = np.flatnonzero(np.isfinite(photo.landmarks).all(axis=(1, 2)) & ~photo.ignored)
        try:
            faces = detector.detect(photo.path) if len(known) else None
        except ImageError as error:
            tqdm.write(f"left out: {error}")
            continue
        if faces is None or not len(faces):
            continue
        overlaps = iou(photo.boxes[known], faces.boxes)
        for face, overlap in zip(known, overlaps, strict=True):
            best = overlap.argmax()
            if overlap[best] >= SAME_FACE:
                found = faces.landmarks[best].astype(np.float64)
                (transform,) = similarity_transforms(found[None], template)
                errors.append((found - photo.landmarks[face]) @ transform[:, :2].T)
    return np.array(errors).reshape(-1, 5, 2)
