"""Trains attributes: settings, model, data and loss; the loop is `train.common.loop`.

python -m train attributes --config train/recipes/attributes.toml --root DATA --out runs/attributes
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from train.attributes.batches import AttributeBatches, Batch, LabelledFaces
from train.attributes.losses import TaskLoss, TaskWeights
from train.attributes.measures import measure
from train.attributes.model import AttributeModel
from train.attributes.networks import FaceNetwork
from train.attributes.settings import AttributeSettings
from train.common.averaging import update_ema
from train.common.checkpoints import LearnedFrom
from train.common.device import chosen_device
from train.common.loop import Run
from train.common.prefetch import Prefetcher
from train.common.schedule import set_rate

LOG_EVERY = 50
GRADIENT = 5.0  # largest norm of a step's gradient


class Plateau:
    """How validation goes: the best score, how long ago it was, and what that does to the learning rate."""

    def __init__(self, patience: int, factor: float, stop_after: int) -> None:
        self.patience, self.factor, self.stop_after = patience, factor, stop_after
        self.best, self.since, self.lowered = -1.0, 0, 0

    def add(self, score: float) -> bool:
        """Whether the score is the best so far."""
        better = score > self.best
        self.best, self.since = (score, 0) if better else (self.best, self.since + 1)
        if not better and self.since % self.patience == 0:
            self.lowered += 1
        return better

    @property
    def scale(self) -> float:
        """What the learning rate is multiplied by."""
        return float(self.factor**self.lowered)

    @property
    def ended(self) -> bool:
        """Whether the score has been no better for so long that the run ends."""
        return 0 < self.stop_after <= self.since

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"best": self.best, "since": self.since, "lowered": self.lowered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.best, self.since, self.lowered = state["best"], state["since"], state["lowered"]


class AttributeRun(Run):
    """Attributes on their way. ``best`` is the averaged model at its best validation."""

    title = "train attributes"

    def __init__(
        self,
        settings: AttributeSettings,
        faces: LabelledFaces,
        model: AttributeModel | FaceNetwork,
        out: Path,
        device: torch.device | None = None,
    ) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.faces, self.out = settings, faces, out
        self.device = device or chosen_device()
        self.every = (LOG_EVERY, settings.validate_every)
        self.losses = ("total", *(task.name for task in faces.tasks))
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = deepcopy(self.model).eval().requires_grad_(False)
        self.best = deepcopy(self.averaged)
        pairs = zip(faces.tasks, faces.tables, strict=True)
        self.task_losses = nn.ModuleDict({task.name: TaskLoss(task, table) for task, table in pairs}).to(self.device)
        self.weights = TaskWeights(faces.tasks, settings.task_weights, settings.validate_every).to(self.device)
        self.plateau = Plateau(settings.patience, settings.factor, settings.stop_after)
        self.optimiser = _optimiser([self.model, self.weights], settings)
        self.parts = {
            "data": LearnedFrom(faces.fingerprint()),
            "model": self.model,
            "averaged": self.averaged,
            "best": self.best,
            "weights": self.weights,
            "optimiser": self.optimiser,
            "plateau": self.plateau,
        }
        out.mkdir(parents=True, exist_ok=True)
        views = settings.views + 1 if self.model.architecture.trunk >= 0 else 1
        self.batches = Prefetcher(AttributeBatches(faces, settings.batch, views, settings.seed).__getitem__)

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step of the optimiser; the losses."""
        batch: Batch = self.batches.take(self.step).to(self.device)
        self.model.train()
        set_rate(self.optimiser, self.rate(self.step))
        with self.autocast():
            answers = self.model(batch.inputs)
        losses = {}
        for at, (name, loss) in enumerate(self.task_losses.items()):
            value = loss(answers[name], batch.labels[:, at])
            if value is not None:
                losses[name] = value
        total = self.weights(losses, self.model.shared)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT)
        self.optimiser.step()
        self.step += 1
        update_ema(self.averaged, self.model, self.settings.ema, self.step)
        return {"total": total, **losses}

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        scale = self.plateau.scale if self.settings.schedule == "plateau" else 1.0
        return float(self.settings.rate(step) * scale)

    def validate(self) -> Mapping[str, float]:
        """Measures of the averaged model on the faces held out; the best model is stored."""
        found = measure(self.averaged, self.faces, self.faces.measured)
        # with nothing held out nothing says which is best: the last one is
        if not len(self.faces.measured) or self.plateau.add(found["score"]):
            self.best.load_state_dict(self.averaged.state_dict())
        return found

    @property
    def ended(self) -> bool:
        """Whether validation has been no better for long enough."""
        return self.plateau.ended

    @property
    def defaults(self) -> AttributeSettings:
        """The settings of a run that says nothing else."""
        return AttributeSettings()


def _optimiser(modules: list[nn.Module], settings: AttributeSettings) -> torch.optim.Optimizer:
    """AdamW; weight decay falls on matrices and filters alone."""
    learning = [p for module in modules for p in module.parameters() if p.requires_grad]
    decayed, others = ([p for p in learning if (p.ndim > 1) == wanted] for wanted in (True, False))
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, settings.learning_rate)
