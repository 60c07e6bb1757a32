"""The detector's settings: each is checked on construction, by name, and then stays."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade import detect as detection
from cascade.detect import Detector
from cascade.models.detector import DetectorWeights, load_detector
from cascade.models.files import WeightsError
from tests.photos import portrait

Weights = Callable[[str], DetectorWeights]


@pytest.fixture(scope="module")
def weights(random_weights: Callable[[str], Path]) -> Weights:
    """A function from a family to its random weights."""
    return lambda family: load_detector(random_weights(family))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"min_face": 3}, ValueError, "^min_face: expected 4 to 1e\\+06, got 3"),
        ({"min_face": -20}, ValueError, "^min_face: "),
        ({"min_face": math.nan}, ValueError, "^min_face: "),
        ({"min_face": math.inf}, ValueError, "^min_face: "),
        ({"min_face": "20"}, TypeError, "^min_face: expected a number, got str"),
        ({"min_face": None}, TypeError, "^min_face: "),
        ({"min_face": True}, TypeError, "^min_face: "),
        ({"max_face": 19}, ValueError, "^max_face: expected 20 to 1e\\+09, got 19"),
        ({"min_face": 50, "max_face": 49.9}, ValueError, "^max_face: "),
        ({"max_face": math.nan}, ValueError, "^max_face: "),
        ({"max_face": [200]}, TypeError, "^max_face: "),
        ({"scale_factor": 0.49}, ValueError, "^scale_factor: expected 0.5 to 0.95"),
        ({"scale_factor": 1.0}, ValueError, "^scale_factor: "),
        ({"scale_factor": math.nan}, ValueError, "^scale_factor: "),
        ({"scale_factor": "0.7"}, TypeError, "^scale_factor: "),
        ({"thresholds": 0.5}, TypeError, "^thresholds: expected 3 numbers, got float"),
        ({"thresholds": (0.5, 0.5)}, ValueError, "^thresholds: expected 3 numbers, got 2"),
        ({"thresholds": (0.5,) * 4}, ValueError, "^thresholds: expected 3 numbers, got 4"),
        ({"thresholds": (0.5, 1.1, 0.5)}, ValueError, r"^thresholds\[1\]: expected 0 to 1, got 1.1"),
        ({"thresholds": (0.5, 0.5, -0.1)}, ValueError, r"^thresholds\[2\]: "),
        ({"thresholds": (math.nan, 0.5, 0.5)}, ValueError, r"^thresholds\[0\]: "),
        ({"thresholds": "abc"}, TypeError, r"^thresholds\[0\]: "),
        ({"engine": "tensorrt"}, ValueError, "^engine: expected 'native', 'torch' or 'onnx', got 'tensorrt'"),
        ({"engine": None}, ValueError, "^engine: "),
        ({"device": "cuda"}, ValueError, "^device: the native engine runs on the CPU; use engine=\"torch\" for 'cuda'"),
        ({"device": "cuda:1", "precision": "int8"}, ValueError, "^device: the native engine runs on the CPU"),
        ({"engine": "native", "device": "mps"}, ValueError, "^device: the native engine runs on the CPU"),
        ({"threads": 0}, ValueError, "^threads: expected 1 to 256, got 0"),
        ({"threads": -1}, ValueError, "^threads: "),
        ({"threads": 1000}, ValueError, "^threads: "),
        ({"threads": "2"}, TypeError, "^threads: "),
        ({"precision": "float16"}, ValueError, "^precision: expected 'float32' or 'int8', got 'float16'"),
        ({"precision": "int8"}, WeightsError, "^weights: .* no activation ranges, which int8 needs"),
    ],
)
def test_a_wrong_setting_is_named(
    weights: Weights, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Detector(**{"weights": weights("default"), **settings})


@pytest.mark.parametrize("device", ["cuda:99", "a toaster"])
def test_a_wrong_device_is_named(weights: Weights, device: str) -> None:
    with pytest.raises(ValueError, match=r"^device: "):
        Detector(weights=weights("default"), engine="torch", device=device)


@pytest.mark.parametrize("folder", ["no such set", Path("/nowhere/at/all")])
def test_wrong_weights_are_named(folder: str | Path) -> None:
    with pytest.raises(WeightsError, match=f"^weights: .*{folder}"):
        Detector(weights=folder)


def test_numpy_numbers_are_numbers(weights: Weights) -> None:
    detector = Detector(
        np.float32(30), np.int64(90), np.float64(0.7), tuple(np.array([0.5, 0.6, 0.7])), weights=weights("default")
    )
    assert (detector.min_face, detector.max_face, detector.scale_factor) == (30, 90, 0.7)
    assert detector.thresholds == (0.5, 0.6, 0.7)


def test_defaults_are_those_of_the_documentation(weights: Weights) -> None:
    detector = Detector(weights=weights("default"))
    assert (detector.min_face, detector.max_face, detector.scale_factor) == (20, None, 0.709)
    assert detector.thresholds == detection.THRESHOLDS == (0.7, 0.4, 0.8)
    assert 1 <= detector.threads <= 4


def test_weights_are_a_folder_or_what_was_loaded(random_weights: Callable[[str], Path]) -> None:
    folder = random_weights("default")
    expected = Detector(weights=folder).detect(portrait())
    assert len(expected) > 3
    for same in (str(folder), load_detector(folder)):
        np.testing.assert_array_equal(Detector(weights=same).detect(portrait()).boxes, expected.boxes)


@pytest.mark.parametrize("name", ["min_face", "thresholds", "weights", "engine", "something_new"])
def test_settings_cannot_be_changed(weights: Weights, name: str) -> None:
    detector = Detector(weights=weights("default"))
    before = getattr(detector, name, None)
    try:
        with pytest.raises(AttributeError):
            setattr(detector, name, 3)
    finally:
        if getattr(detector, name, None) != before:
            setattr(detector, name, before)
