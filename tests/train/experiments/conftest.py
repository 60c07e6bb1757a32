"""Short runs for experiments."""

from __future__ import annotations

import pytest

from tests.train.experiment_runs import make
from train.experiments import runs
from train.experiments.runs import Protocol


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small batches."""
    monkeypatch.setattr(runs, "BATCH", 28)


@pytest.fixture
def protocol(tmp_path) -> Protocol:
    """Six steps of P-Net, which is the fastest; what is said of arms and runs goes for every stage."""
    return Protocol("pnet", make(tmp_path / "samples", "pnet"), tmp_path / "out", "a command", 6)
