"""Baselines are asked in their own way, held to the threads, and may fail in any way without taking others along."""

from __future__ import annotations

import importlib.util
import json
import sys
import time

import cv2
import numpy as np
import pytest

from eval.baselines import client
from eval.baselines.adapters import BASELINES
from eval.baselines.client import BaselineError, BaselineProcess, installed
from tests.eval.baselines import fake_packages
from tests.eval.helpers import shared
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
        monkeypatch.setenv("PYTHONPATH", str(fake_packages.install(folder, **packages)))

    return install


@pytest.mark.parametrize("name", ["facenet-pytorch", "mtcnn", "mtcnn-runtime"])
def test_each_baseline_is_told_smallest_face_threads_and_right_colours(name, photo, fakes):
    fakes()
    with BaselineProcess(name, sys.executable, threads=3) as baseline:
        opened = baseline.open(photo, 24)
        spent, boxes = baseline.detect()
        assert opened.tolist() == boxes.tolist()
        assert boxes.tolist() == [[24, 3, 200, 30]] and boxes.dtype == np.float32
        assert spent > 0
        baseline.open(photo, 40)
        assert baseline.detect()[1][0, 0] == 40
        assert baseline.version == "unknown"  # they are in no package


def test_facenet_may_find_nothing_and_take_the_gpu(photo, black, fakes):
    fakes()
    with BaselineProcess("facenet-pytorch", sys.executable, 1, device="cuda") as baseline:
        baseline.open(photo, 20)
        assert baseline.detect()[1][0, 3] == 1030
        baseline.open(black, 20)
        assert baseline.detect()[1].shape == (0, 4)


def test_mtcnn_runtime_fails_where_it_finds_nothing(black, fakes):
    fakes()
    with BaselineProcess("mtcnn-runtime", sys.executable, 1) as baseline:
        baseline.open(black, 20)
        assert baseline.detect()[1].shape == (0, 4)


def test_a_failure_is_one_line_and_the_next_photo_is_tried(photo, black, fakes):
    fakes()
    with BaselineProcess("mtcnn", sys.executable, 1) as baseline:
        with pytest.raises(BaselineError) as raised:
            baseline.open(black, 20)
        assert str(raised.value) == "mtcnn: RuntimeError: nothing but black"
        with pytest.raises(BaselineError, match="no photo is open"):
            baseline.detect()
        baseline.open(photo, 20)
        assert len(baseline.detect()[1]) == 1


def test_what_a_baseline_prints_neither_mixes_nor_blocks(photo, fakes):
    fakes(mtcnnruntime=fake_packages.NOISY)
    with BaselineProcess("mtcnn-runtime", sys.executable, 1) as baseline:
        baseline.open(photo, 20)
        for _ in range(3):
            assert baseline.detect()[1].shape == (0, 4)


def test_a_baseline_that_dies_is_started_again(photo, black, fakes):
    fakes(mtcnnruntime=fake_packages.DYING)
    with BaselineProcess("mtcnn-runtime", sys.executable, 1) as baseline:
        baseline.open(photo, 20)
        with pytest.raises(BaselineError, match="mtcnn-runtime: its process ended: last words"):
            baseline.open(black, 20)
        baseline.open(photo, 20)
        assert baseline.detect()[1].shape == (0, 4)


def test_a_baseline_that_does_not_answer_is_ended(photo, fakes, monkeypatch):
    fakes(mtcnnruntime=fake_packages.SLEEPING)
    monkeypatch.setattr(client, "PATIENCE", 1.0)
    started = time.perf_counter()
    within = pytest.raises(BaselineError, match="mtcnn-runtime: no answer within 1 s")
    with BaselineProcess("mtcnn-runtime", sys.executable, 1) as baseline, within:
        baseline.open(photo, 20)
    assert time.perf_counter() - started < 30


def test_a_missing_interpreter_package_or_model_is_named(photo, tmp_path, monkeypatch):
    with (
        BaselineProcess("yunet", str(tmp_path / "nowhere"), 1) as baseline,
        pytest.raises(BaselineError, match=r"cannot run .*nowhere"),
    ):
        baseline.open(photo, 20)
    model = tmp_path / "no.onnx"
    with (
        BaselineProcess("yunet", sys.executable, 1, yunet_model=model) as baseline,
        pytest.raises(BaselineError, match=r"no\.onnx"),
    ):
        baseline.open(photo, 20)
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('No module named onnxruntime')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    within = pytest.raises(BaselineError, match="onnxruntime")
    with BaselineProcess("mtcnn-runtime", sys.executable, 1) as baseline, within:
        baseline.open(photo, 20)


def test_no_process_is_left(photo, fakes):
    fakes()
    with BaselineProcess("mtcnn-runtime", sys.executable, 1) as baseline:
        baseline.open(photo, 20)
        process = baseline._process
        assert process.poll() is None
    assert process.poll() is not None


def test_yunet_finds_the_portrait_s_face():
    model = shared("peers/yunet/yunet_n_640_640.onnx")
    with BaselineProcess("yunet", sys.executable, 1, yunet_model=model) as baseline:
        baseline.open(PORTRAIT, 20)
        boxes = baseline.detect()[1]
        assert len(boxes) == 1 and abs(boxes[0] - (182, 74, 270, 178)).max() < 25
        assert baseline.version.startswith("OpenCV")


def test_installed_says_what_is_not_there(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found, left_out = installed("model.onnx")
    assert found == {} and [reason.split()[0] for reason in left_out] == list(BASELINES)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert installed(None)[1] == ["yunet (needs --yunet-model FILE.onnx)"]
    assert installed("model.onnx") == (dict.fromkeys(BASELINES, sys.executable), [])


def test_predictions_are_kept_for_the_same_photos_and_threads_only(photo, fakes, tmp_path):
    fakes()
    (tmp_path / "other.png").write_bytes(photo.read_bytes())

    def found(*names, threads=1):
        baselines = [("facenet-pytorch", sys.executable)]
        photos = [(0.0, name) for name in names]
        (file,) = client.predict(baselines, tmp_path, photos, tmp_path / "kept", threads=threads).values()
        content = json.loads(file.read_text())
        return list(content["photos"]), content["settings"]["threads"], file.stat().st_mtime_ns

    first = found("photo.png")
    assert found("photo.png") == first
    assert found("photo.png", "other.png")[0] == ["photo.png", "other.png"]
    assert found("photo.png", threads=2)[:2] == (["photo.png"], 2)
