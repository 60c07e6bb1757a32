"""Trains one network: a flat loop over random batches, resumable to the same result.

One command does it:

    python -m train onet --samples runs/v1/onet-samples --out runs/v1/onet --steps 40000
"""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from tqdm import tqdm

from cascade.architectures import ARCHITECTURES, Architecture
from cascade.networks import CascadeNetwork
from train.augment import crop_randomly, mirror, normalise, occlude, recolour
from train.losses import Losses, cascade_loss
from train.packed import KINDS, POSITIVE, Samples
from train.progress import PoolOrder, move_average, open_metrics, warmed_cosine
from train.settings import TrainSettings


class TrainingError(RuntimeError):
    """Training cannot go on: the loss is not finite, or the samples do not fit the network."""


class Batches:
    """Endless batches in the ratio of the settings; each kind is gone through in its own random order.

    What a batch holds depends on the seed and the step alone, so that a resumed run sees the same batches.
    """

    def __init__(self, samples: Samples, indices: np.ndarray, settings: TrainSettings) -> None:
        self.samples = samples
        self.settings = settings
        kinds = samples.kinds[indices]
        self.pools = [indices[kinds == kind] for kind in range(len(KINDS))]
        shares = [r if len(p) else 0 for r, p in zip(settings.ratio, self.pools, strict=True)]
        if not settings.landmarks:
            shares[3] = 0
        if not sum(shares):
            raise TrainingError("samples: there is nothing to learn from")
        self.counts = [settings.batch * s // sum(shares) for s in shares]
        self._order = PoolOrder(self.pools, settings.seed)

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Crops (n, side, side, 3) uint8, kinds (n,) and targets (n, 14) of one step."""
        indices = np.concatenate([self._order.take(kind, step, self.counts[kind]) for kind in range(len(KINDS))])
        # sorted reads are kinder to the disk than random ones
        order = np.argsort(indices, kind="stable")
        crops = np.empty((len(indices), *self.samples.crops.shape[1:]), np.uint8)
        crops[order] = self.samples.crops[indices[order]]
        return (
            torch.from_numpy(crops),
            torch.from_numpy(self.samples.kinds[indices].astype(np.int64)),
            torch.from_numpy(self.samples.targets[indices]),
        )


def prepare(
    crops: torch.Tensor, targets: torch.Tensor, architecture: Architecture, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Network input and targets from stored crops; augmented if there is a generator."""
    size, window = architecture.input_size, architecture.window
    if generator is None:
        margin = (crops.shape[1] - size) // 2
        inner = crops[:, margin : margin + size, margin : margin + size].permute(0, 3, 1, 2)
        return normalise(inner.float()), targets
    crops, targets = crop_randomly(crops, targets, size, window, generator)
    crops, targets = mirror(crops, targets, torch.rand(len(crops), generator=generator) < 0.5)
    return normalise(occlude(recolour(crops, generator), generator)), targets


def split(samples: Samples, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation indices; the validation part is the last one, so whole photos stay together."""
    cut = int(len(samples) * (1 - share))
    return np.arange(cut), np.arange(cut, len(samples))


def rate(settings: TrainSettings, step: int) -> float:
    """Learning rate: linear warm-up over a twentieth of the run, then a cosine to a thousandth."""
    if settings.schedule == "constant":
        return settings.learning_rate
    return warmed_cosine(settings.learning_rate, step, settings.steps, max(1, settings.steps // 20))


class Trainer:
    """The state of one run: network, optimiser, running average and step, saved and resumed as one."""

    def __init__(
        self, settings: TrainSettings, samples: Samples, out: Path, architecture: Architecture | None = None
    ) -> None:
        torch.manual_seed(settings.seed)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.samples, self.out = settings, samples, out
        self.architecture = architecture or _architecture(settings)
        made = samples.meta.get("settings", {})
        for name in ("stage",) if architecture else ("stage", "family"):
            if made.get(name, getattr(settings, name)) != getattr(settings, name):
                raise TrainingError(f"samples: made for {made[name]}, the {name} to train is {getattr(settings, name)}")
        if samples.crops.shape[1] < self.architecture.input_size:
            raise TrainingError(
                f"samples: crops of {samples.crops.shape[1]} pixels, {settings.stage} needs "
                f"{self.architecture.input_size}"
            )
        self.network = CascadeNetwork(self.architecture, settings.batch_norm).to(
            memory_format=torch.channels_last  # type: ignore[call-overload]
        )
        if settings.start:
            self.network.load_state_dict(torch.load(settings.start, weights_only=True)["averaged"])
        self.averaged = CascadeNetwork(self.architecture, settings.batch_norm).eval()
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        train, validation = split(samples, settings.validation_share)
        self.batches = Batches(samples, train, settings)
        self.validation = validation
        self.step = 0
        self.preparer = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self.prepared: Future[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] | None = None
        out.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """The file a run is resumed from."""
        return self.out / "checkpoint.pt"

    def save(self) -> None:
        """Writes the checkpoint atomically."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "settings": asdict(self.settings),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def resume(self) -> bool:
        """Goes on from the checkpoint, if there is one. Raises TrainingError if its settings differ."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True)
        _check_settings(state, self.settings, self.checkpoint)
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        return True

    def train_step(self) -> Losses:
        """One step of the optimiser."""
        settings = self.settings
        inputs, kinds, targets = self.next_batch()
        for group in self.optimiser.param_groups:
            group["lr"] = rate(settings, self.step)
        outputs = self.network(inputs).flatten(1)
        losses = self.loss(outputs, kinds, targets)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.step += 1
        self.update_average()
        return losses

    def next_batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The prepared batch of this step; the next one is prepared in the background meanwhile."""
        ready = self.prepared or self.preparer.submit(self.prepared_batch, self.step)
        self.prepared = self.preparer.submit(self.prepared_batch, self.step + 1)
        return ready.result()

    def prepared_batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Network inputs, kinds and targets of a step: the same for a seed and a step, whenever it is made."""
        crops, kinds, targets = self.batches[step]
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + step)
        inputs, targets = prepare(crops, targets, self.architecture, generator if self.settings.augment else None)
        return inputs.contiguous(memory_format=torch.channels_last), kinds, targets

    def loss(self, outputs: torch.Tensor, kinds: torch.Tensor, targets: torch.Tensor) -> Losses:
        """The loss of the settings."""
        s = self.settings
        alpha = s.alpha if s.landmarks else (*s.alpha[:2], 0.0)
        return cascade_loss(outputs, kinds, targets, alpha, s.mining_ratio, s.landmark_loss, s.box_loss)

    def update_average(self) -> None:
        """Moves the averaged weights towards the current ones, faster in the beginning."""
        move_average(self.averaged, self.network, min(self.settings.average, self.step / (self.step + 10)))

    @torch.no_grad()
    def validate(self, batch: int = 1024) -> dict[str, float]:
        """Losses without mining, and accuracy, of the averaged network on the validation samples."""
        totals: dict[str, float] = {}
        outputs, kinds, targets = [], [], []
        for first in range(0, len(self.validation), batch):
            rows = self.validation[first : first + batch]
            crops, goals = torch.from_numpy(self.samples.crops[rows]), torch.from_numpy(self.samples.targets[rows])
            inputs, goals = prepare(crops, goals, self.architecture, None)
            outputs.append(self.averaged(inputs).flatten(1))
            kinds.append(torch.from_numpy(self.samples.kinds[rows].astype(np.int64)))
            targets.append(goals)
        if not outputs:
            return totals
        merged, kind, goal = torch.cat(outputs), torch.cat(kinds), torch.cat(targets)
        losses = cascade_loss(merged, kind, goal, self.settings.alpha, 1.0)
        for name in ("face", "box", "landmark"):
            totals[name] = float(getattr(losses, name))
        judged = kind <= POSITIVE
        if judged.any():
            right = (merged[judged, 1] > merged[judged, 0]) == (kind[judged] == POSITIVE)
            totals["accuracy"] = float(right.float().mean())
        return totals


def _architecture(settings: TrainSettings) -> Architecture:
    """The network that the settings name. Raises TrainingError if the family has none of that stage."""
    networks = ARCHITECTURES[settings.family]
    if settings.stage not in networks:
        raise TrainingError(f"family: {settings.family!r} has {', '.join(networks)}, no {settings.stage}")
    return networks[settings.stage]


def _check_settings(state: dict[str, Any], settings: TrainSettings, checkpoint: Path) -> None:
    """Refuses a checkpoint of other settings; a setting that came up after it was written had its default value."""
    if {**asdict(TrainSettings(settings.stage)), **state["settings"]} != asdict(settings):
        raise TrainingError(f"{checkpoint} was made with other settings; remove it or use another folder")


def check_resumable(settings: TrainSettings, out: Path) -> None:
    """Raises TrainingError if ``out`` holds a checkpoint of other settings, before anything there is changed."""
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        _check_settings(torch.load(checkpoint, weights_only=True), settings, checkpoint)


def train(
    settings: TrainSettings, samples: Samples, out: Path, architecture: Architecture | None = None
) -> CascadeNetwork:
    """Trains to the end of the settings' steps, from a checkpoint in ``out`` if there is one.

    ``architecture`` takes the place of the one that the settings name, for networks that are in no family.
    Writes metrics.jsonl and checkpoints, and returns the network to export. Raises TrainingError if the loss is
    not finite.
    """
    trainer = Trainer(settings, samples, out, architecture)
    trainer.resume()
    try:
        with open_metrics(out / "metrics.jsonl", trainer.step) as metrics:
            _train(trainer, metrics)
    finally:
        trainer.preparer.shutdown(cancel_futures=True)  # no thread is left behind when sampling forks later
    return trainer.averaged if settings.average else trainer.network.eval()


def _train(trainer: Trainer, metrics: TextIO) -> None:
    settings = trainer.settings
    started, sums = time.perf_counter(), np.zeros(4)
    bar = tqdm(total=settings.steps, initial=trainer.step, desc=f"train {settings.stage}", unit="step")
    while trainer.step < settings.steps:
        losses = trainer.train_step()
        bar.update()
        sums += [float(x.detach()) for x in (losses.total, losses.face, losses.box, losses.landmark)]
        if not math.isfinite(sums[0]):
            raise TrainingError(f"the loss is not finite at step {trainer.step}; lower the learning rate")
        if trainer.step % settings.log_every == 0 or trainer.step == settings.steps:
            done = (trainer.step - 1) % settings.log_every + 1
            row = dict(zip(("total", "face", "box", "landmark"), sums / done, strict=True))
            row |= {"step": trainer.step, "rate": rate(settings, trainer.step - 1)}
            row["seconds"] = time.perf_counter() - started
            sums[:] = 0
            if trainer.step % settings.checkpoint_every == 0 or trainer.step == settings.steps:
                row["validation"] = trainer.validate()
                trainer.save()
            metrics.write(json.dumps(row) + "\n")
            metrics.flush()
            bar.set_postfix_str(f"loss {row['total']:.4f}")
    bar.close()
