"""The whole chain: samples, training and export of P-Net, then R-Net, then O-Net, and the L-Net of the default set.

Every step leaves a folder and is passed over when that folder is complete, so the same command goes on after a stop.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from train.common.checkpoints import TrainingError
from train.common.curves import plot_losses
from train.detection.export import export
from train.detection.packed import Samples, load_samples
from train.detection.presets import StagePreset
from train.detection.samples import SampleSettings, make_samples
from train.detection.settings import save_settings
from train.detection.sources import Source
from train.detection.trainer import check_resumable, train


def _plain(settings: SampleSettings) -> dict[str, Any]:
    """The settings as JSON gives them back."""
    return dict(json.loads(json.dumps(asdict(settings))))


@dataclass(frozen=True)
class Chain:
    """A run of the chain: where its data is, where it writes, and how its record describes both."""

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
        """The stage's samples, made now unless they are there already. Raises TrainingError if those differ."""
        settings = preset.samples
        folder = self.out / f"{settings.stage}-samples"
        if (folder / "meta.json").exists():
            made = load_samples(folder)
            if {**_plain(SampleSettings(settings.stage)), **made.meta["settings"]} != _plain(settings):
                raise TrainingError(f"{folder} was made with other settings; remove it or use another folder")
            return made
        before = None if settings.stage in ("pnet", "lnet") else self.weights
        return make_samples(settings, self.sources, folder, before, self.workers, self.limit)

    def stage(self, preset: StagePreset) -> None:
        """Samples, training and export of one stage."""
        settings, samples = preset.training, self.samples(preset)
        folder = self.out / settings.stage
        check_resumable(settings, folder)
        save_settings(settings, folder, samples=samples.meta, command=self.command)
        network = train(settings, samples, folder, device=self.device)
        plot_losses(folder / "metrics.jsonl", folder / "losses.png")
        export(network, settings, samples, self.weights, self.command, self.data)
