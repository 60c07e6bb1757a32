"""Trains a recogniser: one flat loop, resumable to the same result, over one process or several under torchrun.

python -m train recognition --config light --faces runs/faces --out runs/recognition
"""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from cascade.nn.graphs import IMAGE
from train.common.checkpoints import TrainingError, checkpoint_file, load_checkpoint, save_checkpoint
from train.common.progress import move_average, open_metrics, warmed_cosine
from train.recognition.architectures import DESIGNS, Design
from train.recognition.batches import Batch, FaceBatches, split
from train.recognition.crops import FaceCrops
from train.recognition.feature_cache import KeptFeatures
from train.recognition.losses import PARTS, recognition_losses, total_loss
from train.recognition.measures import measure
from train.recognition.model import RecognitionModel
from train.recognition.processes import Processes
from train.recognition.settings import RecognitionSettings
from train.recognition.teacher import Teacher
from train.recognition.transfer import start_from

LOG_EVERY, SAVE_EVERY = 50, 500
AVERAGE = 0.998  # decay of the averaged weights, which are the ones that are measured and exported
GRADIENT = 5.0  # largest norm of a step's gradient


def rate(settings: RecognitionSettings, step: int) -> float:
    """Learning rate of a step: a linear warm-up, then a cosine to a thousandth or tenths at the milestones."""
    warm = max(1, round(settings.warm_up * settings.steps))
    if settings.schedule == "steps" and step >= warm:
        return float(settings.learning_rate * 0.1 ** sum(step >= m * settings.steps for m in settings.milestones))
    return warmed_cosine(settings.learning_rate, step, settings.steps, warm)


class RecognitionTrainer:
    """The state of one run: model, averaged model, optimiser and step, saved and resumed as one."""

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
        self.teacher = None if teacher is None else teacher.to(processes.device)
        design = DESIGNS[settings.design](settings.decomposed)
        if settings.lambda_distillation or teacher is not None:
            _check_teacher(faces, design, teacher)
        if settings.lambda_maps and teacher is None:
            raise TrainingError("lambda_maps: needs the teacher's network, not its embeddings alone")
        train, self.measured = split(faces, settings.validation)
        blends = teacher is not None and not settings.views
        self.batches = FaceBatches(
            faces, train, settings, processes.rank, processes.world, processes.device, blends=blends
        )
        persons = self.batches.persons if settings.lambda_identity else 0
        aged = settings.decomposed and not np.isnan(faces.ages[train]).all()
        if not (persons or aged or settings.lambda_distillation):
            raise TrainingError("faces: there is nothing to learn from with these losses")
        model = RecognitionModel(design, persons, settings.lambda_adversary > 0, settings.scale, settings.margin)
        if settings.start:
            start_from(model, Path(settings.start))
            model.freeze(settings.frozen)
        self.matched = _matched_nodes(design, teacher) if teacher and settings.lambda_maps else ()
        if settings.views:
            self._keep_features(model, train)
        model.kept = tuple(own for own, _ in self.matched)
        self.model = model.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged: RecognitionModel = deepcopy(self.model).eval().requires_grad_(False)
        self.averaged.kept, self.averaged.after = (), IMAGE
        if settings.compiled:
            self.model.network.compile()
            if self.teacher is not None:
                self.teacher.network.compile()
        self.wrapped: nn.Module = DistributedDataParallel(self.model) if processes.world > 1 else self.model
        self.optimiser = _optimiser(self.model, settings)
        self.step = 0
        self.preparer = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self.prepared: Future[Batch] | None = None
        out.mkdir(parents=True, exist_ok=True)

    def _keep_features(self, model: RecognitionModel, rows: NDArray[np.int64]) -> None:
        """Lets model and batches go on from what the frozen stages make."""
        if self.teacher is None or self.processes.world > 1:
            raise TrainingError("views: need the teacher's network at hand, and one process")
        model.after = model.frozen[-1]
        self.matched = tuple(pair for pair in self.matched if pair[0] > model.after)
        nodes = [other for _, other in self.matched]
        folder, settings = self.out / "kept", self.settings
        self.batches.features = KeptFeatures(
            self.faces, rows, model, self.teacher, nodes, folder, settings.views, settings.seed
        )

    def save(self) -> None:
        """Writes the checkpoint."""
        parts = {"model": self.model, "averaged": self.averaged, "optimiser": self.optimiser}
        save_checkpoint(self.out, self.settings, self.step, parts)

    def resume(self) -> None:
        """Goes on from the checkpoint, if there is one. Raises TrainingError if its settings or faces differ."""
        state = load_checkpoint(self.out, self.settings, RecognitionSettings(), self.processes.device)
        if state is None:
            return
        try:
            for name in ("model", "averaged", "optimiser"):
                getattr(self, name).load_state_dict(state[name])
        except (RuntimeError, ValueError) as error:
            file = checkpoint_file(self.out)
            raise TrainingError(f"{file} was made with other faces; remove it or use another folder") from error
        self.step = state["step"]

    def next_batch(self) -> Batch:
        """The prepared batch of this step; the next one is prepared in the background meanwhile."""
        ready = self.prepared or self.preparer.submit(self.batches.__getitem__, self.step)
        self.prepared = self.preparer.submit(self.batches.__getitem__, self.step + 1)
        return self.processes.place(ready.result())

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step of the optimiser; the parts of the loss."""
        batch = self.next_batch()
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.settings, self.step)
        half = self.settings.precision == "bfloat16" and self.processes.device.type == "cuda"
        with torch.autocast("cuda", torch.bfloat16) if half else nullcontext():
            predicted = self.wrapped(batch.inputs)
            goal, maps = self.ask_teacher(batch)
        # in full precision: CosFace multiplies cosines by 64, and their rounding with them
        predicted = predicted.in_full_precision()
        parts = recognition_losses(self.model, predicted, batch.persons, batch.ages, goal, maps)
        total = total_loss(parts, self.settings)
        if self.processes.world > 1:  # the others wait for a gradient of every weight, whatever labels are here
            total = total + 0 * torch.stack([p.sum() for p in self.model.parameters()]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT)
        self.optimiser.step()
        self.step += 1
        self.update_average()
        return {"total": total, **parts}

    def ask_teacher(self, batch: Batch) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """The embeddings (n, D) to be repeated, and the teacher's maps to be matched.

        With the network at hand the embeddings are the mean direction of what it makes of the changed faces and of the
        faces as they are: the first tells how its maps should end, the second what changes should not matter.
        """
        if self.teacher is None:
            return batch.teacher, []
        answer = batch.answer or self.teacher.answer(batch.inputs, [other for _, other in self.matched])
        goal = None if batch.teacher is None else functional.normalize(answer.embeddings + batch.teacher)
        return goal, [found.float() for found in answer.maps]

    def update_average(self) -> None:
        """Moves the averaged weights towards the current ones, faster in the beginning."""
        move_average(self.averaged, self.model, min(AVERAGE, self.step / (self.step + 10)))


def _check_teacher(faces: FaceCrops, design: Design, teacher: Teacher | None) -> None:
    """Refuses faces without a teacher's embeddings, or with those of another than the one at hand."""
    if faces.embeddings is None:
        raise TrainingError("faces: a teacher's embeddings are missing; run `embeddings` first")
    dimension, came = design.graph.output_shapes()["embedding"][1], faces.embeddings.shape[1]
    if came != dimension:
        raise TrainingError(f"faces: the teacher's embeddings have {came} numbers, {design.graph.name} has {dimension}")
    if teacher is not None and (faces.teacher or {}).get("sha256") != teacher.sha256:
        raise TrainingError(
            "teacher: the embeddings of the faces are of another network; run `embeddings` with this one"
        )


