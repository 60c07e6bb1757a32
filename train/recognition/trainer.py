"""Trains a recogniser: settings, model, data and loss; the loop is `train.common.loop`.

    python -m train recognition --config light --faces runs/faces --out runs/recognition

It runs in one process, or in several under torchrun.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from cascade.nn.graphs import IMAGE
from train.common.averaging import update_ema
from train.common.checkpoints import TrainingError
from train.common.device import Processes
from train.common.loop import Run
from train.common.prefetch import Prefetcher
from train.common.schedule import set_rate
from train.detection.augment import normalise
from train.recognition.architectures import ARCHITECTURES
from train.recognition.batches import Batch, FaceBatches, split
from train.recognition.crops import FaceCrops
from train.recognition.feature_cache import CachedFeatures
from train.recognition.losses import LOSSES, Labels, recognition_losses
from train.recognition.measures import measure
from train.recognition.model import RecognitionModel
from train.recognition.settings import RecognitionSettings
from train.recognition.teacher import Teacher, check_teacher, matched_nodes
from train.recognition.transfer import start_from, start_from_weights

LOG_EVERY, SAVE_EVERY = 50, 500
STATISTICS = 512  # faces that batch normalisation gets its statistics from where a weight file has none
EMA_DECAY = 0.998  # decay of the averaged weights, which are the ones that are measured and exported
GRADIENT = 5.0  # largest norm of a step's gradient


class RecognitionRun(Run):
    """A recogniser on its way, in one of the ``processes``; a ``teacher`` is asked about every batch."""

    title, losses = "train recognition", ("total", *LOSSES)

    def __init__(
        self,
        settings: RecognitionSettings,
        faces: FaceCrops,
        out: Path,
        processes: Processes,
        teacher: Teacher | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.faces, self.out, self.processes = settings, faces, out, processes
        self.device, self.writes, self.every = processes.device, processes.rank == 0, (LOG_EVERY, SAVE_EVERY)
        self.teacher = None if teacher is None else teacher.to(self.device)
        network = ARCHITECTURES[settings.architecture](settings.decomposed)
        if settings.lambda_distillation or teacher is not None:
            check_teacher(faces, network, teacher)
        if settings.lambda_maps and teacher is None:
            raise TrainingError("lambda_maps: needs the teacher's network, not its embeddings alone")

        learned, self.measured = split(faces, settings.validation, settings.held_out)
        blends = teacher is not None and not settings.views
        self.data = FaceBatches(faces, learned, settings, processes.rank, processes.world, self.device, blends=blends)
        persons = self.data.persons if settings.lambda_identity else 0
        aged = settings.decomposed and not np.isnan(faces.ages[learned]).all()
        if not (persons or aged or settings.lambda_distillation):
            raise TrainingError("faces: there is nothing to learn from with these losses")

        model = RecognitionModel(network, persons, settings.lambda_adversary > 0, settings.scale, settings.margin)
        if settings.start:
            self._start(model, learned)
            model.freeze(settings.frozen)
        self.matched = matched_nodes(network, teacher) if teacher and settings.lambda_maps else ()
        if settings.views:
            self._cache_features(model, learned)
        model.exposed = tuple(own for own, _ in self.matched)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged: RecognitionModel = deepcopy(self.model).eval().requires_grad_(False)
        self.averaged.exposed, self.averaged.after = (), IMAGE
        if settings.compiled:
            self.model.network.compile()
            if self.teacher is not None:
                self.teacher.network.compile()
        self.wrapped: nn.Module = DistributedDataParallel(self.model) if processes.world > 1 else self.model
        self.optimiser = _optimiser(self.model, settings)
        self.parts = {"model": self.model, "averaged": self.averaged, "optimiser": self.optimiser}
        out.mkdir(parents=True, exist_ok=True)
        self.batches = Prefetcher(self.data.__getitem__)

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step of the optimiser; the losses."""
        settings = self.settings
        batch = self.next_batch()
        self.model.train()
        set_rate(self.optimiser, settings.rate(self.step))
        with self.autocast():
            predicted = self.wrapped(batch.inputs)
            labels = self.labels(batch)
        # in full precision: CosFace multiplies cosines by 64, and their rounding with them
        losses = recognition_losses(self.model, predicted.in_full_precision(), labels, settings)
        total = losses["total"]
        if self.processes.world > 1:  # the others wait for a gradient of every weight, whatever labels are here
            total = total + 0 * torch.stack([p.sum() for p in self.model.parameters()]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT)
        self.optimiser.step()
        self.step += 1
        update_ema(self.averaged, self.model, EMA_DECAY, self.step)
        return losses

    def next_batch(self) -> Batch:
        """The batch of this step on the device."""
        batch: Batch = self.batches.take(self.step)
        return batch.to(self.device)

    def labels(self, batch: Batch) -> Labels:
        """What a batch is learned from, the teacher's answer included.

        With its network at hand the embeddings are the mean direction of those of the augmented faces and those of the
        faces as they are: the first tell how its maps should end, the second what augmentation should not matter to.
        """
        if self.teacher is None:
            return Labels(batch.persons, batch.ages, batch.teacher)
        answer = batch.answer or self.teacher.answer(batch.inputs, [other for _, other in self.matched])
        goal = None if batch.teacher is None else functional.normalize(answer.embeddings + batch.teacher)
        return Labels(batch.persons, batch.ages, goal, [found.float() for found in answer.maps])

    def validate(self) -> dict[str, float]:
        """Measures of the averaged model on the faces held out."""
        return measure(self.averaged, self.faces, self.measured)

    @property
    def defaults(self) -> RecognitionSettings:
        """The settings of a run that says nothing else."""
        return RecognitionSettings()

    def _start(self, model: RecognitionModel, rows: NDArray[np.int64]) -> None:
        """Begins from what the settings name."""
        start = Path(self.settings.start)
        if start.suffix != ".safetensors":
            start_from(model, start)
            return
        some = np.sort(np.random.default_rng(0).permutation(rows)[:STATISTICS])
        crops = torch.from_numpy(self.faces.crops[some]).permute(0, 3, 1, 2).float()
        start_from_weights(model, start, normalise(crops))
        if model.identity is not None and self.faces.embeddings is not None:
            with torch.no_grad():  # the network repeats the teacher, whose mean of a person is a good centre
                model.identity.centres.copy_(self.data.mean_by_person(self.faces.embeddings, rows))

    def _cache_features(self, model: RecognitionModel, rows: NDArray[np.int64]) -> None:
        """Lets model and batches go on from the cached features of the frozen stages."""
        if self.processes.world > 1:
            raise TrainingError("views: need one process")
        model.after = model.frozen[-1]
        self.matched = tuple(pair for pair in self.matched if pair[0] > model.after)
        nodes = [other for _, other in self.matched]
        folder, settings = self.out / "features", self.settings
        self.data.features = CachedFeatures(
            self.faces, rows, model, self.teacher, nodes, folder, settings.views, settings.seed
        )


def _optimiser(model: nn.Module, settings: RecognitionSettings) -> torch.optim.Optimizer:
    """Weight decay falls on matrices and filters alone."""
    learning = [p for p in model.parameters() if p.requires_grad]
    decayed, others = ([p for p in learning if (p.ndim > 1) == wanted] for wanted in (True, False))
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, settings.learning_rate, momentum=0.9)
    return torch.optim.AdamW(groups, settings.learning_rate)


def train_recognition(
    settings: RecognitionSettings,
    faces: FaceCrops,
    out: Path,
    processes: Processes | None = None,
    teacher: Teacher | None = None,
) -> RecognitionModel:
    """Trains to the end of the settings' steps, from a checkpoint in ``out`` if there is one.

    A ``teacher`` is asked about every batch, beside the embeddings that come with the faces. Writes metrics.jsonl and
    checkpoints, and returns the averaged model. Raises TrainingError if the faces do not fit the settings, or the loss
    is not finite.
    """
    run = RecognitionRun(settings, faces, out, processes or Processes.alone(), teacher)
    run.train()
    return run.averaged
