"""Baselines beside ours in one command: run in another interpreter, kept for the next time, failures told."""

from __future__ import annotations

import sys

import pytest

from tests.eval.helpers import run_eval, save_data_root, shared, summary


def test_a_baseline_runs_beside_ours_and_is_kept(tmp_path):
    model = shared("peers/yunet/yunet_n_640_640.onnx")
    save_data_root(tmp_path / "data")
    out = tmp_path / "out"
    arguments = ["benchmark", "--data", tmp_path / "data", "--out", out, "--set", "fddb_single", "no_face"]
    arguments += ["--threads", 1, "--baseline", f"yunet={sys.executable}", "--yunet-model", model]
    assert run_eval(*arguments) == 0
    detectors = summary(out)["detectors"]
    assert list(detectors) == ["cascade", "YuNet"]
    settings = detectors["YuNet"]["settings"]
    assert (settings["threads"], settings["nms"], detectors["YuNet"]["default_score"]) == (1, 0.45, 0.6)
    equal = {name: each["fddb_single"]["recall_at_false_positives_of"]["YuNet"] for name, each in detectors.items()}
    assert equal["cascade"]["false_positives"] == equal["YuNet"]["false_positives"]
    assert equal["YuNet"]["recall"] == detectors["YuNet"]["fddb_single"]["recall"] == 1
    assert "YuNet's 0 false positives" in (out / "table.md").read_text()
    kept = (out / "baselines" / "yunet.json").stat().st_mtime_ns
    assert run_eval(*arguments) == 0
    assert (out / "baselines" / "yunet.json").stat().st_mtime_ns == kept


def test_a_baseline_that_fails_ends_the_run_before_ours(tmp_path, capsys):
    save_data_root(tmp_path / "data")
    arguments = ["benchmark", "--data", tmp_path / "data", "--out", tmp_path / "out", "--set", "no_face"]
    assert run_eval(*arguments, "--baseline", f"yunet={sys.executable}") == 1  # YuNet without its weights
    assert "--baseline yunet" in capsys.readouterr().err
    assert not (tmp_path / "out" / "summary.json").exists()


@pytest.mark.parametrize("wrong", ["yunet", "yunet=", "retina=python"])
def test_a_baseline_is_a_known_detector_and_a_python(tmp_path, wrong, capsys):
    with pytest.raises(SystemExit):
        run_eval("benchmark", "--data", tmp_path, "--out", tmp_path / "out", "--baseline", wrong)
    assert "expected" in capsys.readouterr().err
