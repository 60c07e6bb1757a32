"""Curves of recognition runs, whatever was learned and measured."""

from __future__ import annotations

import json

import pytest

from train.recognition.curves import plot_recognition
from train.recognition.losses import LOSSES


@pytest.mark.parametrize(
    ("learned", "measured"),
    [((), {}), (("distillation",), {}), (tuple(LOSSES), {"teacher_cosine": 0.5, "eer": 0.1, "age_mae": 4.0})],
)
def test_what_was_not_learned_or_measured_is_left_out(tmp_path, learned, measured):
    rows = [{name: float(name in learned) for name in LOSSES} | {"total": 1.0, "step": step} for step in (1, 2)]
    rows[-1]["validation"] = measured
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plot_recognition(tmp_path / "metrics.jsonl", tmp_path / "losses.png")
    assert (tmp_path / "losses.png").stat().st_size > 1000
