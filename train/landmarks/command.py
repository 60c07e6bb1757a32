"""The command of `python -m train` about 68 landmarks.

Examples:
    python -m train landmarks --root DATA --out runs/landmarks
    python -m train landmarks --root DATA --sets points68/mine --out runs/mine --steps 3000
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

SETS = ("points68/helen_trainset", "points68/afw_afw")


def add_landmarks(commands: Any) -> None:
    """Adds the command to those of `python -m train`."""
    to = commands.add_parser("landmarks", help="train a network for 68 landmarks")
    to.add_argument("--root", type=Path, required=True, help="folder that the sets are below")
    to.add_argument("--sets", nargs="+", default=SETS, help="folders of photos with .pts files beside them")
    to.add_argument("--out", type=Path, required=True, help="folder of the run; the same command resumes it")
    for name in ("steps", "batch", "seed"):
        to.add_argument(f"--{name}", type=int)
    to.add_argument("--learning-rate", type=float)
    to.add_argument("--precision", choices=("float32", "bfloat16"))
    to.set_defaults(run=run_landmarks)


def run_landmarks(arguments: argparse.Namespace, command: str) -> None:
    """python -m train landmarks"""
    import numpy as np

    from cascade.datasets import read_points68
    from cascade.models.landmarks import save_landmarks
    from cascade.nn.torch_graph import export_tensors
    from cascade.version import __version__
    from train.common.settings import revision, save_settings, with_changes
    from train.detection.export import LICENCE
    from train.landmarks.pack import pack_points
    from train.landmarks.shapes import mean_face
    from train.landmarks.trainer import LandmarkRun, LandmarkSettings

    names = ("steps", "batch", "seed", "learning_rate", "precision")
    settings = with_changes(LandmarkSettings(), {name: getattr(arguments, name) for name in names})
    sets = [read_points68(arguments.root / name) for name in arguments.sets]
    photos = [replace(photo, name=f"{each.name}/{photo.name}") for each in sets for photo in each]
    run = LandmarkRun(settings, pack_points(photos, arguments.out / "faces"), arguments.out)
    save_settings(settings, arguments.out, command=command)
    run.train()
    measured = run.validate()
    arrays = {name: tensor.cpu().numpy() for name, tensor in export_tensors(run.averaged).items()}
    arrays["mean_shape"] = run.mean_shape
    arrays["mean_face"] = mean_face(np.stack([photo.points for photo in photos])).astype(np.float32)
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
    path = arguments.out / "points68.safetensors"
    graph = run.averaged.graph
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
    print(f"{path}  SHA-256 {sha256}")
