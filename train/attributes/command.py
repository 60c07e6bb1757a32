"""The command of `python -m train` about attributes.

Examples:
    python -m train attributes --config train/recipes/attributes.toml --root DATA --out runs/attributes
    python -m train attributes --config mine.toml --root DATA --out runs/mine --steps 500
    python -m train attributes … --initial cascade/models/weights/attributes/face.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.common.options import add_packed_run, add_start

if TYPE_CHECKING:
    from train.attributes.settings import AttributeConfig

CHANGES = ("steps", "batch", "learning_rate", "views", "seed", "task_weights", "precision", "start")


def add_attributes(commands: Any) -> None:
    """Adds the command to those of `python -m train`."""
    to = commands.add_parser("attributes", help="train a network that says what a face tells: tasks of your own too")
    to.add_argument("--config", type=Path, required=True, help="TOML file: [run], [[task]], [[source]]")
    add_packed_run(to, "attributes")
    for name in ("steps", "batch", "views", "seed"):
        to.add_argument(f"--{name}", type=int)
    to.add_argument("--learning-rate", type=float)
    to.add_argument("--task-weights", choices=("fixed", "uncertainty", "dwa", "gradnorm"))
    to.add_argument("--precision", choices=("float32", "bfloat16"))
    add_start(to)
    to.add_argument("--dp-epsilon", type=float, metavar="E", help="differentially private: heads alone, with this ε")
    to.add_argument("--dp-delta", type=float, metavar="D", help="and this δ (default: a tenth of one over the faces)")
    to.set_defaults(run=run_attributes)


def run_attributes(arguments: argparse.Namespace, command: str) -> None:
    """python -m train attributes"""
    from train.attributes.export import export_attributes
    from train.attributes.measures import same_distribution
    from train.attributes.networks import FaceNetwork
    from train.attributes.prepare import prepared
    from train.attributes.settings import read_config
    from train.attributes.torch_file import save_torch_network
    from train.attributes.trainer import AttributeRun
    from train.common.settings import save_settings

    config = read_config(arguments.config, arguments.root, {name: getattr(arguments, name) for name in CHANGES})
    if arguments.dp_epsilon is not None:
        run_private(arguments, config, command)
        return
    faces, model = prepared(config, arguments.root, arguments.faces or arguments.out / "faces", arguments.workers)
    agree = same_distribution(faces)
    print(f"{len(faces.learned):,} faces to learn from, {len(faces.measured):,} to measure on")
    for name, p in agree.items():
        print(f"{name}: same distribution in both parts with p = {p:.2g} (Kolmogorov–Smirnov)")
    run = AttributeRun(config.settings, faces, model, arguments.out)
    save_settings(config.settings, arguments.out, command=command, tasks=[task.name for task in config.tasks])
    run.train()
    path, best = arguments.out / f"{arguments.name}.safetensors", run.best.cpu()
    if isinstance(best, FaceNetwork):
        save_torch_network(path, best, config.settings.architecture, {"command": command})
        print(f"{path}  for torch alone: {config.settings.architecture} has no weight file for `cascade`")
        return
    sha256 = export_attributes(best, config.settings, faces, path, command, {"same_distribution": agree})
    print(f"{path}  SHA-256 {sha256}")


def run_private(arguments: argparse.Namespace, config: AttributeConfig, command: str) -> None:
    """python -m train attributes --dp-epsilon"""
    from dataclasses import replace

    from train.attributes.export import export_attributes
    from train.attributes.private import PrivateRun, PrivateSettings, noise_for, prepared_private
    from train.common.settings import save_settings

    folder = arguments.faces or arguments.out / "faces"
    faces, model = prepared_private(config, arguments.root, folder, arguments.workers)
    delta = 0.1 / len(faces.learned) if arguments.dp_delta is None else arguments.dp_delta
    given = {name: getattr(arguments, name) for name in ("steps", "batch", "learning_rate", "seed")}
    settings = PrivateSettings(
        arguments.dp_epsilon, delta, **{name: value for name, value in given.items() if value is not None}
    )
    settings = replace(settings, noise_multiplier=noise_for(settings, len(faces.learned)))
    run = PrivateRun(settings, faces, model, arguments.out)
    save_settings(settings, arguments.out, command=command, tasks=[task.name for task in config.tasks])
    run.train()
    model.load_state_dict(run.averaged)
    path = arguments.out / f"{arguments.name}.safetensors"
    sha256 = export_attributes(model, settings, faces, path, command, {"privacy": run.privacy()})
    print(f"ε = {run.spent():.2f} spent, δ = {delta:.2g}")
    print(f"{path}  SHA-256 {sha256}")
