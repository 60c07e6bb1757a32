"""``cascade detect --demo``."""

from __future__ import annotations

import numpy as np

from cascade.cli import main
from cascade.imaging.reading import read_image
from tests.cli.helpers import (
    names,
    records,
)
from tests.photos import PORTRAIT, portrait


def test_demo_with_weights_of_ones_own(run, capsys, tmp_path):
    assert run("--demo", "--min-face", "200", "--out", "out") == 0
    out = capsys.readouterr().out
    assert "public domain" in out
    assert "score 0." in out
    assert names(tmp_path) == ["out/cascade-demo.jpg"]
    assert run("--demo", "--thresholds", "1", "1", "1") == 0
    out = capsys.readouterr().out
    assert "Found 0 faces.\n" in out
    assert str(tmp_path / "cascade-demo.jpg") in out
    assert read_image(tmp_path / "cascade-demo.jpg").shape == portrait().shape


def test_demo(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["detect", "--demo"]) == 0
    assert "Found 1 face:\n" in capsys.readouterr().out
    drawn = read_image(tmp_path / "cascade-demo.jpg").astype(int)
    assert np.abs(drawn - portrait()).max() > 100


def test_the_portrait_with_the_shipped_weights(capsys):
    assert main(["detect", str(PORTRAIT)]) == 0
    [record] = records(capsys.readouterr().out)
    assert len(record["faces"]) == 1
