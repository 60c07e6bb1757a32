"""Faces in a photo: the image pyramid, then P-Net, R-Net and O-Net, each on what the one before let through.

A set of weights may bring an L-Net, which takes the landmarks of the few final faces once more, turned upright.

>>> from cascade.detect import Detector
>>> faces = Detector(min_face=40).detect("photo.jpg")  # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cascade import _native
from cascade.engines.base import BatchEngine, ClassifyCrops, DenseScan, Engine, Steps, run
from cascade.engines.factory import make_engine, number, thread_count, three_probabilities
from cascade.faces import Faces, falling
from cascade.imaging.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE, similarity_transforms
from cascade.imaging.pyramid import Pyramid, level_sizes
from cascade.imaging.reading import ImageInput, read_image
from cascade.models.detector import DetectorWeights
from cascade.nn.architectures import LANDMARK_STAGE, Architecture, Stage

Overlaps = tuple[tuple[float, Literal["union", "min"]], ...]

# Face probabilities below which P-Net, R-Net and O-Net reject a window.
THRESHOLDS = (0.7, 0.3, 0.8)
# Overlaps (intersection over union) above which the better of two windows wins, after P-Net and R-Net.
PNET_NMS, RNET_NMS = 0.7, 0.7
# After O-Net also intersection over the smaller box: an eye or a mouth inside a face is no second face.
ONET_NMS: Overlaps = ((0.4, "union"), (0.7, "min"))

# Weight of what the stages before said, as log-odds, beside the 1 of a stage itself. They see other surroundings
# than it does; averaging them in raised the AP on validation photos by 0.01 to 0.02.
SCORE_FUSION_WEIGHT = 0.5


@dataclass(frozen=True)
class Candidates:
    """Boxes (n, 4) float32 in pixels of the photo that may hold a face, best first, and their log-odds (n,) float32."""

    boxes: np.ndarray
    logits: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


class Detector:
    """Finds faces, with settings that are checked once and then fixed.

    Parameters
    ----------
    min_face, max_face : smallest and largest side of a face, in pixels of the photo (None: no upper limit).
        Time grows with 1 / min_face².
    scale_factor : size of a pyramid level over the one before, 0.5 to 0.95. Larger finds more and takes longer.
    thresholds : face probabilities that a window must reach in P-Net, R-Net and O-Net, each 0 to 1. Lower finds
        more faces and more false ones.
    engine : "native" (C on the CPU), "torch" (needs torch; also for GPUs), or an engine made before, such as
        ``TorchEngine(load_detector(), "cuda", half=True)``, which brings its own threads, weights and device.
    threads : threads that share the work of one call; None takes one per available core, at most 4. Results do not
        depend on it. They wait awake for half a millisecond after a call, and then sleep. While one call has them,
        calls from other threads each work alone.
    weights : name of a shipped set (`cascade.models.detector.shipped()`) or a folder with safetensors files, or
        what `cascade.models.detector.load_detector` gave. None: the default set, or those of the engine that is given.
    device : where the torch engine computes, such as "cpu" (None) or "cuda".
    precision : "int8", the native engine's networks in whole numbers of 8 bits, exactly the same on every processor and
        fastest with AVX-512 VNNI; or "float32". None: int8 where the weights have the ranges that it needs, as the
        default set has, and the processor has AVX2 or better (`cascade.nn.quantization`); float32 elsewhere, as in the torch
        engine.

    Memory: beside the photo's own pixels a call takes at most 50 MB for levels of the pyramid that are kept. Where
    there are more, as for photos beyond 23 megapixels at min_face 20, the largest are made and searched in bands, which
    take some 20 MB, or 60 for the widest photos. Results are the same. To that come 6 MB for each thread, and for each
    of fewer calls than that which come meanwhile; these the Detector keeps. And less than 1 kB for each window that
    P-Net proposes. So a photo of 100 megapixels with few faces adds about 60 MB on one thread, and one full of faces
    about 100. This is so for the native engine; the torch engine keeps all levels, and adds some 1.7 GB there.

    A Detector may be used from several threads at once and, with the native engine, after a fork. Raises
    ValueError or TypeError naming the setting that is wrong, and `cascade.models.detector.WeightsError` for weights that
    cannot be used.
    """

    def __init__(
        self,
        min_face: float = 20,
        max_face: float | None = None,
        scale_factor: float = 0.709,
        thresholds: tuple[float, float, float] = THRESHOLDS,
        engine: Literal["native", "torch"] | Engine = "native",
        threads: int | None = None,
        weights: str | Path | DetectorWeights | None = None,
        device: str | None = None,
        precision: Literal["float32", "int8"] | None = None,
    ) -> None:
        self.min_face = number("min_face", min_face, 4, 1e6)
        self.max_face = None if max_face is None else number("max_face", max_face, self.min_face, 1e9)
        self.scale_factor = number("scale_factor", scale_factor, 0.5, 0.95)
        self.thresholds = three_probabilities(thresholds)
        self.engine = make_engine(engine, threads, weights, device, precision)
        self.weights = self.engine.weights
        self.threads = int(getattr(self.engine, "threads", thread_count(threads)))
        self._settled = True

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "_settled"):
            raise AttributeError(f"{name}: the settings of a Detector are fixed; make another one")
        super().__setattr__(name, value)

    def detect(self, image: ImageInput, *, color: Literal["rgb", "bgr"] = "rgb") -> Faces:
        """Faces of one image, best first.

        ``image`` is whatever `cascade.imaging.reading.read_image` takes: a path, encoded bytes, a file, a PIL image or an
        array. Boxes and landmarks are in pixels of the image as displayed, x right, y down; boxes are clipped to it.
        No face gives an empty `Faces`. Raises `cascade.imaging.reading.ImageError` if the image cannot be used.
        """
        pixels = read_image(image, color=color)
        height, width = pixels.shape[:2]
        pyramid = self.engine.pyramid(pixels, self._sizes(pixels))
        candidates = self.propose(pyramid)
        candidates = self.refine(pyramid, candidates)
        return self.output(pyramid, candidates, width, height)

    def detect_batch(self, images: Iterable[ImageInput], *, color: Literal["rgb", "bgr"] = "rgb") -> list[Faces]:
        """Faces of several images, of any sizes: the same as `detect` on each.

        The torch engine computes several images together, and then they are the same but for rounding.
        """
        if not isinstance(self.engine, BatchEngine):
            return [self.detect(image, color=color) for image in images]
        found: list[Faces] = []
        for photos in self.engine.groups(read_image(image, color=color) for image in images):
            pyramids = self.engine.pyramids(photos, [self._sizes(photo) for photo in photos])
            found += run(self.engine, [self._detect(*pair) for pair in zip(pyramids, photos, strict=True)])
        return found

    def propose(self, pyramid: Pyramid, nms: float = PNET_NMS) -> Candidates:
        """P-Net: what may be a face."""
        return run(self.engine, [self._propose(pyramid, nms)])[0]

    def refine(self, pyramid: Pyramid, candidates: Candidates, nms: float = RNET_NMS) -> Candidates:
        """R-Net: the candidates that it takes for faces, corrected."""
        return run(self.engine, [self._refine(pyramid, candidates, nms)])[0]

    def output(self, pyramid: Pyramid, candidates: Candidates, width: int, height: int) -> Faces:
        """O-Net: the faces, with final boxes and landmarks."""
        boxes, logits, landmarks = run(self.engine, [self._output(pyramid, candidates)])[0]
        if LANDMARK_STAGE in self.weights.stages:
            landmarks = self.refine_landmarks(pyramid, landmarks)
        return _faces(boxes, logits, landmarks, width, height)

    def refine_landmarks(self, pyramid: Pyramid, landmarks: np.ndarray) -> np.ndarray:
        """L-Net: the landmarks (n, 5, 2) again, from crops that O-Net's turn upright; those stay where it cannot."""
        return run(self.engine, [self._refine_landmarks(pyramid, landmarks)])[0]

    def _sizes(self, photo: np.ndarray) -> list[tuple[int, int]]:
        height, width = photo.shape[:2]
        window = self.weights["pnet"].architecture.window
        return level_sizes(width, height, self.min_face, self.max_face, window, self.scale_factor)

    # Each stage once, as steps that ask the engine: see `cascade.engines.base.run`

    def _detect(self, pyramid: Pyramid, photo: np.ndarray) -> Steps[Faces]:
        candidates = yield from self._propose(pyramid, PNET_NMS)
        candidates = yield from self._refine(pyramid, candidates, RNET_NMS)
        boxes, logits, landmarks = yield from self._output(pyramid, candidates)
        if LANDMARK_STAGE in self.weights.stages:
            landmarks = yield from self._refine_landmarks(pyramid, landmarks)
        return _faces(boxes, logits, landmarks, photo.shape[1], photo.shape[0])

    def _propose(self, pyramid: Pyramid, nms: float) -> Steps[Candidates]:
        levels = yield DenseScan(pyramid, _logit(self.thresholds[0]))
        if not levels:
            return Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32))
        windows = window_boxes(levels, self.weights["pnet"].architecture, pyramid.scales[1:])
        found = np.concatenate(levels)
        _, boxes, logits = _native.candidates(windows, found[:, 3:7], found[:, 2], -math.inf, ((nms, "union"),))
        return Candidates(boxes, logits)

    def _refine(self, pyramid: Pyramid, candidates: Candidates, nms: float) -> Steps[Candidates]:
        windows, outputs, logits = yield from self._judge("rnet", pyramid, candidates)
        threshold = _logit(self.thresholds[1])
        offsets = outputs[:, self.weights["rnet"].architecture.output("box")]
        _, boxes, logits = _native.candidates(windows, offsets, logits, threshold, ((nms, "union"),))
        return Candidates(boxes, logits)

    def _output(self, pyramid: Pyramid, candidates: Candidates) -> Steps[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        windows, outputs, logits = yield from self._judge("onet", pyramid, candidates)
        logits[~np.isfinite(outputs).all(axis=1)] = np.nan  # nothing is a face whose landmarks are no numbers
        threshold = _logit(self.thresholds[2])
        output = self.weights["onet"].architecture.output
        kept, boxes, logits = _native.candidates(windows, outputs[:, output("box")], logits, threshold, ONET_NMS)
        shares = outputs[kept, output("landmarks")].reshape(-1, 5, 2)
        return boxes, logits, _native.window_points(windows[kept], shares)

    def _refine_landmarks(self, pyramid: Pyramid, landmarks: np.ndarray) -> Steps[np.ndarray]:
        architecture = self.weights[LANDMARK_STAGE].architecture
        # snapped as crop boxes are, so that engines whose landmarks differ in the last bits turn the same crops
        matrices = similarity_transforms(_native.snap(landmarks), landmark_template(architecture))
        some = _native.can_align(landmarks, matrices, architecture.input_size)
        outputs = yield ClassifyCrops(LANDMARK_STAGE, pyramid, matrices[some])
        margin = (architecture.input_size - architecture.window) / 2
        points = outputs[:, architecture.output("landmarks")].reshape(-1, 5, 2) * architecture.window + margin
        found = _native.inverse_transform(points, matrices[some])
        sharper = landmarks.copy()
        sharper[some] = np.where(np.isfinite(found).all(axis=(1, 2), keepdims=True), found, landmarks[some])
        return sharper

    def _judge(
        self, stage: Stage, pyramid: Pyramid, candidates: Candidates
    ) -> Steps[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The square windows of the candidates, a network's outputs on them, and log-odds with those carried over."""
        windows = square(candidates.boxes)
        outputs = yield ClassifyCrops(stage, pyramid, widen(windows, self.weights[stage].architecture.context))
        return windows, outputs, _native.fuse_logits(outputs, candidates.logits, SCORE_FUSION_WEIGHT)


def detect(image: ImageInput, *, color: Literal["rgb", "bgr"] = "rgb", **settings: Any) -> Faces:
    """Faces of one image, for one-liners; ``settings`` are those of `Detector`. Keep a Detector for many images."""
    return Detector(**settings).detect(image, color=color)


def window_boxes(levels: Sequence[np.ndarray], architecture: Architecture, scales: np.ndarray) -> np.ndarray:
    """Windows (n, 4) float32 in pixels of the photo for columns and rows ``level[:, :2]`` of several levels, in order.

    ``scales`` (levels, 2): pixels of the levels over the photo's.
    """
    margin = (architecture.input_size - architecture.window) / 2 - architecture.padding
    return _native.window_boxes(levels, scales, architecture.stride, margin, architecture.window)


def landmark_template(architecture: Architecture) -> np.ndarray:
    """Where L-Net's crops have the five points (5, 2): ArcFace's template over the window in the crop's middle."""
    margin = (architecture.input_size - architecture.window) / 2
    return np.asarray(ARCFACE_TEMPLATE * (architecture.window / TEMPLATE_SIZE) + margin)


def _faces(boxes: np.ndarray, logits: np.ndarray, landmarks: np.ndarray, width: int, height: int) -> Faces:
    """What O-Net found, best first, clipped to a photo of that size in pixels."""
    scores = (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    clipped = _native.clip(boxes, width, height)
    x1, y1, x2, y2 = clipped.T
    real = (x2 > x1) & (y2 > y1) & np.isfinite(landmarks).all(axis=(1, 2))  # what is finite may overflow in pixels
    order = falling(clipped, scores)
    order = order[real[order]]
    return Faces(clipped[order], scores[order], landmarks[order])


def square(boxes: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) grown to squares about their centres, float32."""
    return _native.square(boxes)


def widen(boxes: np.ndarray, context: float) -> np.ndarray:
    """Boxes (n, 4) scaled by ``context`` about their centres, so that a network sees around the window; float64."""
    return _native.expand(boxes, context)


def _logit(probability: float) -> float:
    """The difference of logits at which the face's probability is ``probability``; 0 lets everything through."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))
