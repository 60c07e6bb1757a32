"""The command of `python -m train` about 68 landmarks.

Examples:
    python -m train landmarks --root DATA --out runs/landmarks
    python -m train landmarks --root DATA --sets points68/mine --out runs/mine --steps 3000
    python -m train landmarks … --initial cascade/models/weights/landmarks/points68.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import replace
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
    to.add_argument(
        "--initial", dest="start", metavar="FILE", help="begin from the checkpoint.pt of a run, or a weight file"
    )
    to.set_defaults(run=run_landmarks)


def run_landmarks(arguments: argparse.Namespace, command: str) -> None:
    """python -m train landmarks"""
    from cascade.datasets import read_points68
    from train.common.settings import save_settings, with_changes
    from train.landmarks.export import export_landmarks
    from train.landmarks.pack import pack_points
    from train.landmarks.trainer import LandmarkRun, LandmarkSettings

    names = ("steps", "batch", "seed", "learning_rate", "precision", "start")
    settings = with_changes(LandmarkSettings(), {name: getattr(arguments, name) for name in names})
    sets = [read_points68(arguments.root / name) for name in arguments.sets]
    photos = [replace(photo, name=f"{each.name}/{photo.name}") for each in sets for photo in each]
    run = LandmarkRun(settings, pack_points(photos, arguments.out / "faces"), arguments.out)
    save_settings(settings, arguments.out, command=command)
    run.train()
    path = arguments.out / "points68.safetensors"
    print(f"{path}  SHA-256 {export_landmarks(run, sets, path, command)}")
