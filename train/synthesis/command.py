"""The command of `python -m train` about age synthesis.

Examples:
    python -m train synthesis --data train/recipes/synthesis.toml --root DATA --out runs/synthesis
    python -m train synthesis … --size 64 --steps 4000          # a short run for a CPU
    python -m train synthesis … --initial runs/small/checkpoint.pt   # and a larger one that begins from it
    python -m train synthesis … --condition onehot
    python -m train synthesis … --joint                         # the recogniser learns in turns with the generator
    torchrun --nproc-per-node 4 -m train synthesis …
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from train.common.options import add_packed_run, add_start

CHANGES = ("size", "condition", "share", "joint", "steps", "batch", "learning_rate", "precision", "seed", "start")


def add_synthesis(commands: Any) -> None:
    """Adds the command to those of `python -m train`."""
    to = commands.add_parser("synthesis", help="train a generator that shows a face at other ages")
    to.add_argument("--data", type=Path, required=True, help="TOML file: [[source]] entries of sets with ages")
    add_packed_run(to, "face")
    to.add_argument("--size", type=int, choices=(64, 112), help="side of the crops in pixels")
    to.add_argument("--condition", choices=("onehot", "icb"), help="how the age enters: Figure 5a or 5b of the paper")
    to.add_argument("--share", type=float, help="share of its filters that an age has in common with each neighbour")
    to.add_argument(
        "--joint", action="store_true", default=None, help="let the recogniser learn in turns with the generator"
    )
    for name in ("steps", "batch", "seed"):
        to.add_argument(f"--{name}", type=int)
    to.add_argument("--learning-rate", type=float)
    _add_assigned(to, "--weigh", _weight, "LOSS=W", "weights of losses, as age=1.5 smooth=1")
    to.add_argument("--precision", choices=("float32", "bfloat16"))
    about = "what changes are multiplied by at an anchor age, as 75=1.15; the others are chosen on faces held out"
    _add_assigned(to, "--strength", _strength, "AGE=S", about)
    add_start(to)
    to.set_defaults(run=run_synthesis)


def _add_assigned(
    to: argparse.ArgumentParser, option: str, kind: Callable[[str], tuple[Any, float]], metavar: str, about: str
) -> None:
    """Adds an option that takes any number of NAME=NUMBER, and may be given more than once."""
    to.add_argument(option, nargs="+", action="extend", default=[], type=kind, metavar=metavar, help=about)


def _number(text: str) -> float | None:
    """The number that the text is, if any."""
    try:
        return float(text)
    except ValueError:
        return None


def _assigned(text: str) -> tuple[str, float | None]:
    """The name and the number, if any, of NAME=NUMBER."""
    name, _, value = text.partition("=")
    return name, _number(value)


def _weight(text: str) -> tuple[str, float]:
    """The setting that LOSS=W means. Raises ArgumentTypeError."""
    from train.synthesis.losses import LOSSES

    name, value = _assigned(text)
    if name in LOSSES and value is not None:
        return f"lambda_{name}", value
    raise argparse.ArgumentTypeError(f"expected LOSS=W with one of {', '.join(LOSSES)}, got {text!r}")


def _strength(text: str) -> tuple[float, float]:
    """The anchor age and the strength that AGE=S means. Raises ArgumentTypeError."""
    from cascade.models.aging import MOST_STRENGTH
    from train.synthesis.settings import ANCHORS

    name, value = _assigned(text)
    age = _number(name)
    if age is not None and age in ANCHORS and value is not None and 0 < value <= MOST_STRENGTH:
        return age, value
    ages = ", ".join(f"{anchor:g}" for anchor in ANCHORS)
    raise argparse.ArgumentTypeError(f"expected AGE=S with one of {ages} and S up to {MOST_STRENGTH:g}, got {text!r}")


def _each_once(option: str, assigned: list[tuple[Any, float]]) -> dict[Any, float]:
    """What was assigned by name. Raises ValueError for a name that is given twice."""
    names = [name for name, _ in assigned]
    for name in names:
        if names.count(name) > 1:
            given = name.removeprefix("lambda_") if isinstance(name, str) else f"{name:g}"
            raise ValueError(f"{option}: expected each name once, got {given} again")
    return dict(assigned)


def run_synthesis(arguments: argparse.Namespace, command: str) -> None:
    """python -m train synthesis"""
    from train.attributes.sources import read_attribute_sources
    from train.common.device import Processes
    from train.common.settings import save_settings, with_changes
    from train.detection.sources import read_entries
    from train.synthesis.export import export_synthesis
    from train.synthesis.faces import AgedFaces, packed_sets
    from train.synthesis.settings import SynthesisSettings
    from train.synthesis.trainer import SynthesisRun

    strengths = _each_once("--strength", arguments.strength)
    changes = {name: getattr(arguments, name) for name in CHANGES} | _each_once("--weigh", arguments.weigh)
    settings = with_changes(SynthesisSettings(), changes)
    if settings.start and not Path(settings.start).is_file():
        raise FileNotFoundError(f"--initial: there is no file {settings.start}")
    sources = read_attribute_sources(list(read_entries(arguments.data)), arguments.root)
    folder = arguments.faces or arguments.out / "faces"
    processes = Processes.joined()
    sets = packed_sets(sources, arguments.root, folder, arguments.workers, processes)
    faces = AgedFaces(sets, settings, processes.rank, processes.world)
    run = SynthesisRun(settings, faces, arguments.out, processes)
    if run.writes:
        save_settings(settings, arguments.out, command=command)
    run.train()
    if run.writes:
        path = arguments.out / f"{arguments.name}.safetensors"
        print(f"{path}  SHA-256 {export_synthesis(run, path, command, strengths)}")
