"""Random cases for the detector, and what must hold in each of them.

- Nothing raises, whatever the weights; faces are finite, within the image, and sorted by score.
- One thread and several give the same faces to the bit, as do a second call, and `detect_batch`.
- Networks in whole numbers give the same at every level, to the bit.
- A crop's outputs do not depend on the crops beside it, to the bit.
- Every instruction level agrees with scalar: pyramid levels to the byte; the networks' outputs to 1e-5 in the score
  and 1e-3 px in what moves boxes and landmarks. All windows and some crops are compared before any threshold, not the
  faces: a window within rounding of a threshold may be a face at one level and none at another. Huge weights magnify
  rounding without limit, so for those only the bytes and the other points are looked at.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from cascade import _native
from cascade.detect import Detector
from cascade.engines.native import NativeEngine
from cascade.faces import Faces
from cascade.imaging.alignment import similarity_transforms
from cascade.imaging.pyramid import Pyramid, level_sizes
from cascade.models.detector import DetectorWeights
from cascade.nn.architectures import LANDMARK_STAGE, STAGES, Architecture
from cascade.stages import landmark_template
from tests.fuzz.fuzz_inputs import CHANGES, SIZES, TAME, UNCHANGED, Generator, changed, random_image, random_settings

SCORE, PIXELS = 1e-5, 1e-3
# Sums may be less exact after a change of weights: windows of more pixels than this may differ in proportion to them.
LARGE = 200.0
# Most boxes or faces for each stage, from one to more than two groups of any level; and their largest side in pixels.
CROPS, LARGEST_SIDE = 40, 1000.0


@dataclass(frozen=True)
class Case:
    """Two images and a detector for them."""

    labels: tuple[str, ...]
    images: tuple[np.ndarray, np.ndarray]
    weights: DetectorWeights
    settings: dict[str, Any]
    threads: int
    level: str
    change: str
    precision: str = "float32"


def make_case(rng: Generator, sets: Mapping[str, DetectorWeights]) -> Case:
    """A case, all of which follows from ``rng``."""
    name = str(rng.choice(list(sets)))
    change = str(rng.choice(list(CHANGES), p=[0.25, 0.2, 0.1, 0.05, 0.15, 0.1, 0.15]))
    size = str(rng.choice(list(SIZES)))
    (content, image), (_, other) = random_image(rng, size), random_image(rng, "any size")
    weights = changed(rng, sets[name], change)
    settings = random_settings(rng, [image, other], weights["pnet"].architecture)
    level, threads = str(rng.choice(_native.simd_levels())), int(rng.integers(2, 5))
    precision = str(rng.choice(["float32", "int8"])) if weights.calibrated else "float32"
    labels = (f"weights {name}", f"weights {change}", f"image {size}", f"image {content}", f"level {level}", precision)
    return Case(labels, (image, other), weights, settings, threads, level, change, precision)


def examine(case: Case, rng: Generator) -> int:
    """Looks at all that must hold, and says how many faces there were. Raises AssertionError or whatever comes."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        faces = _examine_faces(case)
        _examine_levels(case, rng)
    return faces


# Faces


def _examine_faces(case: Case) -> int:
    with _level(case.level):
        settings: dict[str, Any] = {"weights": case.weights, "precision": case.precision, **case.settings}
        one, several = (Detector(threads=n, **settings) for n in (1, case.threads))
        image, other = case.images
        expected = [one.detect(photo) for photo in (image, other)]
        for photo, faces in zip(case.images, expected, strict=True):
            _assert_faces(faces, photo, case.settings["thresholds"][-1])
        _assert_same(several.detect(image), expected[0], f"{case.threads} threads and one")
        for found, faces in zip(several.detect_batch([other, image]), reversed(expected), strict=True):
            _assert_same(found, faces, "a batch and its images one by one")
        _assert_same(one.detect(image), expected[0], "a second call and the first")
    return sum(len(faces) for faces in expected)


@contextmanager
def _level(name: str) -> Iterator[None]:
    """Detectors that are made meanwhile work at this level."""
    before = os.environ.get("CASCADE_SIMD")
    os.environ["CASCADE_SIMD"] = name
    try:
        yield
    finally:
        del os.environ["CASCADE_SIMD"]
        if before is not None:
            os.environ["CASCADE_SIMD"] = before


