"""The commands of detection: options, help and errors."""

from __future__ import annotations

import shutil

import pytest
import torch

import train.__main__ as command_line
from cascade.models.detector import DEFAULT, FOLDER
from tests.train.drawn_sets import cascade, of_data
from train.detection import presets
from train.detection.pipeline import Pipeline


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pnet", "--samples", "nowhere", "--out", "x"], "nowhere"),
        (["cascade", "--data", "nowhere.toml", "--root", ".", "--out", "x"], "nowhere.toml"),
        (["cascade", "--data", "bad.toml", "--root", ".", "--out", "x"], "bad.toml: expected"),
        (
            ["samples", "--stage", "lnet", "--family", "paper", "--data", "bad.toml", "--root", ".", "--out", "x"],
            "stage: expected pnet, rnet, onet, the networks of the paper, got 'lnet'",
        ),
    ],
)
def test_errors_are_told_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("x = 1")
    assert command_line.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "trained"),
    [
        (("--stages", "lnet"), ["lnet"]),
        (("--stages", "rnet", "pnet"), ["pnet", "rnet"]),
        (("--no-landmarks",), ["pnet", "rnet", "onet"]),  # an L-Net would have nothing to learn
        (("--family", "paper"), ["pnet", "rnet", "onet"]),
        (("--family", "small"), ["pnet", "rnet", "onet", "lnet"]),
    ],
)
def test_the_stages_that_are_trained(data, tmp_path, monkeypatch, options, trained):
    stages = []
    monkeypatch.setattr(Pipeline, "stage", lambda self, preset: stages.append(preset.training.stage))
    assert command_line.main(["cascade", *of_data(data), "--out", str(tmp_path / "x"), *options]) == 0
    assert stages == trained


def test_options_of_each_stage(data, tmp_path, monkeypatch):
    settings = {}
    monkeypatch.setattr(
        Pipeline, "stage", lambda self, preset: settings.update({preset.training.stage: preset.training})
    )
    options = ["--stage-steps", "5", "6", "--stage-learning-rates", "1e-3", "2e-3", "--precision", "bfloat16"]
    start = ["--start-weights", str(FOLDER / DEFAULT), "--stages", "lnet", "rnet"]
    assert command_line.main(cascade(data, tmp_path / "x", *options, *start)) == 0
    found = {stage: (chosen.steps, chosen.learning_rate) for stage, chosen in settings.items()}
    assert found == {"lnet": (5, 1e-3), "rnet": (6, 2e-3)}
    assert command_line.main(cascade(data, tmp_path / "x", "--stages", "onet", "--stage-steps", "7")) == 0
    rate = presets.DEFAULT["onet"].training.learning_rate
    onet = settings.pop("onet")
    assert (onet.steps, onet.learning_rate) == (7, rate)
    for stage, chosen in settings.items():
        assert chosen.start == str(FOLDER / DEFAULT / f"{stage}.safetensors")
        assert chosen.precision == "bfloat16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--stage-steps", "5", "6"), "stage-steps: expected one value for each of pnet, rnet, onet, lnet, got 2"),
        (("--stages", "lnet", "--stage-steps", "1", "2"), "stage-steps: expected one value for each of lnet, got 2"),
        (
            ("--no-landmarks", "--stage-learning-rates", *["1e-3"] * 4),
            "stage-learning-rates: expected one value for each of pnet, rnet, onet, got 4",
        ),
        (("--preset", "paper", "--family", "small"), "family: the paper's preset has networks of its own, got 'small'"),
    ],
)
def test_options_that_do_not_fit_the_stages(data, tmp_path, capsys, options, message):
    assert command_line.main(cascade(data, tmp_path / "x", *options)) == 1
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "x").exists()


def test_weights_to_start_from_that_are_not_there(data, tmp_path, capsys):
    """Before P-Net's hour: R-Net would have nothing to begin from."""
    (tmp_path / "w").mkdir()
    shutil.copy(FOLDER / DEFAULT / "pnet.safetensors", tmp_path / "w")
    assert command_line.main(cascade(data, tmp_path / "x", "--start-weights", str(tmp_path / "w"))) == 1
    assert capsys.readouterr().err == f"error: start-weights: {tmp_path / 'w'} has no rnet.safetensors\n"
    assert not (tmp_path / "x").exists()


def test_a_gpu_that_is_not_there(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command_line.main(cascade(data, tmp_path / "x", "--device", "cuda")) == 1
    assert capsys.readouterr().err == "error: device: torch finds no GPU here, so cuda cannot be had\n"
    assert not (tmp_path / "x").exists()


def test_help_needs_nothing(capsys):
    for arguments in (["--help"], ["cascade", "--help"], ["samples", "--help"], ["onet", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            command_line.main(arguments)
        assert stopped.value.code == 0
        assert "usage: python -m train" in capsys.readouterr().out
