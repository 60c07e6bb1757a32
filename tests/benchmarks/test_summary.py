"""``python -m benchmarks summary``: the chart of README."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.summary_plot import read
from cascade import read_image

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
HEADER = "detector,ap,median_ms\n"


def test_draws_the_committed_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--figures", str(FIGURES / "summary.csv"), "--out", str(tmp_path / "chart.png")]) == 0
    assert "chart.png written" in capsys.readouterr().out
    assert read_image(tmp_path / "chart.png").shape == read_image(FIGURES / "summary.png").shape
    assert read(FIGURES / "summary.csv")["cascade"] == (0.882, 6.0)


@pytest.mark.parametrize(
    "text", ["", "detector,ap\na,1\n", "detector,ap,median_ms\n", "detector,ap,median_ms\na,x,1\n"]
)
def test_says_what_is_wrong_with_the_figures(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "figures.csv").write_text(text)
    assert main(["summary", "--figures", str(tmp_path / "figures.csv"), "--out", str(tmp_path / "chart.png")]) == 2
    assert "figures.csv" in capsys.readouterr().err
