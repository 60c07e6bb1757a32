"""Trains one network: a flat loop over random batches, resumable to the same result.

One command does it:

    python -m train onet --samples runs/v1/onet-samples --out runs/v1/onet --steps 40000
"""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from tqdm import tqdm

from cascade.nn.architectures import ARCHITECTURES, Architecture
from cascade.nn.torch_network import CascadeNetwork
from train.common.checkpoints import Stateful, TrainingError, load_checkpoint, read_checkpoint, save_checkpoint
from train.common.progress import PoolOrder, move_average, open_metrics, warmed_cosine
from train.detection.augment import crop_randomly, mirror, normalise, occlude, recolour
from train.detection.losses import Losses, cascade_loss
from train.detection.packed import KINDS, POSITIVE, Samples
from train.detection.settings import TrainSettings

# Crops or network inputs (n, …), kinds (n,) and targets (n, 14) of one step.
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


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

    def __getitem__(self, step: int) -> Batch:
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
    mirrored = torch.rand(len(crops), generator=generator, device=generator.device) < 0.5
    crops, targets = mirror(crops, targets, mirrored)
    return normalise(occlude(recolour(crops, generator), generator)), targets


def chosen_device(name: str | None = None) -> torch.device:
    """The device of that name; the first GPU if there is one, or the CPU, if none is named. Raises TrainingError."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device: torch finds no GPU here, so cuda cannot be had")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


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
    """The state of one run: network, optimiser, running average and step, saved and resumed as one.

    A run may be resumed on another ``device`` (None: see `chosen_device`). On a GPU, which draws other random numbers
    than the CPU and adds in another order every time, no two runs are the same bit for bit.
    """

    def __init__(
        self,
        settings: TrainSettings,
        samples: Samples,
        out: Path,
        architecture: Architecture | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.device = device or chosen_device()
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # all batches have one shape
        torch.manual_seed(settings.seed)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.samples, self.out = settings, samples, out
        self.architecture = architecture or _architecture(settings)
        _check_samples(samples, settings, self.architecture, ("stage",) if architecture else ("stage", "family"))
        self.network, self.averaged = (_network(self.architecture, settings, self.device) for _ in range(2))
        if settings.start:
            self.network.load_state_dict(read_checkpoint(settings.start)["averaged"])
        self.averaged.eval()
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        train, validation = split(samples, settings.validation_share)
        self.batches = Batches(samples, train, settings)
        self.validation = validation
        self.step = 0
        self.preparer = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self.prepared: Future[Batch] | None = None
        out.mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Writes the checkpoint."""
        parts: dict[str, Stateful] = {
            "network": self.network,
            "averaged": self.averaged,
            "optimiser": self.optimiser,
        }
        save_checkpoint(self.out, self.settings, self.step, parts)

    def resume(self) -> bool:
        """Goes on from the checkpoint, if there is one. Raises TrainingError if its settings differ."""
        state = load_checkpoint(self.out, self.settings, TrainSettings(self.settings.stage))
        if state is None:
            return False
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

    def next_batch(self) -> Batch:
        """The prepared batch of this step; the next one is made ready in the background meanwhile.

        In the background a GPU's batches are only read: two threads that start its work are slower than one.
        """
        on_cpu = self.device.type == "cpu"
        make = self.prepared_batch if on_cpu else self.read_batch
        ready = self.prepared or self.preparer.submit(make, self.step)
        self.prepared = self.preparer.submit(make, self.step + 1)
        return ready.result() if on_cpu else self.network_inputs(ready.result(), self.step)

    def prepared_batch(self, step: int) -> Batch:
        """Network inputs, kinds and targets of a step: the same for a seed and a step, whenever it is made."""
        return self.network_inputs(self.read_batch(step), step)

    def read_batch(self, step: int) -> Batch:
        """Stored crops, kinds and targets of a step, where a GPU can fetch them by itself."""
        crops, kinds, targets = self.batches[step]
        if self.device.type != "cpu":
            crops, targets = crops.pin_memory(), targets.pin_memory()
        return crops, kinds, targets

    def network_inputs(self, batch: Batch, step: int) -> Batch:
        """Network inputs and targets on the device, and the kinds, for which nothing then has to wait, on the CPU."""
        crops, targets = (tensor.to(self.device, non_blocking=True) for tensor in (batch[0], batch[2]))
        generator = torch.Generator(self.device).manual_seed(self.settings.seed * 1_000_003 + step)
        inputs, targets = prepare(crops, targets, self.architecture, generator if self.settings.augment else None)
        return inputs.contiguous(memory_format=torch.channels_last), batch[1], targets

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
            crops, goals = (
                torch.from_numpy(stored[rows]).to(self.device) for stored in (self.samples.crops, self.samples.targets)
            )
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
            faces = merged[:, :2].cpu()
            right = (faces[judged, 1] > faces[judged, 0]) == (kind[judged] == POSITIVE)
            totals["accuracy"] = float(right.float().mean())
        return totals


