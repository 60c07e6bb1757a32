"""The training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from train.common.checkpoints import Stateful, restore, save_checkpoint
from train.common.memory import keep_freed_memory
from train.common.prefetch import Prefetcher
from train.common.progress import Progress

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Run(ABC):
    """The state of one run: what a step changes, saved and resumed as one.

    settings    with the number of steps and the learning rate; a run is resumed with equal ones only
    out         its folder, for checkpoint.pt and metrics.jsonl
    device      where it computes
    title       what the bar says
    losses      names of the losses, the one that is minimised first
    every       steps between rows of metrics, and between checkpoints, which get a row as well
    parts       networks and optimiser by name
    batches     where the batches come from
    writes      whether this process writes metrics and checkpoints: one of several does
    step        how many steps are done
    """

    settings: Any
    out: Path
    device: torch.device
    title: str
    losses: Sequence[str]
    every: tuple[int, int]
    parts: Mapping[str, Stateful]
    batches: Prefetcher[Any]
    writes = True
    step = 0

    @property
    @abstractmethod
    def defaults(self) -> DataclassInstance:
        """Settings whose values those had that came up after a checkpoint was written."""

    @abstractmethod
    def train_step(self) -> Mapping[str, torch.Tensor]:
        """One step of the optimiser; its losses by name."""

    @abstractmethod
    def validate(self) -> Mapping[str, float]:
        """How well the averaged network does on what it does not learn from."""

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        return float(self.settings.rate(step))

    @property
    def ended(self) -> bool:
        """Whether the run ends before its last step."""
        return False

    def autocast(self) -> torch.autocast:
        """The precision of the settings, for what is computed within."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")

    def save(self) -> None:
        """Writes the checkpoint."""
        save_checkpoint(self.out, self.settings, self.step, self.parts)

    def resume(self) -> None:
        """Goes on from the checkpoint, if there is one. Raises TrainingError if its settings or shapes differ."""
        self.step = restore(self.out, self.settings, self.defaults, self.parts, self.device)

    def train(self) -> None:
        """Trains to the last step, from the checkpoint if there is one. Raises TrainingError for a loss not finite."""
        keep_freed_memory()
        steps, (log_every, save_every) = self.settings.steps, self.every
        try:
            self.resume()
            path = self.out / "metrics.jsonl" if self.writes else None
            progress = Progress(path, self.losses, self.step, steps, self.title, self.device)
            try:
                while self.step < steps and not self.ended:
                    progress.add(self.train_step())
                    last = self.step == steps
                    saves = last or self.step % save_every == 0
                    if not saves and self.step % log_every:
                        continue
                    # a checkpoint has a row of its own: what a row sums up does not survive a stop
                    row = progress.row(self.step, self.rate(self.step - 1))
                    validates = saves and self.writes
                    if validates:
                        row["validation"] = self.validate()
                    progress.write(row)  # before the checkpoint: a resumed run drops the rows beyond it
                    if validates:
                        self.save()
            finally:
                progress.close()
        finally:
            self.batches.close()
