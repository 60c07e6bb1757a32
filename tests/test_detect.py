"""The detector: what it finds, in images of every kind, whatever the threads, the engine and the calls before.

Most tests run on random weights that let some windows of the portrait pass, so they do not depend on training.
"""

from __future__ import annotations

import importlib
import multiprocessing
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import cascade
from cascade import _native, stages
from cascade import detect as detection
from cascade.boxes import iou
from cascade.detect import Detector
from cascade.faces import Faces
from cascade.imaging.pyramid import level_sizes
from cascade.imaging.reading import ImageError
from cascade.models.detector import DetectorWeights, load_detector, shipped_detectors
from cascade.nn.architectures import ARCHITECTURES
from cascade.stages import Framing
from tests.photos import FACE_BOX, FACE_LANDMARKS, PORTRAIT, portrait

FAMILIES = list(ARCHITECTURES)
Weights = Callable[[str], DetectorWeights]


@pytest.fixture(scope="module")
def weights(random_weights: Callable[[str], Path]) -> Weights:
    """A function from a family to its random weights."""
    return lambda family: load_detector(random_weights(family))


@pytest.fixture(scope="module", params=FAMILIES)
def detector(request: pytest.FixtureRequest, weights: Weights) -> Detector:
    return Detector(weights=weights(request.param), threads=1)


def assert_same(one: Faces, other: Faces) -> None:
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.landmarks, other.landmarks)


def assert_empty(faces: Faces) -> None:
    assert isinstance(faces, Faces)
    assert (faces.boxes.shape, faces.scores.shape, faces.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))


def photos() -> list[np.ndarray]:
    """Photos of several sizes, in some of which even random weights see faces."""
    photo = portrait()
    return [photo, photo[50:250, 100:420], photo[:, ::-1][:333], photo[::2, ::2], photo[60:200, 160:290]]


# Results


def test_faces_are_sorted_and_within_the_photo(detector: Detector) -> None:
    assert len(detector.detect(portrait())) > 3
    for photo in photos():
        faces = detector.detect(photo)
        assert (faces.boxes.dtype, faces.scores.dtype, faces.landmarks.dtype) == (np.float32,) * 3
        assert faces.landmarks.shape == (len(faces), 5, 2)
        assert (np.diff(faces.scores) <= 0).all()
        height, width = photo.shape[:2]
        assert (faces.boxes >= 0).all()
        assert (faces.boxes <= [width, height, width, height]).all()
        assert (faces.boxes[:, 2:] > faces.boxes[:, :2]).all()
        assert (faces.scores >= detection.THRESHOLDS[2] - 1e-6).all()
        assert (faces.scores <= 1).all()
        assert_same(faces, faces.sort())


def test_the_default_threshold_is_the_lowest_score(weights: Weights) -> None:
    """Without it there are faces of lower scores."""
    photo, lowest = portrait(), detection.THRESHOLDS[2]
    found = Detector(weights=weights("default"), threads=1).detect(photo)
    more = Detector(thresholds=(*detection.THRESHOLDS[:2], 0.0), weights=weights("default"), threads=1).detect(photo)
    assert lowest == 0.8
    assert more.scores.min() < lowest - 1e-3
    assert found.scores.min() >= lowest - 1e-6


def test_the_same_photo_gives_the_same_faces(detector: Detector) -> None:
    first = detector.detect(portrait())
    for photo in photos():
        detector.detect(photo)
    assert_same(detector.detect(portrait()), first)


def test_the_photo_is_not_changed(detector: Detector) -> None:
    photo = portrait().copy()
    detector.detect(photo)
    np.testing.assert_array_equal(photo, portrait())


def test_max_face_leaves_out_the_large_ones(weights: Weights) -> None:
    """And so costs nothing but large faces: the levels that it keeps are those of the full pyramid."""
    full = level_sizes(512, 512, 20, None, 12, 0.709)
    cut = level_sizes(512, 512, 20, 60, 12, 0.709)
    assert cut == full[: len(cut)]
    assert len(cut) == 4
    few = Detector(max_face=20, weights=weights("default")).detect(portrait())
    many = Detector(weights=weights("default")).detect(portrait())
    assert np.median(np.ptp(few.boxes[:, ::2], axis=1)) < np.median(np.ptp(many.boxes[:, ::2], axis=1))


