"""Training in several processes."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from tests.train.packed_faces import SETTINGS
from tests.train.runs import rows, state
from tests.train.torchrun import run_in_two_processes
from train.recognition.batches import Batch


def test_a_batch_on_the_cpu_stays_there():
    batch = Batch(torch.zeros(1, 3, 2, 2), torch.zeros(1), torch.zeros(1), None)
    assert batch.to(torch.device("cpu")) is batch
    moved = batch.to(torch.device("meta"))
    assert moved.inputs.device.type == moved.ages.device.type == "meta"
    assert moved.teacher is None


PARALLEL = """
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from tests.train.packed_faces import SETTINGS, packed, tiny

from train.recognition import trainer as loop
from train.recognition.architectures import ARCHITECTURES
from train.recognition.trainer import train_recognition
from train.common.device import Processes

ARCHITECTURES["light"] = tiny
loop.LOG_EVERY, loop.SAVE_EVERY = 1, 2
out, processes = Path(sys.argv[1]), Processes.joined()
torch.manual_seed(processes.rank)
plain = dict(decomposed=False, lambda_age=0.0, lambda_adversary=0.0, lambda_distillation=0.0)
few = packed(people=1, photos=40, aged=40)  # of four faces the first process has the name, the second the age
runs = {
    "light": (SETTINGS, packed()),
    "plain": (replace(SETTINGS, **plain), packed()),
    "few": (replace(SETTINGS, batch=4, shares=(1, 1, 2, 0), validation=0.4), few),
}
for name, (settings, faces) in runs.items():
    settings = replace(settings, steps=4)
    model = train_recognition(settings, faces, out / name, processes)
    weights = {key: value.detach() for key, value in model.named_parameters()}
    torch.save(weights, out / f"{name}-{processes.rank}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights(tmp_path):
    run_in_two_processes(PARALLEL, tmp_path)
    for name in ("light", "plain", "few"):
        first, second = (torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
        assert set(first) == set(second)
        for key, tensor in first.items():
            assert torch.equal(tensor, second[key]), (name, key)
        assert [row["step"] for row in rows(tmp_path / name)] == [1, 2, 3, 4]
        assert asdict(SETTINGS).keys() == state(tmp_path / name)["settings"].keys()
