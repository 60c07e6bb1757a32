"""The pipeline: samples, training and export of P-Net, then R-Net, then O-Net, and of L-Net if the set has one.

Every step leaves a folder and is passed over when that folder is complete, so the same command goes on after a stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cascade.nn.architectures import Stage
from train.common.checkpoints import TrainingError
from train.common.settings import plain_values, save_settings
from train.detection.curves import plot_losses
from train.detection.export import export
from train.detection.presets import StagePreset
from train.detection.sample_store import Samples, load_samples
from train.detection.samples import SampleSettings, make_samples, provenance
from train.detection.settings import TrainSettings
from train.detection.sources import Source
from train.detection.trainer import check_resumable, train

# What samples come from, by its name in their record, as errors call it.
OTHERS = {
    "annotations_sha256": "other annotations (--data, --pseudo-labels)",
    "recipe_sha256": "other sources, or other settings of them (--data)",
    "limit": "another --limit",
    "weights_sha256": "other weights of the stages before it",
}


@dataclass(frozen=True)
class Pipeline:
    """A run of the pipeline: where its data is, where it writes, and how its record describes both."""

    sources: tuple[Source, ...]
    out: Path
    command: str
    data: str  # for the model cards: what the weights learned from
    workers: int = 1
    limit: int | None = None  # as many of the photos, at random, for a quick try
    device: torch.device | None = None  # that trains; None: the first GPU if there is one

    @property
    def weights(self) -> Path:
        """The folder of the exported weights."""
        return self.out / "weights"

    def samples(self, preset: StagePreset) -> Samples:
        """The stage's samples, cut now unless they are there already. Raises TrainingError if those differ."""
        settings = preset.samples
        there = self.samples_there(preset)
        if there is not None:
            return there
        folder, before = self._samples_folder(settings.stage), self._earlier_weights(settings.stage)
        return make_samples(settings, self.sources, folder, before, self.workers, self.limit)

    def samples_there(self, preset: StagePreset) -> Samples | None:
        """The stage's samples if they are there. Raises TrainingError if they were cut otherwise or from other data.

        Folders from before a fact was recorded are believed to have had the same.
        """
        settings, folder = preset.samples, self._samples_folder(preset.samples.stage)
        if not (folder / "meta.json").exists():
            return None
        made = load_samples(folder)
        if {**plain_values(SampleSettings(settings.stage)), **made.meta["settings"]} != plain_values(settings):
            raise TrainingError(f"{folder} was made with other settings; remove it or use another folder")
        weights = self._earlier_weights(settings.stage)
        for name, value in provenance(settings.stage, self.sources, weights, self.limit).items():
            recorded = made.meta.get(name, value)
            expected = {**recorded, **value} if isinstance(value, dict) else value  # a lost weight file is no other one
            if recorded != expected:
                raise TrainingError(f"{folder} was made with {OTHERS[name]}; remove it or use another folder")
        return made

    def is_finished(self, stage: Stage) -> bool:
        """Whether the stage's weights are there."""
        return (self.weights / f"{stage}.safetensors").exists()

    def check_finished(self, preset: StagePreset) -> None:
        """Raises TrainingError if a finished stage was trained with other settings, or on other samples.

        What is no longer there is not compared.
        """
        self.samples_there(preset)
        check_resumable(preset.training, self.out / preset.training.stage)

    def _samples_folder(self, stage: Stage) -> Path:
        return self.out / f"{stage}-samples"

    def _earlier_weights(self, stage: Stage) -> Path | None:
        return None if stage in ("pnet", "lnet") else self.weights

    def stage(self, preset: StagePreset) -> None:
        """Samples, training and export of one stage."""
        samples, folder = self.samples(preset), self.out / preset.training.stage
        train_stage(preset.training, samples, folder, self.weights, self.command, self.data, self.device)


def train_stage(
    settings: TrainSettings,
    samples: Samples,
    out: Path,
    weights: Path,
    command: str,
    data: str,
    device: torch.device | None,
) -> str:
    """Trains a network in the folder ``out`` and exports it to ``weights``; returns the file's SHA-256.

    ``command`` and ``data`` are for the record: how it was trained, and on what.
    """
    check_resumable(settings, out)
    save_settings(settings, out, samples=samples.meta, command=command)
    network = train(settings, samples, out, device=device)
    plot_losses(out / "metrics.jsonl", out / "losses.png")
    return export(network, settings, samples, weights, command, data)
