"""The device that trains, and the processes of torchrun."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed

from train.common.checkpoints import TrainingError

Result = TypeVar("Result")

LONGEST_WAIT = timedelta(hours=12)
"""Of a process for the others: torch's ten to thirty minutes are short while the first one finds all faces of a set."""


def chosen_device(name: str | None = None) -> torch.device:
    """The device of that name; the first GPU if there is one, or the CPU, if none is named. Raises TrainingError."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device: torch finds no GPU here, so cuda cannot be had")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


@dataclass(frozen=True)
class Processes:
    """Number of this process, how many there are, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def alone(cls) -> Processes:
        """One process, on the first GPU if there is one."""
        return cls(0, 1, chosen_device())

    @classmethod
    def joined(cls) -> Processes:
        """This process among those of torchrun, if that started it; each takes the GPU of its number."""
        if "WORLD_SIZE" not in os.environ:
            return cls.alone()
        on_gpu = torch.cuda.is_available()
        local = int(os.environ.get("LOCAL_RANK", "0"))
        device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
        if on_gpu:
            torch.cuda.set_device(device)
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=LONGEST_WAIT)
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size(), device)

    def wait(self) -> None:
        """Waits until all of them have come here."""
        if self.world > 1:
            torch.distributed.barrier()

    def after_first(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns. The first process does it alone, and the others then find the files that it wrote."""
        if self.rank:
            self.wait()
            return work()
        found = work()
        self.wait()
        return found
