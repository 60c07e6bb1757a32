"""From a trained recogniser to a weight file with its model card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.models.recognizer import AGE_MEANS, save_recognizer
from cascade.nn.torch_graph import export_tensors
from cascade.recognize import centred_by_age
from cascade.version import __version__
from train.common.settings import revision
from train.detection.export import LICENCE
from train.recognition.age_means import model_age_means
from train.recognition.batches import split
from train.recognition.crops import FaceCrops
from train.recognition.measures import measure, operating_point, outputs
from train.recognition.model import RecognitionModel
from train.recognition.settings import RecognitionSettings

FALSE_ACCEPT_RATE = 1e-3  # at the threshold that the file recommends


def export_recognizer(
    model: RecognitionModel, settings: RecognitionSettings, faces: FaceCrops, folder: Path, command: str
) -> str:
    """Writes ``folder/<architecture>.safetensors`` and its card; returns the file's SHA-256.

    With it go the mean embeddings of the ages, of faces that were learned from. The threshold of `Recognizer.verify`
    is the one that accepts a thousandth of the pairs of different people among the faces of a known person or age that
    were held out of training; two faces of a known age alone are two people.
    """
    graph = model.architecture.graph
    model.eval()
    learned, measured = split(faces, settings.validation, settings.held_out)
    known = faces.persons[learned]
    means = model_age_means(model, faces, learned)
    vectors, people = _kept_out(model, faces, measured, means)
    point = operating_point(vectors, people, FALSE_ACCEPT_RATE)
    if point:
        point["measured_on"] = f"{np.unique(people).size:,} people of all ages held out of training"
    metadata = {
        "version": __version__,
        "revision": revision(),
        "licence": LICENCE,
        "data": "; ".join(faces.meta["sources"]),
        "teacher": faces.teacher if settings.lambda_distillation or settings.lambda_maps else None,
        "command": command,
        "settings": asdict(settings),
        "verification": point or None,
        "validation": measure(model, faces, measured),
    }
    arrays = {name: tensor.numpy().astype(np.float32) for name, tensor in export_tensors(model.network).items()}
    arrays[AGE_MEANS] = means
    sha256 = save_recognizer(folder / f"{settings.architecture}.safetensors", graph, arrays, metadata)
    facts: dict[str, Any] = {
        "Network": f"{settings.architecture}, {graph.weights():,} weights, {graph.multiply_adds() / 1e6:.0f} million "
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
    (folder / f"{settings.architecture}.md").write_text(f"# Recognition ({settings.architecture})\n\n{lines}")
    return sha256


def _kept_out(
    model: RecognitionModel, faces: FaceCrops, measured: NDArray[np.int64], means: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Embeddings (n, D) and persons (n,) of the faces of a known person or age; each of the latter is a person."""
    rows = measured[(faces.persons[measured] >= 0) | ~np.isnan(faces.ages[measured])]
    embeddings, logits = outputs(model, faces.crops[rows])
    assert logits is not None
    people = faces.persons[rows].copy()
    nameless = people < 0
    people[nameless] = faces.persons.max(initial=-1) + 1 + np.arange(nameless.sum())
    return centred_by_age(embeddings.numpy(), logits.numpy(), means), people


def _decision(point: dict[str, Any]) -> str:
    if not point:
        return "no threshold was measured: too few people were held out of training"
    rates = f"{point['false_accept_rate']:.2%} false and {point['true_accept_rate']:.1%} true accepts"
    return f"threshold {point['threshold']:.3f}: {rates} over {point['measured_on']}"


def _teacher(faces: FaceCrops, settings: RecognitionSettings) -> str:
    if not (settings.lambda_distillation or settings.lambda_maps) or faces.teacher is None:
        return "none"
    learned = {"embeddings": settings.lambda_distillation, "maps": settings.lambda_maps}
    both = " and ".join(name for name, weight in learned.items() if weight)
    return f"{both} of {faces.teacher['network']} (SHA-256 `{faces.teacher['sha256'][:12]}…`)"
