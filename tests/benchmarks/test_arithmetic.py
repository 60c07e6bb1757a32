"""``python -m benchmarks arithmetic``: the crops are held, the operations counted, the share of the peak told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.arithmetic import FixedCandidatesDetector, measure, random_weights, windows
from benchmarks.scenes import scene
from cascade.engines.native import NativeEngine
from cascade.models.detector import load_detector
from cascade.nn.architectures import ARCHITECTURES
from eval.detection.operations import dense_scan_multiply_adds
from tests.benchmarks.helpers import run


def test_each_stage_classifies_the_given_number_of_windows():
    photo = scene("one", 160, 120).image
    detector = FixedCandidatesDetector((37, 5), photo, weights=random_weights("paper"), min_face=24, threads=1)
    detector.detect(photo)
    paper, counted = ARCHITECTURES["paper"], detector.multiply_adds
    assert counted["rnet"] == 37 * paper["rnet"].multiply_adds()
    assert counted["onet"] == 5 * paper["onet"].multiply_adds()
    assert counted["pnet"] > dense_scan_multiply_adds(paper["pnet"], 80, 60)


def test_windows_are_squares_in_the_photo_and_always_the_same():
    found = windows(200, 640, 480)
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], rtol=1e-4)
    assert sides.min() >= 19.9
    assert sides.max() > 100
    assert (found.boxes >= 0).all()
    assert (found.boxes <= np.array([640, 480, 640, 480]) + 0.1).all()
    np.testing.assert_array_equal(found.boxes, windows(200, 640, 480).boxes)


def test_rate_is_operations_over_the_median_time():
    found = measure(scene("none", 160, 120).image, random_weights("default"), (3, 2), 30, 3)
    assert len(found.times) == 3
    assert found.gflops == pytest.approx(found.gflop / (1e-3 * np.median(found.times)))


def test_arithmetic_is_of_float32_as_the_peak_is(monkeypatch):
    made = []
    plain = NativeEngine.__init__
    monkeypatch.setattr(
        NativeEngine, "__init__", lambda self, *a, **k: plain(self, *a, **k) or made.append(self.precision)
    )
    measure(scene("none", 160, 120).image, load_detector(), (3, 2), 30, 1)
    assert made == ["float32"]


def test_command(capsys, tmp_path):
    options = ("--size", "160x120", "--crops", 20, 4, "--runs", 2, "--out", tmp_path / "out")
    status, said, wrong = run(capsys, "arithmetic", *options)
    assert (status, wrong) == (0, [])
    assert said[0].startswith("peak of one core: ")
    assert "group, networks paper, random, min_face 20, 20 crops for R-Net and 4 for O-Net: " in said[1]
    assert said[1].endswith("% of the peak")
    record = json.loads((tmp_path / "out" / "arithmetic.json").read_text())
    assert record["crops"] == [20, 4]
    assert len(record["times_ms"]) == 2


@pytest.mark.parametrize("options", [("--crops", 0, 5), ("--crops", 5), ("--weights", "nowhere"), ("--family", "x")])
def test_wrong_options_are_one_line(capsys, options):
    status, said, wrong = run(capsys, "arithmetic", *options)
    assert (status, said, len(wrong)) == (2, [], 1)
