"""From a trained attribute network to a weight file with its model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cascade.models.attributes import AttributeTask, save_attributes
from cascade.version import __version__
from train.attributes.batches import LabelledFaces
from train.attributes.measures import measure
from train.attributes.model import AttributeModel
from train.attributes.networks import FaceNetwork
from train.attributes.private import PrivateHeads, PrivateSettings
from train.attributes.settings import AttributeSettings
from train.attributes.tasks import Task
from train.common.checkpoints import TrainingError
from train.common.settings import revision
from train.detection.export import LICENCE

NOT_FOR = (
    "how a face looks, not what a person is. It errs more on some groups than on others: measure it on yours before "
    "you rely on it. The EU AI Act forbids inferring race from biometric data, and emotions at work and in schools"
)


class ExportError(TrainingError):
    """A network cannot become a weight file."""


def export_attributes(
    model: AttributeModel | FaceNetwork | PrivateHeads,
    settings: AttributeSettings | PrivateSettings,
    faces: LabelledFaces,
    path: Path,
    command: str,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Writes the weight file and its card beside it; returns the file's SHA-256.

    Raises ExportError for a network that the native engine does not run.
    """
    if isinstance(model, FaceNetwork):
        raise ExportError(f"{type(model).__name__} is for torch alone: see train.attributes.torch_file")
    graph = model.architecture.graph
    about = [
        f"{each.source.about or each.source.name} ({len(each.learned):,} faces learned from)"
        for each in faces.sets
        if len(each.learned)
    ]
    validation = measure(model, faces, faces.measured)
    metadata = {
        "version": __version__,
        "revision": revision(),
        "licence": LICENCE,
        "data": "; ".join(about),
        "command": command,
        "settings": asdict(settings),
        "validation": validation,
        **(extra or {}),
    }
    arrays = {name: tensor.numpy().astype(np.float32) for name, tensor in model.tensors().items()}
    sha256 = save_attributes(path, graph, [exported(task) for task in faces.tasks], arrays, metadata)
    facts = {
        "Network": f"{graph.name}, {graph.weights():,} weights, {graph.multiply_adds() / 1e6:.0f} million "
        "multiply-adds a face; half precision in the file",
        "Says": "; ".join(_told(task) for task in faces.tasks),
        "Learned from": metadata["data"],
        "Faces": f"{len(faces.learned):,}; {len(faces.measured):,} held out",
        "Held out": ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in validation.items()),
        "Steps": f"{settings.steps:,} batches of {settings.batch}",
        **({"Differential privacy": _private(extra["privacy"])} if extra and "privacy" in extra else {}),
        "Command": f"`{command}`",
        "What it is": NOT_FOR,
        "Licence": LICENCE,
        "SHA-256": f"`{sha256}`",
    }
    lines = "".join(f"- **{name}**: {fact}\n" for name, fact in facts.items())
    path.with_suffix(".md").write_text(f"# Attributes ({path.stem})\n\n{lines}")
    return sha256


def _private(privacy: Mapping[str, Any]) -> str:
    """What the card says of the privacy of the faces that were learned from."""
    return (
        f"ε = {privacy['epsilon']:.2f}, δ = {privacy['delta']:.1g}, for each face that was learned from; noise "
        f"{privacy['noise_multiplier']:.2f} times the largest gradient, sample rate {privacy['sample_rate']:.3g}"
    )


def exported(task: Task) -> AttributeTask:
    """The task as the weight file states it."""
    if task.kind == "classification":
        return AttributeTask(task.name, task.kind, task.classes)
    return AttributeTask(task.name, task.kind, (), task.low, task.high)


def _told(task: Task) -> str:
    if task.kind == "classification":
        return f"{task.name} ({', '.join(task.classes)})"
    return f"{task.name} ({task.low:g} to {task.high:g})"
