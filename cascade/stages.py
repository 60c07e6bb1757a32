"""The stages of the detector: P-Net, R-Net, O-Net and L-Net, each on what the stage before it let through.

Each stage is a generator that yields what it needs computed and returns its result: `cascade.engines.base.run` has an
engine compute the answers, for one image or for several side by side. So there is one sequence for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from cascade import _native
from cascade.boxes import expand, square, window_boxes
from cascade.engines.base import ClassifyCrops, DenseScan, StageGenerator
from cascade.faces import Faces, faces_found, sort_order
from cascade.imaging.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE, similarity_transforms
from cascade.imaging.pyramid import CLOSE_UP_SHARE, Pyramid
from cascade.models.detector import DetectorWeights
from cascade.nn.architectures import LANDMARK_STAGE, Architecture, Stage

Overlaps = tuple[tuple[float, Literal["union", "min"]], ...]

# Overlaps (intersection over union) above which the better of two windows wins, after P-Net and after R-Net.
PNET_NMS, RNET_NMS = 0.7, 0.7
# After O-Net also intersection over the smaller box: an eye or a mouth inside a face is no second face.
ONET_NMS: Overlaps = ((0.4, "union"), (0.8, "min"))

# O-Net's boxes of one face differ. The best one becomes the mean of all that overlap it by this: box voting
# (Gidaris and Komodakis 2015).
ONET_VOTING = 0.5

# A face is surer the more of O-Net's boxes agree on it: weight of the log of all votes over the best box's own. With so
# many votes, as a face usually has, its log-odds stay as they are.
AGREEMENT_WEIGHT, USUAL_VOTES = 0.5, 3.0

# O-Net looks again at the boxes that it has moved, as the same paper does, but only at those that overlap no better one
# by more than SECOND_LOOK_NMS, and of which it was not sure: from SECOND_LOOK_MARGIN log-odds below the threshold on,
# since votes may raise them above it, up to SURE.
SECOND_LOOK_NMS, SECOND_LOOK_MARGIN, SURE = 0.9, 1.0, 4.0

# Weight of the log-odds of the stages before, beside the 1 of a stage itself. They see other surroundings than it
# does; averaging them in raised the AP on the holdout photos by 0.01 to 0.02.
SCORE_FUSION_WEIGHT = 0.5


@dataclass(frozen=True)
class Framing:
    """Log-odds added for windows that the border cuts off or that take up much of the photo.

    gap        a window is at the border if the space between it and the nearest edge is less than this share of its
               side; -0.1: if more than a tenth of it lies outside
    at_border  log-odds for windows at the border that are no close-ups
    close_up   log-odds for windows of at least CLOSE_UP_SHARE of the photo's shorter side
    """

    gap: float
    at_border: float
    close_up: float

    def most(self, sides: np.ndarray, photo: np.ndarray) -> list[float]:
        """The most that is added to a window with one of these sides (n,) in pixels of a photo."""
        close_up = sides * 1.001 >= CLOSE_UP_SHARE * min(photo.shape[:2])  # a little more than rounding can do
        return [float(most) for most in np.where(close_up, max(self.at_border, self.close_up), self.at_border)]

    def bonus(self, windows: np.ndarray, photo: np.ndarray) -> np.ndarray:
        """What is added for windows (n, 4) in pixels of a photo (height, width, 3): float32 (n,)."""
        height, width = photo.shape[:2]
        close_up_side = CLOSE_UP_SHARE * min(width, height)
        return _native.framing_logits(windows, width, height, self.gap, close_up_side, self.at_border, self.close_up)


# P-Net scores faces low that a border cuts off, and close-ups without hair and chin. R-Net and O-Net know them better,
# and such windows are few.
PNET_FRAMING = Framing(gap=1 / 3, at_border=2.5, close_up=2.0)

# With less around the face than their crops usually show, R-Net and O-Net score it low, too.
CROP_FRAMING = Framing(gap=-0.1, at_border=1.0, close_up=0.6)


@dataclass(frozen=True)
class Candidates:
    """Boxes (n, 4) float32 in pixels of the photo that may hold a face, best first, and their log-odds (n,) float32."""

    boxes: np.ndarray
    logits: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


def detect_faces(
    weights: DetectorWeights, pyramid: Pyramid, thresholds: tuple[float, float, float]
) -> StageGenerator[Faces]:
    """All stages: the faces of the photo. ``thresholds``: probabilities for P-Net, R-Net and the face."""
    candidates = yield from run_pnet(weights, pyramid, thresholds[0])
    candidates = yield from run_rnet(weights, pyramid, candidates, thresholds[1])
    return (yield from find_faces(weights, pyramid, candidates, thresholds[2]))


def run_pnet(
    weights: DetectorWeights, pyramid: Pyramid, threshold: float, nms: float = PNET_NMS
) -> StageGenerator[Candidates]:
    """P-Net over all levels: windows of at least this face probability, moved by its box deltas.

    Windows at the border and close-ups count more, as PNET_FRAMING says, from here on.
    """
    sides = weights["pnet"].architecture.window / pyramid.scales[1:, 0]
    least = logit(threshold)
    levels = yield DenseScan(pyramid, [least - most for most in PNET_FRAMING.most(sides, pyramid.images[0])])
    if not levels:
        return Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    windows = window_boxes(levels, weights["pnet"].architecture, pyramid.scales[1:])
    # rows of column, row, logit and the outputs after the first two: but for the column, they are indexed as outputs
    found = np.concatenate(levels)
    deltas = found[:, 1:][:, weights["pnet"].architecture.output("box")]
    logits = found[:, 2] + PNET_FRAMING.bonus(windows, pyramid.images[0])
    _, boxes, logits = _native.candidates(windows, deltas, logits, least, ((nms, "union"),))
    return Candidates(boxes, logits)


def run_rnet(
    weights: DetectorWeights, pyramid: Pyramid, candidates: Candidates, threshold: float, nms: float = RNET_NMS
) -> StageGenerator[Candidates]:
    """R-Net: the candidates of at least this face probability, moved by its box deltas."""
    windows, outputs, logits = yield from _classify("rnet", weights, pyramid, candidates)
    deltas = outputs[:, weights["rnet"].architecture.output("box")]
    _, boxes, logits = _native.candidates(windows, deltas, logits, logit(threshold), ((nms, "union"),))
    return Candidates(boxes, logits)


def find_faces(
    weights: DetectorWeights,
    pyramid: Pyramid,
    candidates: Candidates,
    threshold: float,
    usual_votes: float = USUAL_VOTES,
) -> StageGenerator[Faces]:
    """O-Net, and L-Net where the weights have one: the faces among R-Net's candidates."""
    boxes, logits, landmarks = yield from run_onet(weights, pyramid, candidates, threshold, usual_votes)
    if LANDMARK_STAGE in weights.stages:
        landmarks = yield from run_lnet(weights, pyramid, landmarks)
    height, width = pyramid.images[0].shape[:2]
    return _faces(boxes, logits, landmarks, width, height)


