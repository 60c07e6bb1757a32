"""``cascade models``."""

from __future__ import annotations

from cascade import _native
from cascade.cli import console, main
from cascade.models.detector import shipped_detectors
from cascade.nn.architectures import ARCHITECTURES
from tests.cli.helpers import (
    untrained,
)
from tests.random_recognizer import save_random_recognizer


def test_models(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("cascade.models.detector.FOLDER", tmp_path)
    for name in ("paper", "default"):
        untrained(tmp_path / name)
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert out.index("default") < out.index("paper")
    for stage, architecture in ARCHITECTURES["default"].items():
        assert f"{stage}.safetensors" in out
        assert f"{architecture.weights():,}" in out
        assert f"{architecture.multiply_adds() / 1e6:.2f}" in out
        assert f"trained on ({stage}): nothing at all ({stage})" in out
    assert out.count("licence: CC0") == 2
    (tmp_path / "paper/onet.safetensors").write_bytes(b"no")
    assert main(["models"]) == console.SOME_FAILED
    assert "damaged: " in capsys.readouterr().out


def test_models_that_are_shipped(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in shipped_detectors())
    assert "not stated" not in out
    accurate = out[out.index("\naccurate: ") : out.index("\npaper: ")]
    assert "default/pnet.safetensors" in accurate and "default/onet.safetensors" not in accurate


def test_hardware_says_the_levels_of_this_machine(capsys, monkeypatch):
    monkeypatch.setenv("CASCADE_SIMD", "scalar")
    assert main(["models", "--hardware"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == _native.simd_levels()
    assert [line.split()[3].rstrip(",") == "int8" for line in lines] == [
        _native.int8_is_fast(level) for level in _native.simd_levels()
    ]
    assert [line.endswith(", used") for line in lines] == [level == "scalar" for level in _native.simd_levels()]
    monkeypatch.setenv("CASCADE_SIMD", "mmx")
    assert main(["models", "--hardware"]) == console.BAD_USAGE
    assert "CASCADE_SIMD" in capsys.readouterr().err


def test_models_lists_recognizers(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("cascade.models.recognizer.FOLDER", tmp_path / "recognition")
    path = save_random_recognizer(tmp_path / "recognition/light.safetensors")
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "light (recognition, used unless --recognizer names another): " in out
    assert "light.safetensors" in out
    assert "verification: threshold 0.5, false accept rate 0.01" in out
    path.write_bytes(b"no")
    assert main(["models"]) == console.SOME_FAILED
    assert "damaged: " in capsys.readouterr().out
