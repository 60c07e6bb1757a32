"""Metrics: means since the last row, JSON that is cut back on resuming, and no loss that is not finite."""

from __future__ import annotations

import json
import math

import pytest
import torch

from train.common.checkpoints import TrainingError
from train.common.progress import Progress, check_finite, open_metrics

CPU = torch.device("cpu")


def losses(total: float, **others: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in {"total": total, **others}.items()}


def test_rows_are_means_since_the_last_one(tmp_path):
    progress = Progress(tmp_path / "metrics.jsonl", ("total", "age"), 0, 3, "test", CPU)
    progress.add(losses(1.0, age=2.0))
    progress.add(losses(2.0))  # no face of a known age
    progress.write(progress.row(2, 0.5))
    progress.add(losses(5.0, age=1.0))
    progress.write(progress.row(3, 0.25))
    progress.close()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows] == [["total", "age", "step", "rate", "seconds"]] * 2
    assert [(row["total"], row["age"], row["step"], row["rate"]) for row in rows] == [(1.5, 1, 2, 0.5), (5, 1, 3, 0.25)]


def test_a_loss_that_is_not_finite_gives_no_row(tmp_path):
    progress = Progress(tmp_path / "metrics.jsonl", ("total",), 0, 3, "test", CPU)
    progress.add(losses(1.0))
    progress.add(losses(math.inf))
    with pytest.raises(TrainingError, match="the loss is not finite at step 2; lower the learning rate"):
        progress.row(2, 0.5)
    progress.close()
    with pytest.raises(TrainingError, match="block 3: the error is not finite; lower the learning rate"):
        check_finite(math.nan, "block 3: the error is not finite")


def test_other_processes_count_and_do_not_write(tmp_path):
    progress = Progress(None, ("total",), 0, 3, "test", CPU)
    progress.add(losses(4.0))
    row = progress.row(1, 0.5)
    progress.write(row)
    progress.close()
    assert row["total"] == 4 and list(tmp_path.iterdir()) == []


def test_metrics_are_cut_back_to_the_step_that_is_resumed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in (1, 2, 3, 4)))
    with open_metrics(path, 2) as file:
        file.write('{"step": 3, "again": true}\n')
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
        {"step": 3, "again": True},
    ]


def test_a_row_that_was_cut_off_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "tot')
    open_metrics(path, 5).close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert list(tmp_path.iterdir()) == [path]
    path.write_text('{"step": 1, "tot\n{"step": 2}\n')
    with pytest.raises(ValueError, match="Unterminated"):
        open_metrics(path, 5)
