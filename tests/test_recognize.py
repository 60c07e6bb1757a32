"""Recognizer: embeddings, ages, verification, and what it says of input it cannot use."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import cascade
import cascade.recognize
from cascade import AlignError, Detector, Faces, ImageError, WeightsError
from cascade.imaging.alignment import align
from cascade.models.recognizer import load_recognizer
from cascade.recognize import FaceCountError, OperatingPoint, Recognizer, centred_by_age, expected_ages, only_face
from tests.photos import FACE_LANDMARKS, PORTRAIT, portrait, portrait_faces
from tests.random_recognizer import DIMENSION, FIGURES, save_random_recognizer, small_graph


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_recognizer(tmp_path_factory.mktemp("recognition") / "small.safetensors")


@pytest.fixture(scope="module")
def recognizer(weights: Path) -> Recognizer:
    return Recognizer(weights, threads=2)


def crops_of_noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 112, 112, 3), np.uint8)


def two_faces() -> np.ndarray:
    """The portrait beside a copy of half the size: two faces of one person, the left one larger."""
    small = portrait()[::2, ::2]
    canvas = np.zeros((512, 768, 3), np.uint8)
    canvas[:, :512], canvas[:256, 512:] = portrait(), small
    return canvas


# --------------------------------------------------------------------------------------------------
# The package


def test_names_of_the_package():
    assert cascade.Recognizer is Recognizer
    assert cascade.recognize.__name__ == "cascade.recognize"
    assert {"Recognizer", "Gallery", "GalleryError", "FaceCountError"} <= set(dir(cascade)) & set(cascade.__all__)
    with pytest.raises(AttributeError, match="Recogniser"):
        cascade.Recogniser  # noqa: B018


def test_detecting_does_not_import_recognition():
    code = (
        "import sys, cascade, cascade.detect;"
        "assert not {'cascade.recognize', 'cascade.gallery', 'cascade.nn.graphs'} & set(sys.modules);"
        "from cascade import Gallery, Recognizer; import cascade.recognize;"
        "assert cascade.recognize.Recognizer is Recognizer; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --------------------------------------------------------------------------------------------------
# Embeddings and ages


def test_embedding_of_the_portrait(recognizer):
    rows = recognizer.embed(PORTRAIT)
    assert rows.shape == (1, DIMENSION)
    assert rows.dtype == np.float32
    assert recognizer.dimension == DIMENSION
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_faces_landmarks_and_crops_give_the_same(recognizer):
    faces = portrait_faces()
    rows = recognizer.embed(portrait(), faces)
    np.testing.assert_array_equal(rows, recognizer.embed(portrait(), faces.landmarks))
    np.testing.assert_allclose(rows, recognizer.embed(portrait(), [FACE_LANDMARKS]), atol=1e-3)
    np.testing.assert_array_equal(rows, recognizer.embed_crops(align(portrait(), faces.landmarks)))


def test_faces_are_found_by_the_detector_that_is_given(weights):
    picky = Recognizer(weights, detector=Detector(min_face=400))
    assert picky.embed(portrait()).shape == (0, DIMENSION)
    assert picky.detector.min_face == 400


def test_analysis_is_embeddings_and_ages(recognizer):
    faces = recognizer.detector.detect(two_faces())
    assert len(faces) == 2
    analysis = recognizer.analyze(two_faces(), faces)
    np.testing.assert_array_equal(analysis.embeddings, recognizer.embed(two_faces()))
    with pytest.warns(DeprecationWarning, match="use cascade.attributes.AttributeEstimator"):
        np.testing.assert_array_equal(analysis.ages, recognizer.age(two_faces()))
    assert analysis.ages.dtype == np.float32
    assert ((analysis.ages >= 0) & (analysis.ages <= 100)).all()


def test_embeddings_are_those_of_the_graph(weights, recognizer):
    from cascade import _native

    loaded = load_recognizer(weights)
    outputs = [loaded.graph.outputs["embedding"], loaded.graph.outputs["age"]]
    crops = crops_of_noise(3)
    embeddings, logits = _native.Graph(loaded.nodes(), 112, outputs).run(crops)
    expected = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    np.testing.assert_allclose(recognizer.embed_crops(crops), expected, atol=1e-6)
    shares = np.exp(logits.astype(np.float64))
    ages = (shares * np.arange(101)).sum(axis=1) / shares.sum(axis=1)
    np.testing.assert_allclose(recognizer.age_crops(crops), ages, rtol=1e-5)


def test_ages_of_logits_worked_by_hand():
    logits = np.full((4, 101), -np.inf, np.float32)
    logits[0, 30] = 5
    logits[1, [20, 40]] = 7
    logits[2, [10, 50]] = np.log([3, 1])  # a quarter of the way
    logits[3] = 1000
    np.testing.assert_allclose(expected_ages(logits), [30, 30, 20, 50], rtol=1e-6)
    assert expected_ages(np.empty((0, 101), np.float32)).shape == (0,)


def test_flip_is_the_sum_with_the_mirror_image(weights, recognizer):
    crops = crops_of_noise(3)
    both = recognizer.embed_crops(crops) + recognizer.embed_crops(crops[:, :, ::-1])
    rows = Recognizer(weights, flip=True).embed_crops(crops)
    np.testing.assert_allclose(rows, both / np.linalg.norm(both, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(Recognizer(weights, flip=True).embed_crops(crops[:, :, ::-1]), rows, atol=1e-6)


@given(count=st.integers(0, 11), threads=st.integers(1, 3))
def test_results_depend_neither_on_threads_nor_on_the_others(recognizer, count, threads):
    crops = crops_of_noise(count)
    rows = Recognizer(recognizer.weights, threads=threads).embed_crops(crops)
    assert rows.shape == (count, DIMENSION)
    np.testing.assert_array_equal(rows, recognizer.embed_crops(crops))
    for row, crop in zip(rows, crops, strict=True):
        np.testing.assert_allclose(recognizer.embed_crops(crop[None])[0], row, atol=1e-6)


def test_no_face(recognizer):
    blank = np.full((60, 80, 3), 90, np.uint8)
    for faces in (None, Faces.empty(), [], np.empty((0, 5, 2))):
        assert recognizer.embed(blank, faces).shape == (0, DIMENSION)
        assert len(recognizer.analyze(blank, faces).embeddings) == 0
    assert recognizer.embed_crops(crops_of_noise(0)).shape == (0, DIMENSION)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "RGB"])
def test_kinds_of_images(recognizer, mode):
    picture = Image.fromarray(portrait()).convert(mode)
    assert recognizer.embed(picture).shape == (1, DIMENSION)
    assert recognizer.embed(np.asarray(picture)).shape == (1, DIMENSION)


def test_channels_of_arrays(recognizer):
    reversed_channels = portrait()[:, :, ::-1]
    expected = recognizer.embed(portrait())
    np.testing.assert_array_equal(recognizer.embed(reversed_channels, color="bgr"), expected)
    expected = recognizer.embed(portrait(), portrait_faces())
    assert np.abs(recognizer.embed(reversed_channels, portrait_faces()) - expected).max() > 1e-3
    assert recognizer.verify(reversed_channels, reversed_channels, color="bgr").same


def test_tiny_image(recognizer):
    tiny = np.zeros((1, 1, 3), np.uint8)
    assert recognizer.embed(tiny).shape == (0, DIMENSION)
    assert recognizer.embed(tiny, portrait_faces()).shape == (1, DIMENSION)


# --------------------------------------------------------------------------------------------------
# Bad input


@pytest.mark.filterwarnings("ignore:Recognizer.age is deprecated")
@pytest.mark.parametrize("method", ["embed", "age", "analyze"])
def test_bad_images(recognizer, method, tmp_path):
    data = PORTRAIT.read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    for image in (None, tmp_path / "nothing.jpg", tmp_path / "cut.jpg", b"no", np.zeros((0, 4, 3), np.uint8), [1]):
        with pytest.raises(ImageError):
            getattr(recognizer, method)(image)
    with pytest.raises(ImageError):
        recognizer.verify(PORTRAIT, tmp_path / "cut.jpg")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 7.0])
def test_landmarks_that_no_crop_can_be_cut_at(recognizer, wrong):
    points = np.array([FACE_LANDMARKS, FACE_LANDMARKS])
    points[1] = wrong
    with pytest.raises(AlignError, match=r"landmarks\[1\]"):
        recognizer.embed(portrait(), points)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.zeros((1, 4, 2)), "face", [[1]], 3])
def test_landmarks_of_a_wrong_shape_or_type(recognizer, points):
    with pytest.raises(AlignError, match="landmarks"):
        recognizer.embed(portrait(), points)


@pytest.mark.parametrize(
    ("crops", "error"),
    [
        (None, TypeError),
        ([[1]], TypeError),
        (np.zeros((112, 112, 3), np.uint8), ValueError),
        (np.zeros((1, 112, 112), np.uint8), ValueError),
        (np.zeros((1, 112, 96, 3), np.uint8), ValueError),
        (np.zeros((1, 112, 112, 3), np.float32), ValueError),
    ],
)
def test_crops_of_a_wrong_shape_or_type(recognizer, crops, error):
    for method in (recognizer.embed_crops, recognizer.age_crops):
        with pytest.raises(error, match="crops: expected"):
            method(crops)


def test_crops_in_any_memory_layout(recognizer):
    crops = crops_of_noise(2)
    expected = recognizer.embed_crops(crops)
    np.testing.assert_array_equal(recognizer.embed_crops(np.asfortranarray(crops)), expected)
    wide = np.repeat(crops, 2, axis=2)
    np.testing.assert_array_equal(recognizer.embed_crops(wide[:, :, ::2]), expected)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weights": 7}, TypeError, "weights"),
        ({"weights": "no such weights"}, WeightsError, "no such weights"),
        ({"threads": 0}, ValueError, "threads"),
        ({"threads": "two"}, TypeError, "threads"),
        ({"flip": 1}, TypeError, "flip"),
        ({"detector": "native"}, TypeError, "detector"),
    ],
)
def test_wrong_settings(weights, settings, error, message):
    with pytest.raises(error, match=message):
        Recognizer(**{"weights": weights, **settings})


def test_settings_are_fixed(recognizer):
    with pytest.raises(AttributeError, match="flip"):
        recognizer.flip = True


def test_weights_that_are_no_recognizers(tmp_path):
    graph = small_graph(input_size=56)
    with pytest.raises(WeightsError, match="56 pixels"):
        Recognizer(save_random_recognizer(tmp_path / "a.safetensors", graph=graph))
    with pytest.raises(WeightsError, match="80 ages"):
        Recognizer(save_random_recognizer(tmp_path / "b.safetensors", graph=small_graph(ages=80)))
    (tmp_path / "d.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-9])
    with pytest.raises(WeightsError, match=r"d\.safetensors"):
        Recognizer(tmp_path / "d.safetensors")


# --------------------------------------------------------------------------------------------------
# Verification


def test_verification_of_a_photo_with_itself(recognizer):
    result = recognizer.verify(PORTRAIT, portrait())
    assert result.similarity == pytest.approx(1, abs=1e-5)
    assert result.similarity <= 1
    assert result.same
    assert result.threshold == FIGURES["threshold"]
    assert result.false_accept_rate == FIGURES["false_accept_rate"]
    assert recognizer.operating_point == OperatingPoint(**FIGURES)


def test_threshold_of_ones_own(recognizer):
    other = np.ascontiguousarray(portrait()[:, ::-1])
    similarity = recognizer.verify(portrait(), other).similarity
    for threshold, same in ((similarity - 0.01, True), (similarity + 0.01, False)):
        result = recognizer.verify(portrait(), other, threshold=threshold)
        assert (result.same, result.threshold, result.false_accept_rate) == (same, threshold, None)
    for threshold, error in ((2, ValueError), (np.nan, ValueError), ("high", TypeError)):
        with pytest.raises(error, match="threshold"):
            recognizer.verify(portrait(), other, threshold=threshold)


def test_verification_without_a_measured_threshold(tmp_path):
    path = save_random_recognizer(tmp_path / "silent.safetensors", verification=None)
    silent = Recognizer(path)
    assert silent.operating_point is None
    with pytest.raises(WeightsError, match="threshold="):
        silent.verify(portrait(), portrait())
    assert silent.verify(portrait(), portrait(), threshold=0.5).same


@pytest.mark.parametrize(
    "figures",
    [
        7,
        [],
        {"threshold": 0.5},
        {**FIGURES, "threshold": "high"},
        {**FIGURES, "threshold": 3},
        {**FIGURES, "false_accept_rate": -1},
        {**FIGURES, "true_accept_rate": float("nan")},
    ],
)
def test_weights_that_state_their_threshold_wrongly(figures, tmp_path):
    path = save_random_recognizer(tmp_path / "wrong.safetensors", verification=figures)
    with pytest.raises(WeightsError, match="verification threshold"):
        Recognizer(path)


def test_number_of_faces(recognizer):
    blank = np.zeros((60, 60, 3), np.uint8)
    with pytest.raises(FaceCountError, match="image_a: expected one face, found 0") as caught:
        recognizer.verify(blank, portrait(), largest=True)
    assert (caught.value.image, caught.value.count) == ("image_a", 0)
    with pytest.raises(FaceCountError, match="image_b: expected one face, found 2; largest=True"):
        recognizer.verify(portrait(), two_faces())
    assert issubclass(FaceCountError, ValueError)
    assert recognizer.verify(portrait(), two_faces(), largest=True).similarity > 0.9


def test_errors_name_the_photo(recognizer):
    with pytest.raises(ImageError, match=r"^image_b: expected"):
        recognizer.verify(portrait(), np.zeros((3, 3, 7), np.uint8))
    with pytest.raises(ImageError, match=r"^image_a: expected .* 'none.jpg'"):
        recognizer.verify("none.jpg", portrait())


def test_a_threshold_is_not_taken_for_largest(recognizer):
    for wrong in (0.5, "no", None):
        with pytest.raises(TypeError, match="largest: expected True or False"):
            recognizer.verify(portrait(), two_faces(), wrong)
        with pytest.raises(TypeError, match="largest: expected True or False"):
            recognizer.enrol(portrait(), wrong)
    assert len(only_face(portrait_faces(), largest=np.bool_(True))) == 1


def test_largest_face():
    boxes = [[0, 0, 10, 10], [0, 0, 30, 10], [5, 5, 35, 15]]
    faces = Faces(boxes, [0.9, 0.8, 0.7], np.zeros((3, 5, 2)))
    np.testing.assert_array_equal(only_face(faces, largest=True).boxes, boxes[1:2])
    assert len(only_face(faces[:1])) == 1
    with pytest.raises(FaceCountError, match="holiday"):
        only_face(faces, "holiday")


# --------------------------------------------------------------------------------------------------
# Threads and forks


def test_many_threads_share_one(recognizer):
    crops = [crops_of_noise(5, seed) for seed in range(8)]
    expected = [recognizer.embed_crops(some) for some in crops]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for rows, wanted in zip(pool.map(recognizer.embed_crops, crops), expected, strict=True):
                np.testing.assert_array_equal(rows, wanted)


def test_the_first_use_of_the_detector_by_many_threads(weights):
    shared = Recognizer(weights)
    expected, found = Recognizer(weights).embed(portrait()), []
    barrier = threading.Barrier(4)

    def embed() -> None:
        barrier.wait()
        found.append(shared.embed(portrait()))

    workers = [threading.Thread(target=embed) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    for rows in found:
        np.testing.assert_array_equal(rows, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork(weights):
    # in a process of its own: the one that runs the tests has threads of others
    code = f"""
