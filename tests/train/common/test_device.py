"""The device that trains."""

from __future__ import annotations

import pytest
import torch

from train.common.checkpoints import TrainingError
from train.common.device import Processes, chosen_device


def test_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device().type == chosen_device("cpu").type == "cpu"
    with pytest.raises(TrainingError, match="device: torch finds no GPU"):
        chosen_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_device().type == chosen_device("cuda").type == "cuda"
    assert chosen_device("cpu").type == "cpu"


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    found = Processes.joined()
    assert (found.rank, found.world) == (0, 1)