def _assert_faces(faces: Faces, image: np.ndarray, threshold: float) -> None:
    height, width = image.shape[:2]
    boxes, scores = faces.boxes, faces.scores
    assert faces.landmarks.shape == (len(faces), 5, 2)
    assert np.isfinite(faces.landmarks).all(), f"not finite: {faces.landmarks}"
    # NaN fails each of the comparisons below
    inside = (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
    assert inside, f"boxes outside {width} by {height}: {boxes}"
    assert (boxes[:, 2:] > boxes[:, :2]).all(), f"boxes without an inside: {boxes}"
    # a score is the rounded probability of the logit that was compared
    assert (scores >= threshold - 1e-6).all() and (scores <= 1).all(), f"scores below {threshold} or above 1: {scores}"
    assert (np.diff(scores) <= 0).all(), f"faces are not sorted: {scores}"


def _assert_same(one: Faces, other: Faces, what: str) -> None:
    same = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("boxes", "scores", "landmarks"))
    assert same, f"{what} give other faces: {one.boxes} {one.scores}, {other.boxes} {other.scores}"


# Levels


def _examine_levels(case: Case, rng: Generator) -> None:
    image = case.images[0]
    count = int(rng.integers(1, CROPS + 1))
    boxes, faces = _random_boxes(rng, image, count), _random_landmarks(rng, image, count)
    engines = [
        NativeEngine(case.weights, level=level, precision=case.precision)  # type: ignore[arg-type]
        for level in _native.simd_levels()
    ]
    *others, scalar = engines
    assert scalar.level == "scalar"
    window, settings = case.weights["pnet"].architecture.window, case.settings
    sizes = level_sizes(
        image.shape[1], image.shape[0], settings["min_face"], settings["max_face"], window, settings["scale_factor"]
    )
    pyramid = scalar.pyramid(image, sizes)
    large = math.inf if case.change == UNCHANGED else LARGE
    for engine in engines:
        _assert_crops_apart(engine, pyramid, boxes)
    for engine in others:
        _assert_pyramids(engine, engine.pyramid(image, sizes), pyramid)
        if case.precision == "int8":
            _assert_equal(engine, scalar, pyramid, boxes)
        elif case.change in TAME:
            _assert_windows(engine, scalar, pyramid, large)
            _assert_crops(engine, scalar, pyramid, boxes, large)
            _assert_aligned_crops(engine, scalar, pyramid, faces, large)


def _random_boxes(rng: Generator, image: np.ndarray, count: int) -> np.ndarray:
    """Squares of 1 pixel to twice the image, about the image."""
    height, width = image.shape[:2]
    largest = min(2 * max(width, height), LARGEST_SIDE)
    sides = np.exp(rng.uniform(0, math.log(largest), (count, 1)))
    centres = rng.uniform([-0.2 * width - 5, -0.2 * height - 5], [1.2 * width + 5, 1.2 * height + 5], (count, 2))
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def _random_landmarks(rng: Generator, image: np.ndarray, count: int) -> np.ndarray:
    """Five points each, at any in-plane rotation, of faces from 4 pixels to the size of the image."""
    height, width = image.shape[:2]
    template = landmark_template(Architecture("any", "onet", 1, 1, ())) - 0.5
    angle = rng.uniform(-math.pi, math.pi, count)
    largest = min(max(width, height) + 4, LARGEST_SIDE)
    side = np.exp(rng.uniform(math.log(4), math.log(largest), count))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * side
    centres = rng.uniform([0, 0], [width, height], (count, 1, 2))
    points = np.einsum("pi,ijn->npj", template, turn) + centres
    return np.asarray(points + rng.normal(0, 0.02, points.shape) * side[:, None, None], np.float32)


def _assert_pyramids(engine: NativeEngine, found: Pyramid, expected: Pyramid) -> None:
    for one, other in zip(found.images, expected.images, strict=True):
        assert np.array_equal(one, other), f"{engine.level}: level of {one.shape[1]} by {one.shape[0]} pixels"