import os, sys
import numpy as np
from cascade import Recognizer
recognizer = Recognizer({str(weights)!r}, threads=2)
crops = np.random.default_rng(0).integers(0, 256, (9, 112, 112, 3), np.uint8)
before = recognizer.embed_crops(crops)
child = os.fork()
if not child:
    same = (recognizer.embed_crops(crops) == before).all() and len(recognizer.embed({str(PORTRAIT)!r})) == 1
    os._exit(0 if same else 3)
_, status = os.waitpid(child, 0)
assert (recognizer.embed_crops(crops) == before).all()
sys.exit(os.waitstatus_to_exitcode(status))
"""
    options = ["-W", "ignore::DeprecationWarning"]
    assert subprocess.run([sys.executable, *options, "-c", code], timeout=120, check=False).returncode == 0


# --------------------------------------------------------------------------------------------------
# The weights that come with the package


def test_one_person_in_changed_photos():
    recognizer = Recognizer()
    assert recognizer.operating_point is not None
    picture = Image.fromarray(portrait())
    jpeg = io.BytesIO()
    picture.resize((300, 300)).save(jpeg, "JPEG", quality=60)
    changed = {
        "mirrored": np.ascontiguousarray(portrait()[:, ::-1]),
        "brighter": np.clip(portrait() * 1.3 + 10, 0, 255).astype(np.uint8),
        "gray": np.asarray(picture.convert("L")),
        "rotated": picture.rotate(8, Image.Resampling.BICUBIC),
        "small": jpeg.getvalue(),
    }
    for name, image in changed.items():
        result = recognizer.verify(PORTRAIT, image)
        assert result.same, (name, result)
        assert result.similarity > result.threshold + 0.1, (name, result)
    assert 0 < recognizer.operating_point.false_accept_rate < 0.05


def test_age_of_the_portrait():
    assert 20 < Recognizer().analyze(PORTRAIT).ages[0] < 60


def test_shipped_weights_are_light():
    assert len(Recognizer("light").embed_crops(crops_of_noise(1))[0]) == Recognizer().dimension


# what faces of an age have in common


def test_what_an_age_shares_is_taken_out():
    """Two ages, whose faces share a direction each: without it, only what tells people apart is left."""
    shared = np.zeros((101, 4), np.float32)
    shared[5], shared[40] = (0.6, 0, 0, 0), (0, 0.6, 0, 0)
    logits = np.full((3, 101), -50, np.float32)
    logits[[0, 1], 5] = logits[2, 40] = 50
    rows = np.array([[0.6, 0, 0.8, 0], [1.2, 0, 0, 1.6], [0, 0.3, 0.4, 0]], np.float32)  # of any length
    found = centred_by_age(rows, logits, shared)
    np.testing.assert_allclose(found, [[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0]], atol=1e-6)
    plain = centred_by_age(rows, logits, None)
    np.testing.assert_allclose(plain @ plain.T, [[1, 0.36, 0.64], [0.36, 1, 0], [0.64, 0, 1]], atol=1e-6)
    half = np.full((1, 101), -50, np.float32)
    half[0, [5, 40]] = 50
    np.testing.assert_allclose(
        centred_by_age(np.array([[0.3, 0.3, 0.9, 0]], np.float32) / np.sqrt(np.float32(0.99)), half, shared)[0, 3], 0
    )
