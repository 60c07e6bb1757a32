"""The runs of the experiments: short trainings that are done once, resumed where they stopped, and shared."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade.nn.architectures import Stage
from cascade.nn.torch_network import CascadeNetwork
from train.common.checkpoints import TrainingError, checkpoint_file
from train.common.files import save_json
from train.common.settings import save_settings
from train.detection.batches import split
from train.detection.sample_store import Samples, load_samples
from train.detection.settings import TrainSettings
from train.detection.trainer import check_resumable, train
from train.experiments.baseline_networks import FAMILIES
from train.experiments.definitions import Arm
from train.experiments.measures import Figures, evaluate

FAMILY = "paper"
BATCH = 128
# About a minute on one core each.
STEPS: dict[Stage, int] = {"pnet": 1500, "rnet": 800, "onet": 300}
POINTS = 12  # of a validation curve
# More validation samples would cost more time than the training.
VALIDATION_SHARE, MAX_VALIDATION = 0.15, 2000


@dataclass(frozen=True)
class Run:
    """One finished training: its figures on the validation samples and the rows of metrics.jsonl."""

    arm: Arm
    seed: int
    folder: Path
    steps: int
    figures: Figures
    metrics: list[dict[str, Any]]

    def curve(self, path: tuple[str, ...]) -> tuple[list[int], list[float]]:
        """Steps and values of one quantity, which is found in a row of the metrics by ``path``."""
        rows = [row for row in self.metrics if row.get("validation")]
        values: list[Any] = list(rows)
        for key in path:
            values = [value[key] for value in values]
        return [row["step"] for row in rows], values


@dataclass(frozen=True)
class Protocol:
    """What all runs of a stage have in common: samples, length, and the recipe.

    The recipe is the paper's (Adam at a constant 0.001, no batch normalisation unless ``batch_norm``, no
    augmentation), with batches of `BATCH` in place of 32. Network and batches of a run depend on its seed alone, so the
    arms of an experiment start alike and see the same samples in the same order. Weights are not averaged.
    """

    stage: Stage
    samples: Samples
    out: Path
    command: str
    steps: int
    batch_norm: bool = False

    def settings(self, arm: Arm, seed: int) -> TrainSettings:
        """The settings of one run."""
        every = max(1, self.steps // POINTS)
        common = TrainSettings(
            self.stage,
            family=FAMILY,
            seed=seed,
            steps=self.steps,
            batch=BATCH,
            learning_rate=1e-3,
            schedule="constant",
            weight_decay=0.0,
            batch_norm=self.batch_norm,
            augment=False,
            ema_decay=0.0,
            validation_share=min(VALIDATION_SHARE, MAX_VALIDATION / max(len(self.samples), 1)),
            log_every=every,
            checkpoint_every=every,
        )
        return replace(common, **arm.changes)

    def folder(self, arm: Arm, seed: int) -> Path:
        """The folder of one run."""
        return self.out / "runs" / arm.folder / f"seed-{seed}"

    def network(self, arm: Arm, seed: int) -> CascadeNetwork:
        """The trained network of a run, which is trained now unless it is complete.

        Raises TrainingError if the folder holds a run of other settings or samples.
        """
        settings, folder = self.settings(arm, seed), self.folder(arm, seed)
        self._check(settings, folder)
        if not checkpoint_file(folder).exists():
            save_settings(settings, folder, samples=self.samples.meta, command=self.command)
        architecture = FAMILIES[settings.family][self.stage] if settings.family in FAMILIES else None
        return train(settings, self.samples_of(arm), folder, architecture).eval()

    def samples_of(self, arm: Arm) -> Samples:
        """What the runs of an arm learn from: all samples."""
        return self.samples

    def run(self, arm: Arm, seed: int) -> Run:
        """A complete run with its figures."""
        settings, folder = self.settings(arm, seed), self.folder(arm, seed)
        self._check(settings, folder)
        file = folder / "figures.json"
        if not file.exists():
            network = self.network(arm, seed)
            _, validation = split(self.samples, settings.validation_share)
            save_json(file, evaluate(network, self.samples, validation, settings.heads))
        metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        run = Run(arm, seed, folder, settings.steps, json.loads(file.read_text()), metrics)
        _, losses = run.curve(("validation", "face"))
        late = losses[-math.ceil(len(losses) / 3) :]
        return replace(run, figures={**run.figures, "late_cross_entropy": sum(late) / len(late) if late else None})

    def _check(self, settings: TrainSettings, folder: Path) -> None:
        if not checkpoint_file(folder).exists():
            return
        check_resumable(settings, folder)
        if json.loads((folder / "settings.json").read_text())["samples"] != self.samples.meta:
            raise TrainingError(f"{folder} was made from other samples; remove it or use another folder")


def open_samples(folder: Path, stage: Stage, family: str = FAMILY) -> Samples:
    """Opens the samples of a stage of a family's networks. Raises TrainingError if they are for others."""
    samples = load_samples(folder)
    made = samples.meta.get("settings", {})
    for name, expected in (("stage", stage), ("family", family)):
        if made.get(name) != expected:
            raise TrainingError(
                f"samples: {folder} was made for {name} {made.get(name)!r}, expected {expected!r} "
                f"(python -m train samples --stage {stage} --family {family} …)"
            )
    return samples
