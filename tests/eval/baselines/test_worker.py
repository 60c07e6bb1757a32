"""The script that runs baselines: its lists, its rows, its settings, and that its files can be evaluated."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from eval.baselines import worker
from eval.baselines.adapters import BASELINES, Options
from eval.baselines.client import WORKER
from eval.detection.predictions import read_predictions
from tests.eval.baselines import fake_packages


def test_rows_that_no_evaluator_takes_are_left_out():
    good = [0.0, 0.0, 9.0, 9.0, 0.5]
    rows = [good, [0, 0, math.nan, 9, 0.5], [9, 0, 0, 9, 0.5], [0, 0, 9, 9, math.inf]]
    assert worker.usable(np.array(rows)) == [good]


def test_lists_hold_sizes_and_names_with_blanks(tmp_path):
    (tmp_path / "list.txt").write_text("12 e/a b.jpg\n\n0 c.jpg\n")
    assert list(worker.listed(tmp_path / "list.txt")) == [(12.0, "e/a b.jpg"), (0.0, "c.jpg")]


def test_file_can_be_evaluated(tmp_path, monkeypatch, capsys):
    def load(options):
        def detect(image, score, min_face):
            # The smallest face that it was asked for, the mean of the first channel, and the lowest score.
            return np.array([[0, 0, 9, 9, min_face / 100, image[..., 0].mean(), score, *[0.0] * 8]])

        return detect

    monkeypatch.setitem(BASELINES, "facenet-pytorch", replace(BASELINES["facenet-pytorch"], load=load))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20, 3), (0, 0, 200), np.uint8))
    (tmp_path / "list.txt").write_text("12 a.png\n0 sub/a.png\n0 missing.png\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "sub/a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "sub/a.png").read_bytes())
    out = tmp_path / "out.json"
    arguments = ["facenet-pytorch", "--data", tmp_path, "--photos", tmp_path / "list.txt", "--out", out]
    assert worker.main([str(each) for each in [*arguments, "--threads", 2]]) == 0
    read = read_predictions(out)
    assert read.default_score == 0.7
    assert read.about["settings"] | {"version": ""} == {
        **{"thresholds": [0.6, 0.7], "min_face": 20.0, "threads": 2, "device": "cpu", "version": ""},
    }
    assert list(read.milliseconds) == ["a.png", "sub/a.png"]
    assert read.milliseconds["a.png"] >= 0
    # It takes RGB, and down to 0.02; without a smallest face its own is told.
    assert read.found["a.png"].rows()[0][4:7] == [0.12, 200.0, worker.SCORE_FLOOR]
    assert read.found["sub/a.png"].rows()[0][4] == 0.2
    assert "missing.png" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.partial"))


def test_a_file_needs_photos(capsys):
    with pytest.raises(SystemExit):
        worker.main(["yunet", "--out", "x.json"])
    assert "--photos" in capsys.readouterr().err


def test_yunet_needs_its_model():
    with pytest.raises(FileNotFoundError, match="--yunet-model"):
        BASELINES["yunet"].load(Options())


@pytest.mark.parametrize("name", ["facenet-pytorch", "mtcnn", "mtcnn-runtime"])
def test_landmarks_come_in_our_order_and_scores_from_the_floor(name, tmp_path, monkeypatch):
    (tmp_path / "packages").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(fake_packages.install(tmp_path / "packages")))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20, 3), (230, 90, 200), np.uint8))
    (tmp_path / "list.txt").write_text("3 a.png\n")
    paths = ["--data", tmp_path, "--photos", tmp_path / "list.txt", "--out", tmp_path / "out.json"]
    # A script in another folder, where nothing of the project is to be imported.
    subprocess.run([sys.executable, str(WORKER), name, *map(str, paths)], cwd=tmp_path, check=True)
    (row,) = json.loads((tmp_path / "out.json").read_text())["photos"]["a.png"]
    assert row == [3, 1, 200, 230, 0.02, *range(10)]


def test_the_worker_imports_nothing_of_the_library(tmp_path):
    code = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
sys.path.insert(0, "the folder of the script")
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
assert "eval.baselines.adapters" in sys.modules
print([name for name in sys.modules if name.split(".")[0] in ("cascade", "benchmarks", "train")], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(WORKER)], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stderr.strip() == "[]"
