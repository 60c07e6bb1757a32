"""Figures that only the sets of a data folder have: recall of small faces, and times."""

from __future__ import annotations

import json

import pytest

from cascade.datasets import DatasetError, read_pseudo_labels
from eval.detection.test_sets import LABELS, TestSet, evaluate_detector, read_set
from tests.eval.helpers import found, photo, run_eval, save_data_root, summary

SMALL, MIDDLE, LARGE = [0, 0, 20, 40], [100, 0, 131, 60], [200, 0, 232, 60]
WIDER = "wider/WIDER_val/images/e/1.jpg"
BROKEN = "wider/WIDER_val/images/e/2.jpg"


def test_recall_of_small_faces_is_at_the_default_score():
    faces = photo("a", [SMALL, MIDDLE, LARGE, [300, 0, 319, 40]])
    test_set = TestSet("x", "faces", "", "", 0.0, (faces,))
    rows = found([*SMALL, 0.9], [*MIDDLE, 0.4], [*LARGE, 0.8])
    assert evaluate_detector(test_set, {"a": rows}, 0.5).summary()["recall_20_32"] == 0.5
    assert evaluate_detector(test_set, {"a": rows}, 0.3).summary()["recall_20_32"] == 1.0
    assert evaluate_detector(test_set, {"a": rows.at_least(0.85)}, 0.5).summary()["recall_20_32"] == 0.5
    large = TestSet("x", "faces", "", "", 0.0, (photo("a", [LARGE]),))
    assert evaluate_detector(large, {"a": rows}, 0.5).summary()["recall_20_32"] is None


@pytest.mark.parametrize(("times", "median"), [({WIDER: 30.0, BROKEN: 50.5}, 40.25), ({WIDER: 30.0}, None), ({}, None)])
def test_median_time_needs_every_photo(tmp_path, capsys, times, median):
    root = save_data_root(tmp_path / "data")
    content = {
        "default_score": 0.5,
        "milliseconds": times,
        "settings": {"threads": 2},
        "photos": {WIDER: [], BROKEN: []},
    }
    (tmp_path / "other.json").write_text(json.dumps(content))
    arguments = ("compare", "--data", root, "--set", "wider_val", "--compare", f"other={tmp_path / 'other.json'}")
    assert run_eval(*arguments, "--out", tmp_path / "out") == 0
    assert summary(tmp_path / "out")["detectors"]["other"]["wider_val"]["median_ms"] == median
    printed = capsys.readouterr().out
    assert ("threads: other 2" in printed) == (median is not None)
    assert ("40.2" in printed) == (median is not None)


def test_our_times_come_with_the_predictions(tmp_path, random_weights):
    root = save_data_root(tmp_path / "data")
    arguments = ("--data", root, "--set", "wider_val", "--out", tmp_path / "out")
    weights = ("--weights", random_weights("paper"), "--precision", "float32")
    assert run_eval("benchmark", *arguments, "--threads", 1, *weights) == 0
    ours = summary(tmp_path / "out")["detectors"]["cascade"]
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    # The broken photo has no time, and is none of those evaluated.
    assert list(predictions["milliseconds"]) == [WIDER]
    assert ours["wider_val"]["median_ms"] == predictions["milliseconds"][WIDER] > 0
    assert (ours["settings"]["threads"], ours["settings"]["precision"]) == (1, "float32")


def test_pseudo_labels_come_with_the_repository(tmp_path):
    """The photos do not, and have to be complete."""
    with pytest.raises(DatasetError, match="photos: no such folder"):
        read_set(tmp_path, "photos_holdout")
    (tmp_path / "photos").mkdir()
    listed = read_pseudo_labels(LABELS / "holdout.json.gz", tmp_path / "photos").problems
    assert "300 photos are missing" in str(listed[0])
    with pytest.raises(DatasetError, match="300 photos are missing"):
        read_set(tmp_path, "photos_holdout")
