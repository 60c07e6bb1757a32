"""What tests of training runs share: their metrics and checkpoints, and the power going off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from train.common.loop import Run


def rows(out: Path) -> list[dict]:
    """The rows of metrics.jsonl."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def without_time(out: Path) -> list[dict]:
    """The rows without what differs from run to run."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(out)]


def state(out: Path) -> dict:
    """The checkpoint."""
    return torch.load(out / "checkpoint.pt", weights_only=True)


def tensors(value) -> list[torch.Tensor]:
    """All tensors and numbers of a nested state, in order."""
    if isinstance(value, dict):
        return [t for key in sorted(value, key=str) for t in tensors(value[key])]
    if isinstance(value, list | tuple):
        return [t for item in value for t in tensors(item)]
    return [torch.as_tensor(value)] if isinstance(value, int | float | torch.Tensor) else []


class Stopped(Exception):
    """The power went off."""


def stop_after(monkeypatch: pytest.MonkeyPatch, kind: type[Run], steps: int) -> None:
    """Lets runs of that kind die right after so many steps."""
    honest = kind.train_step

    def step(run):
        if run.step >= steps:
            raise Stopped
        return honest(run)

    monkeypatch.setattr(kind, "train_step", step)
