"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.cli import main
from tests.cli.helpers import untrained
from tests.random_recognizer import save_random_recognizer


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(untrained(tmp_path_factory.mktemp("weights") / "untrained"))


@pytest.fixture
def run(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run ``cascade detect`` with the untrained weights, in tmp_path."""
    monkeypatch.chdir(tmp_path)
    return lambda *argv: main(["detect", "--weights", weights, "--min-face", "30", *map(str, argv)])


@pytest.fixture(scope="session")
def recognizer_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_random_recognizer(tmp_path_factory.mktemp("recognition") / "small.safetensors"))


@pytest.fixture(scope="session")
def other_recognizer_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_random_recognizer(tmp_path_factory.mktemp("recognition") / "other.safetensors", seed=1))


@pytest.fixture
def run_recognition(recognizer_weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command with a random recognition network, in tmp_path, with options that make the detector quick."""
    monkeypatch.chdir(tmp_path)
    options = ["--recognizer", recognizer_weights, "--min-face", "40", "--threads", "1"]
    return lambda *argv: main([*map(str, argv), *options])
