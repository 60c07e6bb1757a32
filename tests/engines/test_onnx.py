"""The engine of ONNX Runtime against the native one in float32."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra [onnx]")
pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")

from cascade import WeightsError
from cascade.boxes import iou
from cascade.detect import Detector
from cascade.engines import onnx as module
from cascade.engines.base import Engine
from cascade.engines.native import NativeEngine
from cascade.engines.onnx import OnnxEngine
from cascade.faces import Faces
from cascade.models.detector import load_detector, shipped_detectors
from tests.photos import PORTRAIT, portrait

TOLERANCE = 1e-4


def same(found: Faces, expected: Faces) -> None:
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=0.01)  # pixels
    np.testing.assert_allclose(found.landmarks, expected.landmarks, rtol=0, atol=0.01)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=TOLERANCE)


def crowd() -> np.ndarray:
    """The portrait in four sizes, one of them cut off by the border."""
    image = np.full((700, 900, 3), 90, np.uint8)
    image[:512, :512] = portrait()
    image[:256, 600:856] = portrait()[::2, ::2]
    image[560:688, 40:168] = portrait()[::4, ::4]
    image[300:650, 900 - 220 :] = portrait()[60:410, 30:250]
    return image


@pytest.mark.parametrize("name", shipped_detectors())
def test_it_finds_the_same_faces(name: str) -> None:
    found = Detector(engine=OnnxEngine(load_detector(name))).detect(crowd())
    assert len(found) >= 3
    same(found, Detector(weights=name, precision="float32", threads=1).detect(crowd()))


def test_the_outputs_are_those_of_the_native_engine() -> None:
    weights = load_detector()
    engines: list[Any] = [OnnxEngine(weights), NativeEngine(weights)]
    assert all(isinstance(engine, Engine) for engine in engines)
    sizes = [(307, 307), (218, 218), (22, 22), (13, 12)]
    pyramids = [engine.pyramid(portrait(), sizes) for engine in engines]
    scans = [
        e.dense_scan_levels(p.images[1:], [-3.0] * len(p.images[1:])) for e, p in zip(engines, pyramids, strict=True)
    ]
    for found, expected in zip(*scans, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    corners = np.random.default_rng(0).uniform(-30, 480, (300, 2))
    boxes = np.hstack([corners, corners + np.linspace(5, 200, 300)[:, None]])
    for stage in ("rnet", "onet"):
        found, expected = (e.classify_crops(stage, p, boxes) for e, p in zip(engines, pyramids, strict=True))
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OnnxEngine(load_detector())
    level = engine.pyramid(portrait(), [(307, 307)]).images[1]
    expected = engine.dense_scan(level, 0.0)
    monkeypatch.setattr(module, "STRIP_PIXELS", 3000)
    np.testing.assert_allclose(engine.dense_scan(level, 0.0), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 400, 3), (64, 64, 3)])
def test_photos_without_faces(shape: tuple[int, int, int]) -> None:
    assert len(Detector(engine="onnx", threads=1).detect(np.full(shape, 127, np.uint8))) == 0


def test_gray_photos() -> None:
    gray = portrait().mean(axis=2).astype(np.uint8)
    same(Detector(engine="onnx", threads=1).detect(gray), Detector(precision="float32", threads=1).detect(gray))


def test_threads_pickles_and_batches_change_nothing() -> None:
    detector = Detector(engine=OnnxEngine(load_detector(), threads=2))
    expected = detector.detect(PORTRAIT)
    copy = pickle.loads(pickle.dumps(detector))
    assert copy.engine.threads == 2
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(copy.detect, [PORTRAIT] * 6):
            same(found, expected)
    for found in detector.detect_batch([PORTRAIT, PORTRAIT]):
        same(found, expected)


def _in_child(detector: Detector, answers: multiprocessing.SimpleQueue) -> None:
    answers.put(detector.detect(PORTRAIT).boxes)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_it_survives_a_fork() -> None:
    detector = Detector(engine=OnnxEngine(load_detector(), threads=2))
    expected = detector.detect(PORTRAIT).boxes
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(detector, answers))
    child.start()
    np.testing.assert_allclose(answers.get(), expected, rtol=0, atol=0.01)
    child.join(30)
    assert child.exitcode == 0


def test_providers_are_those_of_this_installation() -> None:
    for wrong in ((), ("NoSuchProvider",), "CPUExecutionProvider"):
        with pytest.raises(ValueError, match=r"^providers: expected some of .*CPUExecutionProvider"):
            OnnxEngine(load_detector(), providers=wrong)


@pytest.mark.parametrize(("threads", "kind"), [(0, ValueError), (1.5, ValueError), ("2", TypeError), (True, TypeError)])
@pytest.mark.parametrize("engine", [OnnxEngine, NativeEngine])
def test_threads_are_a_number_of_threads(engine, threads, kind) -> None:
    with pytest.raises(kind, match=r"^threads: expected"):
        engine(load_detector(), threads=threads)


def test_settings_that_it_has_not() -> None:
    with pytest.raises(ValueError, match=r"^device: expected an OnnxEngine with providers"):
        Detector(engine="onnx", device="cuda")
    with pytest.raises(ValueError, match=r"^precision: expected 'float32' or 'int8', got 'float16'"):
        OnnxEngine(load_detector(), precision="float16")  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="int8 is for convolutions with ReLU"):
        Detector(engine="onnx", weights="paper", precision="int8")


def test_int8_finds_the_same_face() -> None:
    found = Detector(engine="onnx", precision="int8", threads=1).detect(PORTRAIT)
    expected = Detector(precision="float32", threads=1).detect(PORTRAIT)
    assert len(found) == len(expected) == 1
    assert iou(found.boxes, expected.boxes)[0, 0] > 0.94  # where 2 pixels on every side leave 0.92
    np.testing.assert_allclose(found.landmarks, expected.landmarks, rtol=0, atol=2)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=0.01)


def test_without_the_extra_the_error_names_it() -> None:
    code = "import sys; sys.modules['onnxruntime'] = None; from cascade import Detector; Detector(engine='onnx')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "ImportError: the onnx engine needs the package onnxruntime" in done.stderr
    assert "cascade-faces[onnx]" in done.stderr