def _assert_windows(engine: NativeEngine, scalar: NativeEngine, pyramid: Pyramid, large: float) -> None:
    """All windows of all levels: none is left out, so rows match."""
    window = engine.weights["pnet"].architecture.window
    for level, scale in zip(pyramid.images[1:], pyramid.scales[1:], strict=True):
        found, expected = engine.dense_scan(level, -math.inf), scalar.dense_scan(level, -math.inf)
        assert np.array_equal(found[:, :2], expected[:, :2]), f"{engine.level}: other windows"
        what = f"{engine.level}: pnet on {level.shape[1]} by {level.shape[0]}"
        _assert_scores(found[:, 2], expected[:, 2], what)
        _assert_pixels(found[:, 3:], expected[:, 3:], np.full(len(found), min(window / scale.min(), large)), what)


def _assert_equal(engine: NativeEngine, scalar: NativeEngine, pyramid: Pyramid, boxes: np.ndarray) -> None:
    """All windows of all levels, and crops: to the bit."""
    for level in pyramid.images[1:]:
        same = np.array_equal(engine.dense_scan(level, -math.inf), scalar.dense_scan(level, -math.inf), equal_nan=True)
        assert same, f"{engine.level}: other pnet outputs in int8 on {level.shape[1]} by {level.shape[0]}"
    for stage in STAGES[1:]:
        found, expected = engine.classify_crops(stage, pyramid, boxes), scalar.classify_crops(stage, pyramid, boxes)
        assert np.array_equal(found, expected, equal_nan=True), f"{engine.level}: other {stage} outputs in int8"


def _assert_crops_apart(engine: NativeEngine, pyramid: Pyramid, boxes: np.ndarray) -> None:
    """NaN is as good as another: what it is made of may differ."""
    for stage in STAGES[1:]:
        some = len(boxes) // 3
        apart = [engine.classify_crops(stage, pyramid, part) for part in (boxes[:some], boxes[some:])]
        same = np.array_equal(engine.classify_crops(stage, pyramid, boxes), np.concatenate(apart), equal_nan=True)
        assert same, f"{engine.level}: {stage} gives other outputs for {some} of {len(boxes)} crops alone"


def _assert_crops(
    engine: NativeEngine, scalar: NativeEngine, pyramid: Pyramid, boxes: np.ndarray, large: float
) -> None:
    for stage in STAGES[1:]:
        found, expected = engine.classify_crops(stage, pyramid, boxes), scalar.classify_crops(stage, pyramid, boxes)
        what, sides = f"{engine.level}: {stage}", boxes[:, 2] - boxes[:, 0]
        _assert_scores(found[:, 1] - found[:, 0], expected[:, 1] - expected[:, 0], what)
        sides = np.minimum(sides / engine.weights[stage].architecture.context, large)
        pixels = slice(engine.weights[stage].architecture.output("box").start, None)
        _assert_pixels(found[:, pixels], expected[:, pixels], sides, what)


def _assert_aligned_crops(
    engine: NativeEngine, scalar: NativeEngine, pyramid: Pyramid, faces: np.ndarray, large: float
) -> None:
    if LANDMARK_STAGE not in engine.weights.stages:
        return
    architecture = engine.weights[LANDMARK_STAGE].architecture
    matrices = similarity_transforms(faces, landmark_template(architecture))
    zoom = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    found = engine.classify_aligned_crops(LANDMARK_STAGE, pyramid, matrices)
    expected = scalar.classify_aligned_crops(LANDMARK_STAGE, pyramid, matrices)
    sides = np.minimum(architecture.window / zoom, large)
    landmarks = architecture.output("landmarks")
    _assert_pixels(found[:, landmarks], expected[:, landmarks], sides, f"{engine.level}: {LANDMARK_STAGE}")


def _assert_scores(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    scores = [1 / (1 + np.exp(-logits.astype(np.float64))) for logits in (found, expected)]
    difference = np.abs(scores[0] - scores[1])
    assert (difference <= SCORE).all(), f"{what}: scores differ by {np.nanmax(difference):.3g}"


def _assert_pixels(found: np.ndarray, expected: np.ndarray, sides: np.ndarray, what: str) -> None:
    """Outputs (n, k) in windows of ``sides`` (n,) pixels."""
    difference = np.abs(found.astype(np.float64) - expected) * sides[:, None]
    assert (difference <= PIXELS).all(), f"{what}: boxes or landmarks differ by {np.nanmax(difference):.3g} px"