def run_onet(
    weights: DetectorWeights,
    pyramid: Pyramid,
    candidates: Candidates,
    threshold: float,
    usual_votes: float = USUAL_VOTES,
) -> StageGenerator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """O-Net, which looks twice: boxes (n, 4), log-odds (n,) and landmarks (n, 5, 2) of faces of this probability."""
    output, least = weights["onet"].architecture.output, logit(threshold)
    nearly = least - SECOND_LOOK_MARGIN
    first = yield from _look(weights, pyramid, candidates)
    again = _moved(candidates, *first, output("box"), nearly)
    second = yield from _look(weights, pyramid, again)
    windows, outputs, logits = (np.concatenate(both) for both in zip(first, second, strict=True))
    deltas = outputs[:, output("box")]
    chosen, boxes, kept = _native.candidates(windows, deltas, logits, nearly, ONET_NMS)
    boxes, votes = _native.vote(boxes, windows, deltas, logits, ONET_VOTING)
    scores = _agreed(kept, votes, usual_votes)
    sure = scores >= least
    shares = outputs[chosen[sure], output("landmarks")].reshape(-1, 5, 2)
    return boxes[sure], scores[sure], _native.window_points(windows[chosen[sure]], shares)


def _look(
    weights: DetectorWeights, pyramid: Pyramid, candidates: Candidates
) -> StageGenerator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """One look of O-Net: as `_classify`, with log-odds of NaN where an output, such as a landmark, is not finite."""
    windows, outputs, logits = yield from _classify("onet", weights, pyramid, candidates)
    logits[~np.isfinite(outputs).all(axis=1)] = np.nan
    return windows, outputs, logits


