"""``python -m benchmarks pareto``: AP of the settings that are timed, all in turns, and the front through the best."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import commands, pareto
from benchmarks.pareto import Result, Setting, average_precision, front, in_turns, rows, sentence, settings
from benchmarks.timing import Timing
from cascade.datasets import DatasetError
from cascade.detect import THRESHOLDS, Detector
from cascade.models.detector import load_detector
from eval.baselines import client
from eval.baselines.client import BaselineError
from eval.detection import running
from eval.detection.test_sets import read_set
from tests.benchmarks.helpers import run
from tests.photos import FACE_BOX, portrait

SMALL = ("--set", "fddb_single", "--scale-factors", 0.5, 0.709, "--pnet-thresholds", THRESHOLDS[0], "--runs", 2)
X1, Y1, X2, Y2 = FACE_BOX


def result(ms, ap, label="default", factor=0.709, pnet=0.5):
    return Result(timing(label, ms), ap, Setting(label, label, factor, (pnet, 0.5, 0.8)))


def timing(name, ms):
    return Timing(name, [ms, ms], np.empty((0, 4), np.float32))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder whose one set is the portrait, with its face labelled."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "fddb_single"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), portrait()[..., ::-1])
    box = [X1, Y1, X2 - X1, Y2 - Y1]
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 512, "height": 512}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return root


class StubBaseline:
    """A baseline that takes 5 ms in every detection; ``fails`` is where it fails."""

    fails: str | None = None
    closed: list[str] = []  # noqa: RUF012

    def __init__(self, name, python, threads, device, yunet_model):
        assert (threads, device) == (1, "cpu")
        self.name, self.version = name, "1.0"

    def open(self, image, min_face):
        assert cv2.imread(str(image)).shape == (480, 640, 3)
        if self.fails == "open":
            raise BaselineError(f"{self.name}: cannot")

    def detect(self):
        if self.fails == "detect":
            raise BaselineError(f"{self.name}: broke")
        return 5.0, np.zeros((3, 4), np.float32)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed.append(self.name)


# --------------------------------------------------------------------------------------------------
# Settings and the front


def test_settings_are_all_combinations_once():
    made = settings([("a", "default"), ("b", "folder")], [0.5, 0.709, 0.5], [0.3, 0.5], [0.4, 0.5])
    assert len(made) == len(set(made)) == 2 * 2 * 2 * 2
    assert {(s.label, s.weights) for s in made} == {("a", "default"), ("b", "folder")}
    assert {s.thresholds for s in made} == {(p, r, THRESHOLDS[2]) for p in (0.3, 0.5) for r in (0.4, 0.5)}
    with pytest.raises(ValueError, match="'a'"):
        settings([("a", "x"), ("a", "y")], [0.5], [0.5], [0.5])


def test_defaults_are_those_of_a_detector():
    plain = Detector(threads=1)
    assert Setting("default", "default", plain.scale_factor, plain.thresholds).default
    assert not Setting("default", "default", 0.6, plain.thresholds).default
    made = Setting("x", "default", 0.6, (0.3, 0.4, 0.5)).detector(24)
    assert (made.scale_factor, made.thresholds, made.min_face, made.threads) == (0.6, (0.3, 0.4, 0.5), 24, 1)


def test_the_front_rises():
    fast, best = result(1.0, 0.5), result(4.0, 0.9)
    beaten = [result(2.0, 0.5), result(3.0, 0.4), result(9.0, 0.9), result(4.0, 0.8)]
    baseline = Result(timing("baseline", 0.5), 0.99)
    assert front([*beaten, best, baseline, fast]) == [fast, best]
    assert front([baseline]) == []


def test_a_setting_is_told_what_beats_it():
    best = [result(1.0, 0.5, factor=0.5), result(4.0, 0.9, factor=0.6)]
    assert sentence(best[1], best).endswith("AP 0.9000 in 4.0 ms, on the front")
    said = sentence(result(5.0, 0.4), best)
    assert "at AP by default, scale_factor 0.6, thresholds 0.5/0.5/0.8 (AP 0.9000, 4.0 ms)" in said
    assert said.endswith("at time by default, scale_factor 0.5, thresholds 0.5/0.5/0.8 (AP 0.5000, 1.0 ms)")


def test_rows_are_by_set_and_time():
    some = [result(4.0, 0.9), Result(timing("baseline", 2.0), 0.1), result(3.0, 0.2, "b"), result(1.0, 0.5)]
    found = [dict(zip(pareto.HEADER, row, strict=True)) for row in rows(some)]
    assert [(row["detector"], row["median_ms"]) for row in found] == [
        ("default", 1.0),
        ("default", 4.0),
        ("b", 3.0),
        ("baseline", 2.0),
    ]
    assert [row["on_front"] for row in found] == [1, 1, 0, None]
    assert found[3]["scale_factor"] is None and found[3]["ap"] == 0.1
    lines = pareto.table(some).splitlines()
    assert len(lines) == 6 and lines[2].endswith("*")


# --------------------------------------------------------------------------------------------------
# Measuring


def test_all_detect_once_a_round_in_changing_order():
    log = []
    detectors = [(name, lambda name=name: log.append(name) or (float(len(log)), np.ones((2, 4)))) for name in "abcd"]
    counted = []
    found = in_turns(detectors, 6, lambda: counted.append(1))
    rounds = ["".join(log[k : k + 4]) for k in range(0, 24, 4)]
    assert all(sorted(each) == list("abcd") for each in rounds) and len(set(rounds)) > 2
    assert [(t.name, len(t.times), len(t.boxes)) for t in found] == [(name, 6, 2) for name in "abcd"]
    assert found[0].times == [k + 1.0 for k, name in enumerate(log) if name == "a"]
    assert len(counted) == 24


def test_ap_is_of_the_thresholds_timed_but_onets(data, monkeypatch):
    seen = []
    plain = running.run
    monkeypatch.setattr(running, "run", lambda photos, ours: seen.append(ours.detector) or plain(photos, ours))
    test_set = replace(read_set(data, "fddb_single"), min_size=30.0)
    ap = average_precision(Setting("x", "default", 0.6, (0.7, 0.6, 0.8)), test_set, "AP")
    assert ap == 1.0
    assert (seen[0].thresholds, seen[0].scale_factor) == ((0.7, 0.6, pareto.SCORE_FLOOR), 0.6)
    assert seen[0].min_face == 30


def test_a_set_that_gives_no_ap_is_named(data, tmp_path):
    setting = Setting("x", "default", 0.5, THRESHOLDS)
    large = replace(read_set(data, "fddb_single"), min_size=100.0)
    with pytest.raises(DatasetError, match="fddb_single: no face of 100 pixels"):
        average_precision(setting, large, "AP")
    broken = replace(large.photos[0], path=tmp_path / "broken.png")
    broken.path.write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"broken\.png"):
        average_precision(setting, replace(large, photos=(broken,)), "AP")


# --------------------------------------------------------------------------------------------------
# The command


def test_table_files_and_picture(capsys, data, monkeypatch, tmp_path):
    out, asked = tmp_path / "out", []

    def predict(baselines, data, photos, folder, *, threads, yunet_model):
        """Finds the face a little off, and something beside it."""
        asked.append((baselines, photos, folder.name, threads))
        content = {"photos": {"fddb_single/1.png": [[X1, Y1, X2, Y2 - 5, 0.9], [0, 0, 30, 30, 0.95]]}}
        (tmp_path / "found.json").write_text(json.dumps(content))
        return {name: tmp_path / "found.json" for name, _ in baselines}

    monkeypatch.setattr(commands, "BaselineProcess", StubBaseline)
    monkeypatch.setattr(client, "predict", predict)
    baselines = ("--baseline", "facenet-pytorch=python", "--baseline", "mtcnn=python")
    arguments = ("pareto", "--data", data, *SMALL, *baselines, "--min-face", 30, "--out", out)
    status, said, errors = run(capsys, *arguments)
    assert status == 0 and errors == []
    named = [("facenet-pytorch", "python"), ("mtcnn", "python")]
    assert asked == [(named, [(30.0, "fddb_single/1.png")], "fddb_single_30", 1)]
    assert [line.split()[0] for line in said[2:6]] == ["default", "default", "facenet-pytorch", "mtcnn"]
    assert any("0.709" in line and ("on the front" in line or "beaten" in line) for line in said[6:])
    with open(out / "pareto.csv", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert list(found[0]) == list(pareto.HEADER)
    assert {row["scale_factor"] for row in found[:2]} == {"0.5", "0.709"} and found[0]["on_front"] == "1"
    assert [float(row["ap"]) for row in found[:2]] == [1.0, 1.0] and {row["faces"] for row in found[:2]} == {"6"}
    theirs = {row["detector"]: row for row in found[2:]}
    assert {name: row["ap"] for name, row in theirs.items()} == {"facenet-pytorch": "0.5", "mtcnn": "0.5"}
    assert {row["median_ms"] for row in found[2:]} == {"5"}
    written = json.loads((out / "pareto.json").read_text())
    assert written["weights"] == {"default": load_detector().sha256} and written["baselines"]["mtcnn"] == "1.0"
    assert (written["set"], written["min_face"], written["runs"], written["width"]) == ("fddb_single", 30, 2, 640)
    assert [len(point["times_ms"]) for point in written["points"]] == [2] * 4
    assert (cv2.imread(str(out / "pareto.png")) < 200).any(axis=2).mean() > 0.01


def test_labels_in_the_picture_do_not_overlap(monkeypatch, tmp_path):
    from matplotlib.text import Text

    from benchmarks import pareto_plot

    charts = []
    monkeypatch.setattr(pareto_plot, "save", lambda chart, file: charts.append(chart))
    random = np.random.default_rng(0)
    some = [
        result(float(ms), 0.7 + 0.05 * np.log10(ms) + random.uniform(-0.01, 0.01), label, pnet=float(pnet))
        for label in "abcd"
        for ms in random.uniform(5, 30, 12)
        for pnet in (0.3, 0.5)
    ]
    baselines = [Result(timing("near", 20.0), 0.77), Result(timing("far", 400.0), 0.8)]
    pareto_plot.draw(tmp_path / "x.png", [*some, *baselines], "title", "x", "y")
    panel = charts[0].axes[0]
    charts[0].draw_without_rendering()
    texts = panel.texts
    assert {"near", "far"} <= {text.get_text() for text in texts} and len(texts) >= 5
    boxes = [Text.get_window_extent(text) for text in texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    inside = panel.get_window_extent()
    assert all(inside.contains(*box.min) and inside.contains(*box.max) for box in boxes)


@pytest.mark.parametrize(("where", "words"), [("open", "cannot"), ("detect", "broke")])
def test_a_failing_baseline_ends_the_run_in_a_line(where, words, capsys, data, monkeypatch, tmp_path):
    monkeypatch.setattr(StubBaseline, "fails", where)
    monkeypatch.setattr(StubBaseline, "closed", [])
    monkeypatch.setattr(commands, "BaselineProcess", StubBaseline)
    monkeypatch.setattr(pareto, "average_precision", None)
    out = tmp_path / "out"
    status, said, errors = run(capsys, "pareto", "--data", data, *SMALL, "--baseline", "mtcnn=python", "--out", out)
    assert (status, said, len(errors)) == (2, [], 1) and f"mtcnn: {words}" in errors[0]
    assert StubBaseline.closed == ["mtcnn"] and not out.exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--weights", "default", "b=nowhere"], "nowhere"),
        (["--weights", "one/weights", "two/weights"], "'weights'"),
        (["--weights", "b="], "--weights"),
        (["--set", "no_face"], "--set"),
        (["--scale-factors", "2"], "scale_factor"),
        (["--pnet-thresholds", "1.5"], "thresholds"),
        (["--image", "nowhere.jpg"], "nowhere.jpg"),
        (["--baseline", "retina=python"], "--baseline"),
        (["--runs", "0"], "--runs"),
    ],
)
def test_a_bad_argument_is_one_line(arguments, word, capsys, data, monkeypatch, tmp_path):
    monkeypatch.setattr(pareto, "in_turns", None)
    monkeypatch.chdir(tmp_path)
    given = ("pareto", "--data", data, "--set", "fddb_single", "--out", Path("out"), *arguments)
    status, said, errors = run(capsys, *given)
    assert (status, said, len(errors)) == (2, [], 1) and word in errors[0] and "error" in errors[0]


def test_data_and_out_are_needed(capsys):
    for given in (["--data", "x"], ["--out", "y"]):
        status, _, errors = run(capsys, "pareto", *given)
        assert status == 2 and len(errors) == 1


def test_a_picture_without_matplotlib_is_told_before_anything_is_measured(capsys, data, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(pareto, "settings", None)
    status, said, errors = run(capsys, "pareto", "--data", data, "--out", tmp_path / "out")
    assert (status, said, len(errors)) == (2, [], 1) and "matplotlib" in errors[0]
