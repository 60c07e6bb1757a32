"""From a trained recogniser to a weight file with its model card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cascade.graph_networks import export_tensors
from cascade.recognition_weights import save_recognizer
from cascade.version import __version__
from train.export import LICENCE
from train.recognition.batches import split
from train.recognition.crops import FaceCrops
from train.recognition.measures import measure, operating_point
from train.recognition.model import RecognitionModel
from train.recognition.settings import RecognitionSettings
from train.settings import revision

FALSE_ACCEPT_RATE = 1e-3  # at the threshold that the file recommends


def export_recognizer(
    model: RecognitionModel, settings: RecognitionSettings, faces: FaceCrops, folder: Path, command: str
) -> str:
    """Writes ``folder/<design>.safetensors`` and its card; returns the file's SHA-256.

    The threshold of `Recognizer.verify` is the one that accepts a thousandth of the pairs of different people among
    the persons kept out of training.
    """
    graph = model.design.graph
    learned, measured = split(faces, settings.validation)
    known, persons = faces.persons[learned], faces.persons[measured]
    named = persons >= 0
    point = operating_point(model, faces.crops[measured[named]], persons[named], FALSE_ACCEPT_RATE)
    if point:
        point["measured_on"] = f"{np.unique(persons[named]).size} people kept out of training"
    metadata = {
        "version": __version__,
        "revision": revision(),
        "licence": LICENCE,
        "data": "; ".join(faces.meta["sources"]),
        "teacher": faces.teacher if settings.lambda_distillation else None,
        "command": command,
        "settings": asdict(settings),
        "verification": point or None,
        "validation": measure(model, faces, measured),
    }
    arrays = {name: tensor.numpy().astype(np.float32) for name, tensor in export_tensors(model.network).items()}
    sha256 = save_recognizer(folder / f"{settings.design}.safetensors", graph, arrays, metadata)
    facts: dict[str, Any] = {
        "Network": f"{settings.design}, {graph.weights():,} weights, {graph.multiply_adds() / 1e6:.0f} million "
        "multiply-adds a face; half precision in the file",
        "Learned from": metadata["data"],
        "Teacher": _teacher(faces, settings),
        "Faces": f"{len(learned):,}, among them {np.unique(known[known >= 0]).size:,} people with a name",
        "Losses": ", ".join(f"{value:g} {name}" for name, value in settings.weights().items() if value),
        "Steps": f"{settings.steps:,} batches of {settings.batch}",
        "Command": f"`{command}`",
        "Verification": _decision(point),
        "Licence": LICENCE,
        "SHA-256": f"`{sha256}`",
    }
    lines = "".join(f"- **{name}**: {fact}\n" for name, fact in facts.items())
    (folder / f"{settings.design}.md").write_text(f"# Recognition ({settings.design})\n\n{lines}")
    return sha256


def _decision(point: dict[str, Any]) -> str:
    if not point:
        return "no threshold was measured: too few people were kept out of training"
    rates = f"{point['false_accept_rate']:.2%} false and {point['true_accept_rate']:.1%} true accepts"
    return f"threshold {point['threshold']:.3f}: {rates} over {point['measured_on']}"


def _teacher(faces: FaceCrops, settings: RecognitionSettings) -> str:
    if not settings.lambda_distillation or faces.teacher is None:
        return "none"
    return f"embeddings of {faces.teacher['network']} (SHA-256 `{faces.teacher['sha256'][:12]}…`)"