def _moved(
    candidates: Candidates, windows: np.ndarray, outputs: np.ndarray, logits: np.ndarray, box: slice, least: float
) -> Candidates:
    """The boxes to look at again, where a network has moved candidates to; with the log-odds of the stages before."""
    overlaps: Overlaps = ((SECOND_LOOK_NMS, "union"),)
    chosen, boxes, kept = _native.candidates(windows, outputs[:, box], logits, least, overlaps)
    unsure = kept < SURE
    return Candidates(boxes[unsure], candidates.logits[chosen[unsure]])


def _agreed(logits: np.ndarray, votes: np.ndarray, usual: float) -> np.ndarray:
    """Log-odds (n,) by how many boxes agree; ``votes`` (n,) are the sums of their overlaps times probabilities."""
    own = 1.0 / (1.0 + np.exp(-np.maximum(logits.astype(np.float64), -80.0)))  # beyond it exp may overflow
    more = AGREEMENT_WEIGHT * np.log(np.maximum(votes / own, 1.0) / usual)
    return np.asarray(logits + more, np.float32)


def run_lnet(weights: DetectorWeights, pyramid: Pyramid, landmarks: np.ndarray) -> StageGenerator[np.ndarray]:
    """L-Net: landmarks (n, 5, 2) again, from crops aligned by O-Net's, which stay where no crop can be aligned."""
    architecture = weights[LANDMARK_STAGE].architecture
    # snapped as crop boxes are, so that engines whose landmarks differ in the last bits align the same crops
    matrices = similarity_transforms(_native.snap(landmarks), landmark_template(architecture))
    aligned = np.flatnonzero(_native.can_align(landmarks, matrices, architecture.input_size))
    matrices = matrices[aligned]
    outputs = yield ClassifyCrops(LANDMARK_STAGE, pyramid, matrices)
    margin = (architecture.input_size - architecture.window) / 2
    points = outputs[:, architecture.output("landmarks")].reshape(-1, 5, 2) * architecture.window + margin
    found = _native.inverse_transform(points, matrices)
    finite = np.isfinite(found).all(axis=(1, 2))
    refined = landmarks.copy()
    refined[aligned[finite]] = found[finite]
    return refined


def landmark_template(architecture: Architecture) -> np.ndarray:
    """The five points (5, 2) in L-Net's crops: ArcFace's template over the window in the middle of the crop."""
    return _template(architecture.input_size, architecture.window)


@cache
def _template(size: int, window: float) -> np.ndarray:
    template = np.asarray(ARCFACE_TEMPLATE * (window / TEMPLATE_SIZE) + (size - window) / 2)
    template.flags.writeable = False
    return template


def logit(probability: float) -> float:
    """The log-odds of a probability; minus infinity for 0, which lets everything through."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


def _classify(
    stage: Stage, weights: DetectorWeights, pyramid: Pyramid, candidates: Candidates
) -> StageGenerator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The square windows of the candidates, the network's outputs on them, and log-odds fused with the candidates'.

    Those at the border and of close-ups count more, as CROP_FRAMING says.
    """
    windows = square(candidates.boxes)
    outputs = yield ClassifyCrops(stage, pyramid, expand(windows, weights[stage].architecture.context))
    logits = _native.fuse_logits(outputs, candidates.logits, SCORE_FUSION_WEIGHT)
    return windows, outputs, logits + CROP_FRAMING.bonus(windows, pyramid.images[0])


def _faces(boxes: np.ndarray, logits: np.ndarray, landmarks: np.ndarray, width: int, height: int) -> Faces:
    """The faces that O-Net found, best first, clipped to a photo of that size in pixels."""
    scores = (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    clipped = _native.clip(boxes, width, height)
    x1, y1, x2, y2 = clipped.T
    # finite outputs may still overflow in pixels
    valid = (x2 > x1) & (y2 > y1) & np.isfinite(landmarks).all(axis=(1, 2))
    order = sort_order(clipped, scores)
    order = order[valid[order]]
    return faces_found(clipped[order], scores[order], landmarks[order])
