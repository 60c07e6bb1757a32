"""``cascade export onnx``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cascade.cli import main
from cascade.cli.console import BAD_USAGE, SOME_FAILED

pytest.importorskip("onnx", reason="needs the extra [onnx]")


def test_the_networks_that_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "models"
    assert main(["export", "onnx", "landmarks", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.split("  ")[0]).name for line in lines] == ["landmarks.onnx", "manifest.json"]
    assert lines[0].startswith(f"{out / 'landmarks.onnx'}  {(out / 'landmarks.onnx').stat().st_size:,} bytes")
    assert list(json.loads((out / "manifest.json").read_text("utf-8"))["files"]) == ["landmarks.onnx"]


def test_the_tasks_that_are_named(tmp_path: Path) -> None:
    argv = ["export", "onnx", "--out", str(tmp_path), "attributes", "--tasks", "smile"]
    assert main(argv) == 0
    outputs = json.loads((tmp_path / "manifest.json").read_text("utf-8"))["files"]["attributes.onnx"]["outputs"]
    assert list(outputs) == ["smile_probabilities"]


def test_a_detector_of_other_weights(weights: str, tmp_path: Path) -> None:
    assert main(["export", "onnx", "detector", "--weights", weights, "--out", str(tmp_path)]) == 0
    files = json.loads((tmp_path / "manifest.json").read_text("utf-8"))["files"]
    assert files["pnet.onnx"]["metadata"]["licence"] == "CC0"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["pnet"], "networks: expected some of detector, recognizer, attributes, landmarks, got 'pnet'"),
        (["attributes", "--tasks", "beauty"], "tasks: expected some of age, gender"),
        (["detector", "--weights", "none"], "weights: expected a folder or one of default"),
        (["landmarks", "--landmark-weights", __file__], "cannot be read as safetensors"),
    ],
)
def test_wrong_options(argv: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "onnx", *argv, "--out", str(tmp_path / "out")]) == BAD_USAGE
    assert message in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_an_out_that_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["export", "onnx", "landmarks", "--out", str(tmp_path / "file")]) == BAD_USAGE
    assert "this is a file, not a folder" in capsys.readouterr().err
    (tmp_path / "out" / "landmarks.onnx").mkdir(parents=True)
    assert main(["export", "onnx", "landmarks", "--out", str(tmp_path / "out")]) == SOME_FAILED
    assert "cannot write" in capsys.readouterr().err


def test_without_the_extra_the_command_names_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        f"from cascade.cli import main; sys.exit(main(['export', 'onnx', '--out', {os.fspath(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, "cascade-faces[onnx]" in done.stderr) == (BAD_USAGE, True)
    assert not (tmp_path / "out").exists()
