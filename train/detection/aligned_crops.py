"""L-Net's samples: crops aligned by landmarks that are a little wrong, as O-Net's are."""

from __future__ import annotations

import numpy as np

from cascade import _native
from cascade.datasets import Photo
from cascade.imaging.alignment import similarity_transforms
from cascade.imaging.pyramid import Pyramid, crop_sources
from cascade.nn.architectures import Architecture
from cascade.stages import landmark_template
from train.detection.labels import LANDMARK

# Standard deviations of a landmark's own error and of one that all five share, over the size of the face; and the share
# of the crops, for faces that O-Net got quite wrong, where both are larger by a factor.
OWN, SHARED = 0.08, 0.03
WILD, WILDER = 0.15, 2.2
# Eyes to mouth over the distance of the eyes, in a face seen from the front.
EYES_TO_MOUTH = 1.2


def aligned_crops(
    photo: Photo, pyramid: Pyramid, architecture: Architecture, count: int, margin: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``count`` aligned crops of each face with landmarks, with ``margin`` pixels around what the network sees.

    Returns crops (n, side, side, 3) uint8, kinds (n,), all LANDMARK, and targets (n, 14) in units of the window,
    without boxes (NaN).
    """
    labelled = np.flatnonzero(np.isfinite(photo.landmarks).all(axis=(1, 2)) & ~photo.ignored)
    truth = np.repeat(photo.landmarks[labelled].astype(np.float64), count, axis=0)
    eyes, mouth = truth[:, :2].mean(axis=1), truth[:, 3:].mean(axis=1)
    # a face in profile has its eyes close together, not its eyes and mouth
    distances = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1), np.linalg.norm(eyes - mouth, axis=1) / EYES_TO_MOUTH
    sizes = np.maximum(*distances) * np.where(rng.random(len(truth)) < WILD, WILDER, 1.0)
    own, shared = rng.normal(0, OWN, truth.shape), rng.normal(0, SHARED, (len(truth), 1, 2))
    matrices = similarity_transforms(truth + sizes[:, None, None] * (own + shared), landmark_template(architecture))
    usable = np.isfinite(matrices).all(axis=(1, 2))
    truth, matrices = truth[usable], matrices[usable]
    matrices[:, :, 2] += margin

    images, scales = crop_sources(pyramid)
    crops = _native.warp(images, scales, matrices, architecture.input_size + 2 * margin)
    seen = np.einsum("nij,nkj->nki", matrices[:, :, :2], truth) + matrices[:, None, :, 2]
    around = margin + (architecture.input_size - architecture.window) / 2
    targets = np.full((len(truth), 14), np.nan, np.float32)
    targets[:, 4:] = ((seen - around) / architecture.window).reshape(-1, 10)
    return crops, np.full(len(truth), LANDMARK), targets