def _architecture(settings: TrainSettings) -> Architecture:
    """The network that the settings name. Raises TrainingError if the family has none of that stage."""
    networks = ARCHITECTURES[settings.family]
    if settings.stage not in networks:
        raise TrainingError(f"family: {settings.family!r} has {', '.join(networks)}, no {settings.stage}")
    return networks[settings.stage]


def _check_samples(
    samples: Samples, settings: TrainSettings, architecture: Architecture, names: tuple[str, ...]
) -> None:
    """Refuses samples that are too small or were made with other settings of those ``names``."""
    made = samples.meta.get("settings", {})
    for name in names:
        if made.get(name, getattr(settings, name)) != getattr(settings, name):
            raise TrainingError(f"samples: made for {made[name]}, the {name} to train is {getattr(settings, name)}")
    side, size = samples.crops.shape[1], architecture.input_size
    if side < size:
        raise TrainingError(f"samples: crops of {side} pixels, {settings.stage} needs {size}")


def _network(architecture: Architecture, settings: TrainSettings, device: torch.device) -> CascadeNetwork:
    network = CascadeNetwork(architecture, settings.batch_norm)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def check_resumable(settings: TrainSettings, out: Path) -> None:
    """Raises TrainingError if ``out`` holds a checkpoint of other settings, before anything there is changed."""
    load_checkpoint(out, settings, TrainSettings(settings.stage))


def train(
    settings: TrainSettings,
    samples: Samples,
    out: Path,
    architecture: Architecture | None = None,
    device: torch.device | None = None,
) -> CascadeNetwork:
    """Trains to the end of the settings' steps, from a checkpoint in ``out`` if there is one.

    ``architecture`` takes the place of the one that the settings name, for networks that are in no family; the
    ``device`` is as in `Trainer`. Writes metrics.jsonl and checkpoints, and returns the network to export, on the CPU.
    Raises TrainingError if the loss is not finite.
    """
    trainer = Trainer(settings, samples, out, architecture, device)
    trainer.resume()
    try:
        with open_metrics(out / "metrics.jsonl", trainer.step) as metrics:
            _train(trainer, metrics)
    finally:
        trainer.preparer.shutdown(cancel_futures=True)  # no thread is left behind when sampling forks later
    return (trainer.averaged if settings.average else trainer.network.eval()).cpu()


def _train(trainer: Trainer, metrics: TextIO) -> None:
    settings = trainer.settings
    started, sums = time.perf_counter(), torch.zeros(4, dtype=torch.float64, device=trainer.device)
    bar = tqdm(total=settings.steps, initial=trainer.step, desc=f"train {settings.stage}", unit="step")
    while trainer.step < settings.steps:
        losses = trainer.train_step()
        bar.update()
        sums += torch.stack([losses.total, losses.face, losses.box, losses.landmark]).detach()
        # what the sums are is asked now and then only: a GPU's answer takes until all its work is done
        if trainer.step % settings.log_every == 0 or trainer.step == settings.steps:
            totals = sums.tolist()
            if not math.isfinite(totals[0]):
                raise TrainingError(f"the loss is not finite at step {trainer.step}; lower the learning rate")
            done = (trainer.step - 1) % settings.log_every + 1
            means = [total / done for total in totals]
            row = dict(zip(("total", "face", "box", "landmark"), means, strict=True))
            row |= {"step": trainer.step, "rate": rate(settings, trainer.step - 1)}
            row["seconds"] = time.perf_counter() - started
            sums.zero_()
            if trainer.step % settings.checkpoint_every == 0 or trainer.step == settings.steps:
                row["validation"] = trainer.validate()
                trainer.save()
            metrics.write(json.dumps(row) + "\n")
            metrics.flush()
            bar.set_postfix_str(f"loss {row['total']:.4f}")
    bar.close()
