"""The script that runs other detectors: its lists, its rows, and that its files can be judged."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from eval.baselines import accuracy as peers
from eval.detection.predictions import read_predictions


def test_rows_that_no_evaluator_takes_are_left_out():
    good = [0.0, 0.0, 9.0, 9.0, 0.5]
    assert peers.usable([good, [0, 0, math.nan, 9, 0.5], [9, 0, 0, 9, 0.5], [0, 0, 9, 9, math.inf]]) == [good]


def test_lists_hold_sizes_and_names_with_blanks(tmp_path):
    (tmp_path / "list.txt").write_text("12 e/a b.jpg\n\n0 c.jpg\n")
    assert list(peers.listed(tmp_path / "list.txt")) == [(12.0, "e/a b.jpg"), (0.0, "c.jpg")]


def test_file_can_be_judged(tmp_path, monkeypatch, capsys):
    def detector(model, threads):
        def detect(image, min_face):
            # Says which smallest face it was asked for, and the mean blue of the image.
            return [[0, 0, 9, 9, min_face / 100, float(image[..., 0].mean()), *[0.0] * 9]]

        return detect, {"detector": "other", "default_score": 0.6}

    monkeypatch.setitem(peers.DETECTORS, "facenet", detector)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20, 3), (200, 0, 0), np.uint8))
    (tmp_path / "list.txt").write_text("12 a.png\n0 missing.png\n")
    out = tmp_path / "out.json"
    arguments = ["peers", "facenet", "--data", tmp_path, "--photos", tmp_path / "list.txt", "--out", out]
    monkeypatch.setattr("sys.argv", [str(each) for each in arguments])
    assert peers.main() == 0
    read = read_predictions(out)
    assert read.default_score == 0.6
    assert list(read.milliseconds) == ["a.png"]
    assert read.milliseconds["a.png"] >= 0
    assert read.found["a.png"].rows()[0][4:6] == [0.12, 200.0]
    assert "missing.png" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.partial"))


def test_yunet_needs_its_model():
    with pytest.raises(SystemExit, match="--model"):
        peers.yunet(None, 1)
