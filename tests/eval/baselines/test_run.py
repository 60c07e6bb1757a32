"""Peers beside ours in one command: run in another interpreter, kept for the next time, failures told."""

from __future__ import annotations

import sys

import pytest

from tests.eval.helpers import run_eval, save_data_root, shared, summary


def test_a_peer_runs_beside_ours_and_is_kept(tmp_path):
    model = shared("peers/yunet/yunet_n_640_640.onnx")
    save_data_root(tmp_path / "data")
    out = tmp_path / "out"
    arguments = ["benchmark", "--data", tmp_path / "data", "--out", out, "--set", "fddb_single", "no_face"]
    arguments += ["--threads", 1, "--peer", f"yunet={sys.executable}", "--yunet-model", model]
    assert run_eval(*arguments) == 0
    detectors = summary(out)["detectors"]
    assert list(detectors) == ["cascade", "YuNet"]
    assert detectors["YuNet"]["settings"]["threads"] == 1
    kept = (out / "peers" / "yunet.json").stat().st_mtime_ns
    assert run_eval(*arguments) == 0
    assert (out / "peers" / "yunet.json").stat().st_mtime_ns == kept


def test_a_peer_that_fails_ends_the_run_before_ours(tmp_path, capsys):
    save_data_root(tmp_path / "data")
    arguments = ["benchmark", "--data", tmp_path / "data", "--out", tmp_path / "out", "--set", "no_face"]
    assert run_eval(*arguments, "--peer", f"yunet={sys.executable}") == 1  # YuNet without its weights
    assert "--peer yunet" in capsys.readouterr().err
    assert not (tmp_path / "out" / "summary.json").exists()


@pytest.mark.parametrize("wrong", ["yunet", "yunet=", "retina=python"])
def test_a_peer_is_a_known_detector_and_a_python(tmp_path, wrong, capsys):
    with pytest.raises(SystemExit):
        run_eval("benchmark", "--data", tmp_path, "--out", tmp_path / "out", "--peer", wrong)
    assert "expected" in capsys.readouterr().err