def _matched_nodes(design: Design, teacher: Teacher) -> tuple[tuple[int, int], ...]:
    """The ends of the design's stages with the nodes of the teacher whose maps have the same shapes."""
    shapes = design.graph.shapes()
    others = teacher.last_of([shapes[index] for index in design.skips])
    found = tuple((own, other) for own, other in zip(design.skips, others, strict=True) if other is not None)
    if not found:
        raise TrainingError(f"lambda_maps: no map of {design.graph.name} has the shape of one of {teacher.name}")
    return found


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
    trainer = RecognitionTrainer(settings, faces, out, processes or Processes.alone(), teacher)
    trainer.resume()
    try:
        first = trainer.processes.rank == 0  # the one that writes
        with open_metrics(out / "metrics.jsonl", trainer.step) if first else nullcontext() as metrics:
            _train(trainer, metrics)
    finally:
        trainer.preparer.shutdown(cancel_futures=True)
    return trainer.averaged


def _train(trainer: RecognitionTrainer, metrics: TextIO | None) -> None:
    settings = trainer.settings
    started, sums, counted = time.perf_counter(), dict.fromkeys(("total", *PARTS), 0.0), 0
    bar = tqdm(total=settings.steps, initial=trainer.step, desc="train recognition", unit="step", disable=not metrics)
    while trainer.step < settings.steps:
        for name, value in trainer.train_step().items():
            sums[name] += float(value.detach())
        counted += 1
        bar.update()
        if not math.isfinite(sums["total"]):
            raise TrainingError(f"the loss is not finite at step {trainer.step}; lower the learning rate")
        last = trainer.step == settings.steps
        if metrics and (trainer.step % LOG_EVERY == 0 or last):
            row: dict[str, Any] = {name: value / counted for name, value in sums.items()}
            row |= {"step": trainer.step, "rate": rate(settings, trainer.step - 1)}
            row["seconds"] = time.perf_counter() - started
            sums, counted = dict.fromkeys(sums, 0.0), 0
            if trainer.step % SAVE_EVERY == 0 or last:
                row["validation"] = measure(trainer.averaged, trainer.faces, trainer.measured)
                trainer.save()
            metrics.write(json.dumps(row) + "\n")
            metrics.flush()
            bar.set_postfix_str(f"loss {row['total']:.4f}")
    bar.close()
