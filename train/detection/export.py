"""From a trained network to a weight file with its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cascade.models.detector import save_stage
from cascade.nn.torch_network import CascadeNetwork, export_tensors
from cascade.version import __version__
from train.common.settings import revision
from train.detection.sample_store import Samples
from train.detection.settings import TrainSettings

LICENCE = "non-commercial research: learned from photos that were collected for research"


def export(
    network: CascadeNetwork, settings: TrainSettings, samples: Samples, folder: Path, command: str, data: str
) -> str:
    """Writes ``folder/<stage>.safetensors`` and its card; returns the file's SHA-256.

    P-Net and R-Net keep the heads for face and box alone; the landmarks only help them to learn.
    """
    architecture = network.architecture
    if settings.stage in ("pnet", "rnet"):
        architecture = architecture.without_landmarks()
    tensors = export_tensors(network, architecture.outputs)
    metadata = {
        "stage": settings.stage,
        "family": settings.family,
        "version": __version__,
        "revision": revision(),
        "licence": LICENCE,
        "data": data,
        "command": command,
        "seed": str(settings.seed),
        "annotations_sha256": str(samples.meta.get("annotations_sha256", "")),
    }
    arrays = {name: tensor.numpy().astype(np.float32) for name, tensor in tensors.items()}
    sha256 = save_stage(folder / f"{settings.stage}.safetensors", architecture, arrays, metadata)
    facts: dict[str, Any] = {
        "Network": f"{settings.family} {settings.stage}, {architecture.weights():,} weights, "
        f"{architecture.multiply_adds() / 1e6:.2f} million multiply-adds for one window",
        "Learned from": data,
        "Samples": ", ".join(f"{n:,} {name}" for name, n in samples.counts().items()),
        "Command": f"`{command}`",
        "Seed": settings.seed,
        "Steps": f"{settings.steps:,} batches of {settings.batch}",
        "Licence": LICENCE,
        "SHA-256": f"`{sha256}`",
    }
    lines = "".join(f"- **{name}**: {fact}\n" for name, fact in facts.items())
    (folder / f"{settings.stage}.md").write_text(f"# {settings.stage} ({settings.family})\n\n{lines}")
    return sha256