# Images of every kind


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((480, 640, 3), np.uint8),
        np.full((100, 100, 3), 255, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((11, 500, 3), np.uint8),
        np.zeros((500, 11, 3), np.uint8),
        np.zeros((6, 6, 3), np.uint8),
        np.zeros((7, 7, 3), np.uint8),
        np.zeros((12, 12, 3), np.uint8),
        np.zeros((60, 60), np.uint8),
        np.zeros((60, 60, 1), np.uint8),
        np.zeros((60, 60, 4), np.uint8),
        np.zeros((60, 60, 3), np.float32),
        np.zeros((60, 60), np.float64),
        np.zeros((60, 60, 3), np.uint16),
    ],
    ids=lambda image: f"{image.dtype}-{'x'.join(map(str, image.shape))}",
)
def test_no_face_is_an_empty_result(weights: Weights, engine: str, image: np.ndarray) -> None:
    """All windows of a blank image look alike, so nothing passes thresholds that nothing can pass."""
    for thresholds in [(0.5, 0.5, 1.0), (0.5, 1.0, 0.5), (1.0, 0.5, 0.5)]:
        detector = Detector(thresholds=thresholds, engine=engine, weights=weights("default"))
        assert_empty(detector.detect(image))


def test_small_and_blank_images_never_raise(detector: Detector) -> None:
    for shape in [(1, 1), (1, 40), (40, 1), (2, 3), (7, 7), (8, 8), (11, 500), (12, 12), (23, 24)]:
        for value in (0, 128, 255):
            assert isinstance(detector.detect(np.full((*shape, 3), value, np.uint8)), Faces)


def test_images_of_other_kinds_give_the_faces_of_their_colours(detector: Detector) -> None:
    photo = portrait()
    expected = detector.detect(photo)
    alpha = np.dstack([photo, np.random.default_rng(0).integers(0, 256, photo.shape[:2], np.uint8)])
    for same in (alpha, photo / 255, photo.astype(np.float32) / 255, photo.astype(np.uint16) * 257, photo[::-1][::-1]):
        assert_same(detector.detect(same), expected)
    assert_same(detector.detect(photo[:, :, ::-1], color="bgr"), expected)
    gray = photo[:, :, 1]
    for same in (gray, gray[..., None], np.dstack([gray, gray]), np.dstack([gray] * 4), gray / 255):
        assert_same(detector.detect(same), detector.detect(np.dstack([gray] * 3)))


def test_files_are_read(detector: Detector) -> None:
    expected = detector.detect(portrait())
    for image in (PORTRAIT, str(PORTRAIT), PORTRAIT.read_bytes()):
        assert_same(detector.detect(image), expected)


@pytest.mark.parametrize("image", [None, 3, [1, 2], "no/such/file.jpg", np.zeros((0, 5, 3), np.uint8), b""])
def test_what_is_no_image_raises_an_image_error(detector: Detector, image: Any) -> None:
    with pytest.raises(ImageError, match="image"):
        detector.detect(image)


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["default", "paper"], indirect=True)
def test_twelve_megapixels(detector: Detector) -> None:
    """test_strips.py has the other families, in smaller strips."""
    large = np.tile(portrait(), (6, 8, 1))[:3000, :4000]
    faces = detector.detect(large)
    assert len(faces) > 20
    assert (faces.boxes <= [4000, 3000, 4000, 3000]).all()


# Batches, threads, forks, engines


def test_a_batch_is_its_images_one_by_one(detector: Detector) -> None:
    expected = [detector.detect(photo) for photo in photos()]
    for batch in (photos(), tuple(photos()), iter(photos())):
        for found, alone in zip(detector.detect_batch(batch), expected, strict=True):
            assert_same(found, alone)
    assert detector.detect_batch([]) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_threads_change_nothing(weights: Weights, family: str) -> None:
    one, three = (Detector(threads=threads, weights=weights(family)) for threads in (1, 3))
    for photo in photos():
        assert_same(three.detect(photo), one.detect(photo))


@pytest.mark.parametrize("threads", [1, 2])
def test_two_threads_share_a_detector(weights: Weights, threads: int) -> None:
    detector = Detector(threads=threads, weights=weights("default"))
    expected = [detector.detect(photo) for photo in photos()]
    with ThreadPoolExecutor(2) as pool:
        for found, alone in zip(pool.map(detector.detect, photos() * 3), expected * 3, strict=True):
            assert_same(found, alone)


