"""Trains one network of the detector: settings, model, data and loss; the loop is `train.common.loop`.

One command does it:

    python -m train onet --samples runs/v1/onet-samples --out runs/v1/onet --steps 40000
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cascade.nn.architectures import ARCHITECTURES, Architecture
from cascade.nn.heads import FACE, layout
from cascade.nn.torch_network import CascadeNetwork
from train.common.averaging import update_ema
from train.common.checkpoints import TrainingError, checkpoint_file, load_checkpoint, read_checkpoint
from train.common.device import chosen_device
from train.common.loop import Run
from train.common.prefetch import Prefetcher
from train.common.schedule import set_rate
from train.common.unfolding import SUFFIX
from train.detection.batches import Batch, Batches, network_inputs, split
from train.detection.labels import POSITIVE, target_columns
from train.detection.losses import detection_losses
from train.detection.sample_store import Samples
from train.detection.settings import TrainSettings
from train.detection.teacher import Teacher, distillation_loss
from train.detection.warm_start import warm_start

TEACHER = "teacher"  # its loss, beside those of the heads


class DetectorRun(Run):
    """A network on its way.

    A run may be resumed on another ``device`` (None: see `chosen_device`). A GPU draws other random numbers than the
    CPU and adds in another order every time, so no two runs on GPUs are the same bit for bit.
    """

    def __init__(
        self,
        settings: TrainSettings,
        samples: Samples,
        out: Path,
        architecture: Architecture | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.settings, self.out = settings, out
        self.device = device or chosen_device()
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # all batches have one shape
        torch.manual_seed(settings.seed)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.title, self.losses = f"train {settings.stage}", ["total", *(head.name for head in settings.heads)]
        self.every = (settings.log_every, settings.checkpoint_every)

        self.architecture = _architecture(settings, architecture)
        self.teacher = Teacher(settings.teacher, self.architecture, self.device) if settings.teacher else None
        seen = self.teacher.architecture if self.teacher else self.architecture
        self.samples = samples = _fitting(samples, settings, seen)
        self.network, self.averaged = (_network(self.architecture, settings, self.device) for _ in range(2))
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.parts = {"network": self.network, "averaged": self.averaged, "optimiser": self.optimiser}
        if self.teacher:  # so that a resumed run has the same one, whatever its file holds by then
            self.parts["teacher"] = self.teacher.network
            self.losses.append(TEACHER)

        train, self.validation = split(samples, settings.validation_share)
        self.data = Batches(samples, train, settings, seen, self.device)
        if settings.start and not checkpoint_file(out).exists():
            self._begin_from(settings.start)
        self.averaged.eval()
        self.averaged.load_state_dict(self.network.state_dict())
        out.mkdir(parents=True, exist_ok=True)
        self.batches = Prefetcher(self.data.prepare)

    def _begin_from(self, start: str) -> None:
        """Gives the network the weights of a checkpoint or weight file."""
        if start.endswith(SUFFIX):
            inputs, _, _ = self.data.inputs(self.data.read(0), 0)
            warm_start(self.network, start, self._own(inputs))
        else:
            self.network.load_state_dict(read_checkpoint(start)["averaged"])

    def _own(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the network itself sees of a batch's inputs, which are the teacher's if there is one."""
        return self.teacher.middle(inputs) if self.teacher else inputs

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step of the optimiser; the losses."""
        settings = self.settings
        inputs, kinds, targets = self.next_batch()
        set_rate(self.optimiser, settings.rate(self.step))
        with self.autocast():
            outputs = self.network(self._own(inputs)).flatten(1).float()
        losses = detection_losses(outputs, kinds, targets, settings.heads, settings.mining_ratio)
        if self.teacher:
            with self.autocast():
                taught = self.teacher.outputs(inputs)
            heads = self.teacher.architecture.heads
            losses[TEACHER] = distillation_loss(outputs, taught, kinds, settings.heads, heads, settings.mining_ratio)
            losses["total"] = torch.lerp(losses["total"], losses[TEACHER], settings.teacher_share)
        self.optimiser.zero_grad(set_to_none=True)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.step += 1
        update_ema(self.averaged, self.network, settings.ema_decay, self.step)
        return losses

    def next_batch(self) -> Batch:
        """Network inputs, kinds and targets of this step."""
        return self.data.to_device(self.batches.take(self.step), self.step)

    @torch.no_grad()
    def validate(self, batch: int = 1024) -> dict[str, float]:
        """Losses of the paper without mining, and accuracy, of the averaged network on the validation samples."""
        outputs, targets = [], []
        for first in range(0, len(self.validation), batch):
            rows = self.validation[first : first + batch]
            crops, goals = (
                torch.from_numpy(stored[rows]).to(self.device) for stored in (self.samples.crops, self.samples.targets)
            )
            inputs, goals = network_inputs(crops, goals, self.architecture, None)
            outputs.append(self.averaged(inputs).flatten(1))
            targets.append(goals)
        if not outputs:
            return {}
        kinds = torch.from_numpy(self.samples.kinds[self.validation].astype(np.int64))
        # in squared distances whatever was trained with, so that runs can be compared
        heads = [head if head.loss == "cross_entropy" else replace(head, loss="l2") for head in self.settings.heads]
        merged = torch.cat(outputs)
        losses = detection_losses(merged, kinds, torch.cat(targets), heads, mining_ratio=1.0)
        found = {head.name: float(losses[head.name]) for head in heads}
        return found | _accuracy(merged[:, self.architecture.output(FACE.name)].cpu(), kinds)

    @property
    def defaults(self) -> TrainSettings:
        """The settings of a run of this stage that says nothing else."""
        return TrainSettings(self.settings.stage)


def _accuracy(logits: torch.Tensor, kinds: torch.Tensor) -> dict[str, float]:
    """Share of the negatives and positives that are classified right; nothing without any."""
    labelled = kinds <= POSITIVE
    if not labelled.any():
        return {}
    right = (logits[labelled, 1] > logits[labelled, 0]) == (kinds[labelled] == POSITIVE)
    return {"accuracy": float(right.float().mean())}


def _architecture(settings: TrainSettings, given: Architecture | None) -> Architecture:
    """The network given or named by the settings, with their heads. Raises TrainingError if the family has none."""
    if given is None and settings.family not in ARCHITECTURES:
        raise TrainingError(f"family: expected {', '.join(ARCHITECTURES)}, got {settings.family!r}")
    networks = ARCHITECTURES.get(settings.family, {})
    if given is None and settings.stage not in networks:
        raise TrainingError(f"family: {settings.family!r} has {', '.join(networks)}, no {settings.stage}")
    architecture = given or networks[settings.stage]
    same = layout(settings.heads) == layout(architecture.heads)
    return architecture if same else architecture.with_heads(settings.heads)


def _fitting(samples: Samples, settings: TrainSettings, architecture: Architecture) -> Samples:
    """The samples as the network needs them: of those for one that sees more around the same window, the middle.

    Refuses samples that are too small, lack labels, or were cut for another stage or around other windows.
    """
    made = samples.meta.get("settings", {})
    if made.get("stage", settings.stage) != settings.stage:
        raise TrainingError(f"samples: made for {made['stage']}, the stage to train is {settings.stage}")
    cut = samples.meta.get("input")
    if cut is None and "family" in made:
        raise TrainingError("samples: cut by an earlier version, which did not record the window; cut them again")
    side, size = samples.crops.shape[1], architecture.input_size
    extra = 0 if cut is None else cut["size"] - size
    if cut is not None and (cut["window"] != architecture.window or extra < 0 or extra % 2):
        needs = "the teacher sees" if settings.teacher else "the network to train has"
        raise TrainingError(
            f"samples: made for the family {made.get('family')}, of {cut['size']} pixels around a window of "
            f"{cut['window']:g}; {needs} {size} around {architecture.window:g}"
        )
    if side - extra < size:
        needs = "the teacher" if settings.teacher else settings.stage
        raise TrainingError(f"samples: crops of {side} pixels, {needs} needs {size + extra}")
    stored = target_columns(samples.heads)
    for name, columns in target_columns(settings.heads).items():
        if stored.get(name) != columns:
            raise TrainingError(f"samples: no labels for the head {name}; they are for {', '.join(stored)}")
    middle = slice(extra // 2, side - extra // 2)
    return replace(samples, crops=samples.crops[:, middle, middle])


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
    ``device`` is as in `DetectorRun`. Writes metrics.jsonl and checkpoints, and returns the network to export, on the
    CPU. Raises TrainingError if the loss is not finite.
    """
    run = DetectorRun(settings, samples, out, architecture, device)
    run.train()
    return (run.averaged if settings.ema_decay else run.network.eval()).cpu()
