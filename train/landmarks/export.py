"""From a trained landmark network to a weight file with its model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from cascade.datasets import PointsPhotos
from cascade.models.landmarks import save_landmarks
from cascade.nn.torch_graph import export_tensors
from cascade.version import __version__
from train.common.settings import revision
from train.detection.export import LICENCE
from train.landmarks.shapes import mean_face
from train.landmarks.trainer import LandmarkRun


def export_landmarks(run: LandmarkRun, sets: Sequence[PointsPhotos], path: Path, command: str) -> str:
    """Writes the weight file and its card beside it; returns the file's SHA-256."""
    settings, measured, graph = run.settings, run.validate(), run.averaged.graph
    arrays = {name: tensor.cpu().numpy() for name, tensor in export_tensors(run.averaged).items()}
    arrays["mean_shape"] = run.mean_shape
    points = np.stack([photo.points for each in sets for photo in each])
    arrays["mean_face"] = mean_face(points).astype(np.float32)
    data = ", ".join(f"{each.name} ({len(each):,} faces)" for each in sets)
    metadata = {
        "version": __version__,
        "revision": revision(),
        "licence": LICENCE,
        "data": data,
        "command": command,
        "settings": asdict(settings),
        "validation": measured,
    }
    sha256 = save_landmarks(path, graph, arrays, metadata)
    facts = {
        "Network": f"{graph.name}, {graph.weights():,} weights, {graph.multiply_adds() / 1e6:.0f} million "
        "multiply-adds a pass; half precision in the file",
        "Says": "68 points in the order of iBUG's 300-W, and a mean face for the head pose, from their motion",
        "Learned from": data,
        "Held out": f"{len(run.measured)} of these faces: error {measured['nme']:.2f} % of the distance between the "
        "outer eye corners, in crops aligned by the annotated points",
        "Steps": f"{settings.steps:,} batches of {settings.batch}",
        "Command": f"`{command}`",
        "Licence": LICENCE,
        "SHA-256": f"`{sha256}`",
    }
    lines = "".join(f"- **{name}**: {fact}\n" for name, fact in facts.items())
    path.with_suffix(".md").write_text(f"# 68 landmarks\n\n{lines}")
    return sha256
