"""Verification and enrolment by the size of the faces, and copies of a Recognizer."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from cascade.detect import Detector
from cascade.gallery import Gallery
from cascade.recognize import FaceCountError, FaceSizeError, Recognizer
from tests.photos import PORTRAIT, portrait
from tests.random_recognizer import FIGURES, save_random_recognizer

BY_SIZE = [
    {"face_size": 16, "false_accept_rate": 0.5, "true_accept_rate": 0.6},
    {"face_size": 30, "false_accept_rate": 0.05, "true_accept_rate": 0.8},
    {"face_size": 60, "false_accept_rate": 0.01, "true_accept_rate": 0.9},
]
FACE = 99.0
"""The size of the portrait's face in pixels, about."""


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory) -> Recognizer:
    path = tmp_path_factory.mktemp("weights") / "sized.safetensors"
    save_random_recognizer(path, verification={**FIGURES, "by_face_size": BY_SIZE})
    return Recognizer(path, threads=1, detector=Detector(min_face=12, threads=1))


def shrunk(face: float) -> np.ndarray:
    side = round(512 * face / FACE)
    return np.asarray(Image.fromarray(portrait()).resize((side, side), Image.Resampling.LANCZOS))


def test_large_faces(recognizer):
    result = recognizer.verify(PORTRAIT, portrait())
    assert result.same is True
    assert (result.false_accept_rate, result.true_accept_rate) == (0.01, 0.9)
    assert result.warning is None and result.problems == ((), ())
    assert result.face_sizes == pytest.approx((FACE, FACE), rel=0.1)


def test_small_faces(recognizer):
    result = recognizer.verify(shrunk(28), shrunk(28))
    assert result.same is True
    assert result.face_sizes == pytest.approx((28, 28), rel=0.1)
    assert result.false_accept_rate == recognizer.operating_point.rates_at(*result.face_sizes)[0]
    assert 0.02 < result.false_accept_rate < 0.1
    assert "pixels are more often taken for other people's" in result.warning
    assert recognizer.verify(shrunk(28), portrait()).false_accept_rate < result.false_accept_rate


def test_faces_too_small_to_tell(recognizer):
    small = shrunk(17)
    result = recognizer.verify(small, small)
    assert result.same is None
    assert result.similarity == pytest.approx(1, abs=1e-5)
    assert result.false_accept_rate > 0.1
    assert "too small to tell" in result.warning
    mine = recognizer.verify(small, small, threshold=0.4)  # who gives a threshold decides
    assert (mine.same, mine.false_accept_rate) == (True, None)
    assert mine.warning is not None


def test_a_large_face_does_not_help_one_too_small_to_tell(recognizer):
    result = recognizer.verify(portrait(), shrunk(13))
    assert (result.same, result.false_accept_rate, result.true_accept_rate) == (None, None, None)
    assert "too small to tell" in result.warning and result.probability is None
    result = recognizer.verify(portrait(), shrunk(28))
    assert result.true_accept_rate == recognizer.operating_point.rates_at(result.face_sizes[1])[1]


def test_what_is_wrong_with_either_face(recognizer):
    head = Image.fromarray(portrait()).crop((125, 0, 325, 220))  # what is around it may pass for a face when blurred
    blurred = head.filter(ImageFilter.GaussianBlur(5))
    result = recognizer.verify(blurred, portrait())
    assert result.problems == (("blurred",), ())
    assert result.warning == "first face: blurred"
    dark = (portrait() * 0.08).astype(np.uint8)
    assert "badly lit" in recognizer.verify(portrait(), dark).problems[1]
    result = recognizer.verify(portrait(), shrunk(28))
    assert result.problems[0] == () and "too small" in result.problems[1]
    assert result.warning.count("too small") == 1


def test_enrolment(recognizer):
    embedding = recognizer.enrol(PORTRAIT)
    np.testing.assert_array_equal(embedding, recognizer.embed(PORTRAIT)[0])
    gallery = Gallery(recognizer)
    gallery.add("Eileen Collins", embedding)
    two = np.concatenate([portrait(), portrait()], axis=1)
    with pytest.raises(FaceCountError, match="found 2"):
        recognizer.enrol(two)
    np.testing.assert_allclose(recognizer.enrol(two, largest=True), embedding, atol=0.2)


def test_small_faces_are_enrolled_on_request_only(recognizer, tmp_path):
    small = shrunk(28)
    Image.fromarray(small).save(tmp_path / "small.png")
    with pytest.raises(FaceSizeError, match=r"small\.png: expected a face of at least \d\d pixels, got \d\d") as error:
        recognizer.enrol(tmp_path / "small.png")
    assert error.value.size < error.value.needed == recognizer.operating_point.smallest_good_face
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    np.testing.assert_array_equal(recognizer.enrol(small, allow_small=True), recognizer.embed(small)[0])


# --------------------------------------------------------------------------------------------------
# Copies


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Recognizer:
    path = save_random_recognizer(tmp_path_factory.mktemp("weights") / "plain.safetensors")
    recognizer = Recognizer(path, threads=2, flip=True)
    path.unlink()  # copies have the weights with them
    return recognizer


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies(plain, copied):
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)
    expected = plain.embed_crops(crops)
    assert plain.detector is not None  # the default detector does not get in the way
    other = copied(plain)
    assert (other.threads, other.flip, other.weights.sha256) == (2, True, plain.weights.sha256)
    assert other.operating_point == plain.operating_point
    np.testing.assert_array_equal(other.embed_crops(crops), expected)


@pytest.mark.slow
def test_a_pool_of_new_processes(plain):
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(plain.embed_crops, (crops,)), plain.embed_crops(crops))


def test_galleries_of_an_earlier_file_of_the_network(plain, tmp_path):
    gallery = Gallery(plain)
    gallery.add("Ann", np.eye(plain.dimension)[0])
    gallery.save(tmp_path / "g")
    metadata = {**plain.weights.metadata, "earlier_sha256": [plain.weights.sha256]}
    newer = Recognizer(replace(plain.weights, metadata=metadata, sha256="0" * 64))
    assert Gallery.load(tmp_path / "g", newer).names == ("Ann",)


def test_the_shipped_network_reads_galleries_of_its_first_file():
    first = "1239c39bc4bafd83a9c2ce545fec27780af06274830b9d0f5159a8a357d24bc0"
    assert first in (Recognizer().weights.sha256, *Recognizer().weights.earlier_sha256)


def test_the_shipped_network_states_rates_for_small_faces():
    point = Recognizer().operating_point
    assert 5 * point.false_accept_rate < point.rates_at(16)[0] < 20 * point.false_accept_rate
    assert point.is_too_small(15)  # below the smallest size measured
    assert not point.is_too_small(16)
    assert point.is_small(24)
    assert not point.is_small(32)
    assert Path(Recognizer().weights.path).with_suffix(".md").read_text().count("Small faces") == 1