def _in_child(detector: Detector, answers: multiprocessing.SimpleQueue) -> None:
    answers.put(detector.detect(portrait()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_a_detector_survives_a_fork(weights: Weights, threads: int) -> None:
    detector = Detector(threads=threads, weights=weights("default"))
    expected = detector.detect(portrait())
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    children = [context.Process(target=_in_child, args=(detector, answers)) for _ in range(2)]
    for child in children:
        child.start()
    for _ in children:
        assert_same(answers.get(), expected)
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert_same(detector.detect(portrait()), expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.usefixtures("one_look")
def test_the_engines_agree(weights: Weights, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # what framing adds is the same for all engines; of random boxes it lets more through, and more of them are as good
    for name in ("PNET_FRAMING", "CROP_FRAMING"):
        monkeypatch.setattr(stages, name, Framing(0, 0, 0))
    native, other = (Detector(engine=engine, weights=weights(family)) for engine in ("native", "torch"))
    for photo in photos():
        one, two = native.detect(photo), other.detect(photo)
        assert len(one) == len(two)
        np.testing.assert_allclose(two.boxes, one.boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(two.scores, one.scores, rtol=0, atol=1e-4)
        # O-Net's landmarks are snapped before L-Net's crops are aligned: now and then a face is snapped the other way
        apart = np.abs(two.landmarks - one.landmarks)
        assert apart.max(initial=0) < 0.05
        assert (apart > 1e-3).mean() < 0.03


def test_the_engines_agree_after_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a face of which O-Net is not sure: as small as this one is."""
    small = cv2.resize(portrait(), (40, 40), interpolation=cv2.INTER_AREA)
    native, other = (
        Detector(engine=engine, precision="float32", min_face=12, thresholds=(0.5, 0.2, 0.5))
        for engine in ("native", "torch")
    )
    one, two = native.detect(small), other.detect(small)
    assert len(one) == len(two) == 1
    np.testing.assert_allclose(two.boxes, one.boxes, rtol=0, atol=0.1)
    np.testing.assert_allclose(two.scores, one.scores, rtol=0, atol=0.01)
    with monkeypatch.context() as patch:
        patch.setattr(stages, "SURE", -np.inf)
        once = native.detect(small)
    assert abs(once.scores[0] - one.scores[0]) > 0.01


def test_a_batch_with_second_looks_of_some_photos_is_its_images_one_by_one() -> None:
    small = [cv2.resize(portrait(), (side, side), interpolation=cv2.INTER_AREA) for side in (40, 512, 44)]
    batch = [small[0], np.zeros((60, 60, 3), np.uint8), *small[1:]]
    detector = Detector(engine="torch", min_face=12, thresholds=(0.5, 0.2, 0.5))
    for one, two in zip(detector.detect_batch(batch), map(detector.detect, batch), strict=True):
        assert len(one) == len(two)
        np.testing.assert_allclose(two.boxes, one.boxes, rtol=0, atol=0.1)
        np.testing.assert_allclose(two.scores, one.scores, rtol=0, atol=0.01)


@pytest.mark.usefixtures("one_look")
def test_simd_levels_agree(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Detector(weights=weights("default")).detect(portrait())
    for level in _native.simd_levels():
        monkeypatch.setenv("CASCADE_SIMD", level)
        found = Detector(weights=weights("default")).detect(portrait())
        assert len(found) == len(expected)
        np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-5)


def test_one_liners(random_weights: Callable[[str], Path]) -> None:
    settings: dict[str, Any] = {"min_face": 40, "thresholds": (0.4, 0.4, 0.4), "weights": random_weights("default")}
    assert_same(detection.detect(PORTRAIT, **settings), Detector(**settings).detect(PORTRAIT))


def test_the_module_keeps_its_name() -> None:
    assert isinstance(importlib.import_module("cascade.detect"), types.ModuleType)
    assert isinstance(cascade.detect, types.ModuleType)
    assert cascade.Detector is Detector


# Extreme weights


def test_landmarks_that_overflow_are_no_face(weights: Weights) -> None:
    loaded = weights("default")
    onet = loaded["onet"]
    name = f"{len(onet.architecture.layers) - 1}.bias"
    tensors = {**onet.tensors, name: onet.tensors[name].copy()}
    tensors[name][6:] = 3e38
    wild = replace(loaded, stages={**loaded.stages, "onet": replace(onet, tensors=tensors)})
    assert len(Detector(weights=loaded, threads=1).detect(portrait())) > 0
    assert_empty(Detector(weights=wild, threads=1).detect(portrait()))


def wild(weights: DetectorWeights, stage: str, rows: slice, value: Any, kind: str = "bias") -> DetectorWeights:
    """The weights with other numbers for some outputs of one stage."""
    network = weights.stages[stage]
    name = f"{len(network.architecture.layers) - 1}.{kind}"
    tensors = {**network.tensors, name: network.tensors[name].copy()}
    tensors[name][rows] = value
    return replace(weights, stages={**weights.stages, stage: replace(network, tensors=tensors)})


@pytest.mark.parametrize("value", [50.0, -50.0, 1e4, 1e6, -1e30])
@pytest.mark.parametrize("stage", ["pnet", "rnet", "onet"])
@pytest.mark.parametrize("rows", [slice(1, 2), slice(2, 4), slice(4, 6), slice(2, 6), slice(6, 16)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_wild_outputs_never_raise(weights: Weights, stage: str, rows: slice, value: float) -> None:
    detector = Detector(min_face=60, thresholds=(0.5, 0.5, 0.5), weights=wild(weights("default"), stage, rows, value))
    assert (detector.detect(portrait()).boxes <= 512).all()


@pytest.mark.parametrize("rows", [slice(2, 6), slice(6, 16)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_outputs_that_are_not_finite_never_raise(weights: Weights, rows: slice) -> None:
    """Infinite where all inputs have one sign, and NaN where one infinity meets the other."""
    default = weights("default")
    inputs = default["onet"].architecture.layers[-2].channels
    signs = np.where(np.arange(inputs) % 2, 3e38, -3e38)[:, None, None]
    detector = Detector(weights=wild(default, "onet", rows, signs, "weight"))
    assert (detector.detect(portrait()).boxes <= 512).all()


# The weights that come with the package


def assert_is_the_astronaut(faces: Faces) -> None:
    assert len(faces) == 1
    face = faces[0]
    assert iou(face.box, FACE_BOX) > 0.5
    x, y = face.landmarks.T
    assert ((face.box[:2] <= face.landmarks) & (face.landmarks <= face.box[2:])).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = range(5)
    assert x[left_eye] < x[nose] < x[right_eye]
    assert x[left_mouth] < x[nose] < x[right_mouth]
    assert max(y[left_eye], y[right_eye]) < y[nose] < min(y[left_mouth], y[right_mouth])
    between_eyes = FACE_LANDMARKS[1][0] - FACE_LANDMARKS[0][0]
    assert np.linalg.norm(face.landmarks - np.array(FACE_LANDMARKS), axis=1).max() < 0.3 * between_eyes


@pytest.mark.parametrize("name", shipped_detectors())
def test_the_astronaut_has_one_face(name: str) -> None:
    score = 0.92 if name == "paper" else 0.8  # from which on nine in ten of the set's detections are right
    assert_is_the_astronaut(Detector(weights=name, thresholds=(0.7, 0.3, score)).detect(PORTRAIT))


def test_the_astronaut_has_one_face_in_torch_too() -> None:
    faces = Detector(engine="torch").detect(PORTRAIT)
    assert_is_the_astronaut(faces)
    native = Detector(precision="float32").detect(PORTRAIT)
    np.testing.assert_allclose(faces.boxes, native.boxes, rtol=0, atol=1e-3)
    np.testing.assert_allclose(faces.scores, native.scores, rtol=0, atol=1e-4)


def test_int8_finds_the_astronaut_where_torch_does() -> None:
    """The default of the native engine is less exact, by less than two hundredths of this face of 90 pixels."""
    faces, native = Detector(engine="torch").detect(PORTRAIT), Detector(precision="int8").detect(PORTRAIT)
    assert len(faces) == len(native) == 1
    np.testing.assert_allclose(faces.boxes, native.boxes, rtol=0, atol=1.8)
    np.testing.assert_allclose(faces.landmarks, native.landmarks, rtol=0, atol=1.8)
    np.testing.assert_allclose(faces.scores, native.scores, rtol=0, atol=0.03)


def test_a_mirrored_face_is_found_where_it_went() -> None:
    """The networks are not symmetric, so the two boxes may differ, but by no more than 6 % of the face."""
    detector = Detector()
    face, mirrored = detector.detect(portrait())[0], detector.detect(portrait()[:, ::-1])[0]
    most = 0.06 * face.width
    assert mirrored.box[[2, 0]] == pytest.approx(512 - face.box[[0, 2]], abs=most)
    assert mirrored.box[[1, 3]] == pytest.approx(face.box[[1, 3]], abs=most)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_blank_images_have_no_face(value: int) -> None:
    assert_empty(Detector().detect(np.full((240, 320, 3), value, np.uint8)))
