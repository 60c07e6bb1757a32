"""The pipeline: samples, training and export of P-Net, then R-Net, then O-Net, and of L-Net if the set has one.

Every step leaves a folder and is passed over when that folder is complete, so the same command goes on after a stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from train.common.checkpoints import TrainingError
from train.common.settings import plain_values, save_settings
from train.detection.curves import plot_losses
from train.detection.export import export
from train.detection.presets import StagePreset
from train.detection.sample_store import Samples, load_samples
from train.detection.samples import SampleSettings, make_samples
from train.detection.settings import TrainSettings
from train.detection.sources import Source
from train.detection.trainer import check_resumable, train


@dataclass(frozen=True)
class Pipeline:
    """A run of the pipeline: where its data is, where it writes, and how its record describes both."""

    sources: tuple[Source, ...]
    out: Path
    command: str
    data: str  # for the model cards: what the weights learned from
    workers: int = 1
    limit: int | None = None  # only the first photos, for a quick try
    device: torch.device | None = None  # that trains; None: the first GPU if there is one

    @property
    def weights(self) -> Path:
        """The folder of the exported weights."""
        return self.out / "weights"

    def samples(self, preset: StagePreset) -> Samples:
        """The stage's samples, cut now unless they are there already. Raises TrainingError if those differ."""
        settings = preset.samples
        folder = self.out / f"{settings.stage}-samples"
        if (folder / "meta.json").exists():
            made = load_samples(folder)
            if {**plain_values(SampleSettings(settings.stage)), **made.meta["settings"]} != plain_values(settings):
                raise TrainingError(f"{folder} was made with other settings; remove it or use another folder")
            return made
        before = None if settings.stage in ("pnet", "lnet") else self.weights
        return make_samples(settings, self.sources, folder, before, self.workers, self.limit)

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
