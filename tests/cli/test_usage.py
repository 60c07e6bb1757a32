"""``cascade`` and ``cascade detect``: help, the version, and wrong options."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cascade.cli
import cascade.detect
from cascade.cli import console, detect, main
from cascade.version import __version__
from tests.cli.helpers import (
    command,
    names,
    photo,
)


def test_alone_it_prints_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "detect" in out
    assert "models" in out
    assert "examples:" in out


@pytest.mark.parametrize("argv", [["--help"], ["detect", "--help"], ["models", "--help"]])
def test_help(argv, capsys):
    assert main(argv) == 0
    assert "usage: cascade" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cascade {__version__}\n"


def test_runs_as_a_module():
    process = command("--version")
    assert process.communicate()[0] == f"cascade {__version__}\n"
    assert process.returncode == 0


def test_help_names_the_detectors_defaults(capsys):
    main(["detect", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    defaults = {n: p.default for n, p in inspect.signature(cascade.detect.Detector).parameters.items()}
    assert set(detect.SETTINGS) == set(defaults)
    for name in ("min_face", "scale_factor"):
        assert f"(default: {defaults[name]})" in text
    assert f"(default: {' '.join(map(str, defaults['thresholds']))})" in text
    assert f"default: {defaults['engine']}" in text
    assert defaults["precision"] is None and "default: int8 if the weights have activation ranges and" in text


def test_commands_import_nothing_heavy_before_they_run():
    code = (
        "import sys, types; sys.modules['cascade'] = package = types.ModuleType('cascade');"
        f"package.__path__ = [{str(Path(cascade.detect.__file__).parent)!r}];"
        "from cascade.cli import main; main(['detect', '--help']);"
        "heavy = {'numpy', 'cv2', 'torch', 'tqdm', 'safetensors'} & set(sys.modules); assert not heavy, heavy"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["frobnicate"], "invalid choice"),
        (["models", "default"], "unrecognized arguments: default"),
        (["detect"], "name a photo or a folder"),
        (["detect", "a.jpg", "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["detect", "a.jpg", "--draw"], "--out DIR"),
        (["detect", "a.jpg", "--crop"], "--out DIR"),
        (["detect", "a.jpg", "--demo"], "--demo takes no PATH"),
        (["detect", "a.jpg", "--format", "xml"], "--format"),
        (["detect", "a.jpg", "--thresholds", "0.5", "0.5"], "expected 3 arguments"),
        (["detect", "a.jpg", "--device", "cuda"], "--engine torch"),
        (["detect", "a.jpg", "--precision", "float16"], "--precision"),
        (["detect", "a.jpg"], "a.jpg: there is no such file or folder"),
        (["detect", ""], "'': there is no such file or folder"),
    ],
)
def test_bad_usage(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == console.BAD_USAGE
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-face", "2"], "--min-face: expected 4 to"),
        (["--min-face", "nan"], "--min-face: expected 4 to"),
        (["--max-face", "5"], "--max-face: expected"),
        (["--scale-factor", "2"], "--scale-factor: expected"),
        (["--thresholds", "0.5", "7", "0.5"], "--thresholds: expected 0 to 1, got 7.0"),
        (["--threads", "0"], "--threads: expected"),
        (["--weights", "no such set"], "no such set"),
    ],
)
def test_bad_settings_are_named_as_options(options, message, run, capsys, tmp_path):
    assert run(photo(tmp_path / "a.jpg"), *options) == console.BAD_USAGE
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""


def test_damaged_weights(run, weights, capsys, tmp_path):
    copy = tmp_path / "weights"
    shutil.copytree(weights, copy)
    (copy / "rnet.safetensors").write_bytes(b"no")
    assert run(photo(tmp_path / "a.jpg"), "--weights", copy) == console.BAD_USAGE
    assert "rnet.safetensors" in capsys.readouterr().err
