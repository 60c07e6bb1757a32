"""Peers are asked in their own way, held to the threads, and may fail in any way without taking others along."""

from __future__ import annotations

import importlib.util
import sys
import time

import cv2
import numpy as np
import pytest

from benchmarks import baselines as peers
from benchmarks.baselines import PEERS, Peer, PeerError, installed
from tests.benchmarks import fake_baselines as fake_peers
from tests.benchmarks.helpers import shared
from tests.photos import PORTRAIT


@pytest.fixture
def photo(tmp_path):
    """A file of one colour, red 200 and blue 30."""
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((32, 48, 3), (30, 90, 200), np.uint8))
    return tmp_path / "photo.png"


@pytest.fixture
def black(tmp_path):
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((32, 48, 3), np.uint8))
    return tmp_path / "black.png"


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """A function that installs the fake packages, or others in their place, for workers that start later."""

    def install(**packages):
        folder = tmp_path / "packages"
        folder.mkdir(exist_ok=True)
        monkeypatch.setenv("PYTHONPATH", str(fake_peers.install(folder, **packages)))

    return install


@pytest.mark.parametrize("name", ["facenet-pytorch", "mtcnn", "mtcnn-runtime"])
def test_each_peer_is_told_smallest_face_threads_and_right_colours(name, photo, fakes):
    fakes()
    with Peer(name, sys.executable, threads=3) as peer:
        peer.open(photo, 24)
        spent, boxes = peer.detect()
        assert boxes.tolist() == [[24, 3, 200, 30]] and boxes.dtype == np.float32
        assert spent > 0
        peer.open(photo, 40)
        assert peer.detect()[1][0, 0] == 40
        assert peer.version == "unknown"  # they are in no package


def test_facenet_may_find_nothing_and_take_the_gpu(photo, black, fakes):
    fakes()
    with Peer("facenet-pytorch", sys.executable, 1, device="cuda") as peer:
        peer.open(photo, 20)
        assert peer.detect()[1][0, 3] == 1030
        peer.open(black, 20)
        assert peer.detect()[1].shape == (0, 4)


def test_a_failure_is_one_line_and_the_next_photo_is_tried(photo, black, fakes):
    fakes()
    with Peer("mtcnn-runtime", sys.executable, 1) as peer:
        with pytest.raises(PeerError) as raised:
            peer.open(black, 20)
        assert str(raised.value) == "mtcnn-runtime: ValueError: need at least one array to concatenate"
        with pytest.raises(PeerError, match="no photo is open"):
            peer.detect()
        peer.open(photo, 20)
        assert len(peer.detect()[1]) == 1


def test_what_a_peer_prints_neither_mixes_nor_blocks(photo, fakes):
    fakes(mtcnnruntime=fake_peers.NOISY)
    with Peer("mtcnn-runtime", sys.executable, 1) as peer:
        peer.open(photo, 20)
        for _ in range(3):
            assert peer.detect()[1].shape == (0, 4)


def test_a_peer_that_dies_is_started_again(photo, black, fakes):
    fakes(mtcnnruntime=fake_peers.DYING)
    with Peer("mtcnn-runtime", sys.executable, 1) as peer:
        peer.open(photo, 20)
        with pytest.raises(PeerError, match="mtcnn-runtime: its process ended: last words"):
            peer.open(black, 20)
        peer.open(photo, 20)
        assert peer.detect()[1].shape == (0, 4)


def test_a_peer_that_does_not_answer_is_ended(photo, fakes, monkeypatch):
    fakes(mtcnnruntime=fake_peers.SLEEPING)
    monkeypatch.setattr(peers, "PATIENCE", 1.0)
    started = time.perf_counter()
    within = pytest.raises(PeerError, match="mtcnn-runtime: no answer within 1 s")
    with Peer("mtcnn-runtime", sys.executable, 1) as peer, within:
        peer.open(photo, 20)
    assert time.perf_counter() - started < 30


def test_a_missing_interpreter_package_or_model_is_named(photo, tmp_path):
    with Peer("yunet", str(tmp_path / "nowhere"), 1) as peer, pytest.raises(PeerError, match=r"cannot run .*nowhere"):
        peer.open(photo, 20)
    model = tmp_path / "no.onnx"
    with Peer("yunet", sys.executable, 1, yunet_model=model) as peer, pytest.raises(PeerError, match=r"no\.onnx"):
        peer.open(photo, 20)
    if importlib.util.find_spec("mtcnnruntime") is None:
        with (
            Peer("mtcnn-runtime", sys.executable, 1) as peer,
            pytest.raises(PeerError, match=r"onnxruntime|mtcnnruntime"),
        ):
            peer.open(photo, 20)


def test_no_process_is_left(photo, fakes):
    fakes()
    with Peer("mtcnn-runtime", sys.executable, 1) as peer:
        peer.open(photo, 20)
        process = peer._process
        assert process.poll() is None
    assert process.poll() is not None


def test_yunet_finds_the_portrait_s_face():
    model = shared("peers/yunet/yunet_n_640_640.onnx")
    with Peer("yunet", sys.executable, 1, yunet_model=model) as peer:
        peer.open(PORTRAIT, 20)
        boxes = peer.detect()[1]
        assert len(boxes) == 1 and abs(boxes[0] - (182, 74, 270, 178)).max() < 25
        assert peer.version.startswith("OpenCV")


def test_installed_says_what_is_not_there(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found, left_out = installed("model.onnx")
    assert found == {} and [reason.split()[0] for reason in left_out] == list(PEERS)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert installed(None)[1] == ["yunet (needs --yunet-model FILE.onnx)"]
    assert installed("model.onnx") == (dict.fromkeys(PEERS, sys.executable), [])
