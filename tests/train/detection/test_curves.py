"""The picture of a run's losses."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from train.detection.curves import plot_losses


@pytest.mark.parametrize("validation", [{}, {"validation": {"face": 0.4}}])
def test_a_run_with_a_teacher_which_validation_does_not_have(tmp_path, validation):
    rows = [{"total": 1.0, "face": 0.5, "teacher": 0.6, "step": step, "rate": 0.1, "seconds": 1} for step in (100, 200)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row | validation) + "\n" for row in rows))
    plot_losses(tmp_path / "metrics.jsonl", tmp_path / "losses.png")
    width, height = Image.open(tmp_path / "losses.png").size
    assert width > 2 * height  # a panel for each of the two losses
