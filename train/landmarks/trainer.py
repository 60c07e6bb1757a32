"""Trains the network for 68 landmarks; the loop is `train.common.loop`.

python -m train landmarks --root DATA --out runs/landmarks
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cascade.imaging.alignment import TEMPLATE_SIZE
from cascade.models.landmarks import OUTPUT, POINTS
from cascade.nn.torch_graph import GraphNetwork
from train.common.averaging import update_ema
from train.common.checkpoints import LearnedFrom
from train.common.device import chosen_device
from train.common.loop import Run
from train.common.order import PoolOrder
from train.common.prefetch import Prefetcher
from train.common.schedule import set_rate, warmed_cosine
from train.common.settings import check_positive
from train.detection.augment import normalise
from train.landmarks.augment import augment, moved_crops
from train.landmarks.network import SIDE, points68
from train.landmarks.pack import MARGIN, PointCrops
from train.landmarks.warm_start import start_from

LOG_EVERY, SAVE_EVERY = 50, 500
GRADIENT = 5.0  # largest norm of a step's gradient
WING, BEND = 0.045, 0.009  # of the side: where the loss turns linear, and how sharp it is at 0
PERCENT = 100.0
OUTER_EYES = (36, 45)


@dataclass(frozen=True)
class LandmarkSettings:
    """How one run goes.

    validation  share of the faces held out to measure on, the same ones in every run
    ema         decay of the averaged weights, which are measured and exported
    start       checkpoint of an earlier run, or weight file, to begin from
    """

    steps: int = 12_000
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warm_up: int = 200
    validation: float = 0.05
    ema: float = 0.999
    precision: Literal["float32", "bfloat16"] = "float32"
    start: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self, "steps", "batch", "warm_up")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation: expected a share between 0 and 1, got {self.validation!r}")

    def rate(self, step: int) -> float:
        """Learning rate: a linear warm-up, then a cosine to a thousandth."""
        return warmed_cosine(self.learning_rate, step, self.steps, self.warm_up)


@dataclass(frozen=True)
class Batch:
    """Inputs (n, 3, 96, 96) in about -1..1 and points (n, 68, 2) in shares of the side."""

    inputs: torch.Tensor
    points: torch.Tensor


class LandmarkRun(Run):
    """A landmark network on its way."""

    title, losses, every = "train landmarks", ("wing",), (LOG_EVERY, SAVE_EVERY)

    def __init__(
        self, settings: LandmarkSettings, faces: PointCrops, out: Path, device: torch.device | None = None
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.out, self.device = settings, out, device or chosen_device()
        rows = np.random.default_rng(0).permutation(len(faces))
        held_out = max(1, round(settings.validation * len(faces)))
        self.measured, self.learned = np.sort(rows[:held_out]), np.sort(rows[held_out:])
        self.crops = torch.from_numpy(faces.crops).permute(0, 3, 1, 2)
        self.points = torch.from_numpy(faces.points)
        shares = (faces.points[self.learned].astype(np.float64) - MARGIN) / TEMPLATE_SIZE
        self.mean_shape = shares.mean(axis=0).astype(np.float32)
        graph = points68()
        network = GraphNetwork(graph, batch_norm=True, plain=(graph.outputs[OUTPUT],))
        with torch.no_grad():  # begin near the mean shape
            network.blocks[-1][0].weight.mul_(0.02)  # type: ignore[index]
        self._order = PoolOrder([self.learned], settings.seed)
        if settings.start:
            start_from(network, Path(settings.start), self.mean_shape, self._batch(0).inputs)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged: GraphNetwork = deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.parts = {
            "data": LearnedFrom(faces.digest),
            "network": self.network,
            "averaged": self.averaged,
            "optimiser": self.optimiser,
        }
        self._mean = torch.from_numpy(self.mean_shape).to(self.device)
        out.mkdir(parents=True, exist_ok=True)
        self.batches = Prefetcher(self._batch)

    def _batch(self, step: int) -> Batch:
        """The batch of a step: always the same one."""
        rows = self._order.take(0, step, self.settings.batch)
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + step)
        inputs, points = augment(self.crops[rows].float(), self.points[rows], SIDE, generator)
        return Batch(normalise(inputs).contiguous(memory_format=torch.channels_last), points)

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step of the optimiser; the loss."""
        batch: Batch = self.batches.take(self.step)
        self.network.train()
        set_rate(self.optimiser, self.rate(self.step))
        with self.autocast():
            points = self._predict(self.network, batch.inputs.to(self.device))
        loss = wing_loss(points, batch.points.to(self.device))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT)
        self.optimiser.step()
        self.step += 1
        update_ema(self.averaged, self.network, self.settings.ema, self.step)
        return {"wing": loss}

    def _predict(self, network: GraphNetwork, inputs: torch.Tensor) -> torch.Tensor:
        """Points (n, 68, 2) in shares of the side."""
        found: torch.Tensor = network(inputs)[network.graph.outputs[OUTPUT]]
        return found.float().reshape(-1, POINTS, 2) + self._mean

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The mean error in percent of the outer eye corners' distance, in crops that are aligned without error."""
        errors = []
        for first in range(0, len(self.measured), 64):
            rows = self.measured[first : first + 64]
            none, n = torch.zeros(len(rows)), len(rows)
            inputs, points = moved_crops(
                self.crops[rows].float(), self.points[rows], SIDE, none, none + 1, torch.zeros(n, 2), none > 0
            )
            found = self._predict(self.averaged, normalise(inputs).to(self.device)).cpu()
            errors.append(normalised_errors(found.numpy(), points.numpy()))
        return {"nme": float(np.concatenate(errors).mean())}

    @property
    def defaults(self) -> LandmarkSettings:
        """The settings of a run that says nothing else."""
        return LandmarkSettings()


def wing_loss(points: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Feng et al. 2018: logarithmic for small errors, which are most of them, and linear for large ones; in percent."""
    error = (points - truth).abs()
    offset = WING - WING * np.log1p(WING / BEND)
    return PERCENT * torch.where(error < WING, WING * torch.log1p(error / BEND), error - offset).mean()


def normalised_errors(points: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n,) mean distance of the points (n, 68, 2) in percent of the distance between the eyes' outer corners."""
    left, right = OUTER_EYES
    scale = np.linalg.norm(truth[:, right] - truth[:, left], axis=1)
    found: NDArray[np.float64] = PERCENT * np.linalg.norm(points - truth, axis=2).mean(axis=1) / scale
    return found
