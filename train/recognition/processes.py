"""The process that trains, alone or as one of several that torchrun started, and its device."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
import torch.distributed

from train.recognition.batches import Batch

T = TypeVar("T", bound=Batch)


@dataclass(frozen=True)
class Processes:
    """Number of this process, how many there are, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def alone(cls) -> Processes:
        """One process, on the first GPU if there is one."""
        return cls(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

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
            torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size(), device)

    def place(self, batch: T) -> T:
        """The batch on this process's device."""
        if self.device.type == "cpu":
            return batch
        moved = {f.name: getattr(batch, f.name) for f in fields(batch) if getattr(batch, f.name) is not None}
        return replace(batch, **{name: tensor.to(self.device, non_blocking=True) for name, tensor in moved.items()})
