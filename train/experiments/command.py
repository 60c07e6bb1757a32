"""python -m train experiment, ablation and paper: the papers' own comparisons, each one command.

    python -m train experiment mining --samples runs/paper/onet-samples --out runs/experiments
    python -m train experiment landmarks --samples runs/paper/onet-samples --out runs/experiments --seeds 1 2 3 4 5
    python -m train experiment architectures --samples … --samples-rnet … --samples-pnet … --out runs/experiments
    python -m train experiment photos --samples runs/mine/onet-samples --weights runs/mine/weights --data DATA --out …
    python -m train ablation --faces runs/faces --initial runs/plain/checkpoint.pt --fgnet FGNET --out runs/ablation

    python -m train paper rohani --root DATA --faces runs/faces --out runs/rohani --steps 2000

NAME.csv has a row for each run, NAME.json means and paired differences, NAME.png the curves. Finished runs in --out
are used again, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from cascade.nn.architectures import Stage
from train.recognition.command import add_teacher, opened_teacher
from train.recognition.settings import PRESETS

NAMES = {
    "mining": "O-Net with and without online hard sample mining (figure 6a)",
    "ratio": "O-Net by the share of the hardest samples that is mined",
    "landmarks": "O-Net with and without the joint landmark task (figure 6b)",
    "alpha": "O-Net by the weight of the landmark task",
    "photos": "the default O-Net by the share of the training photos: the learning curve over the data",
    "architectures": "P-, R- and O-Net beside 12-, 24- and 48-net of Li et al. (table 1)",
}


def add_experiments(commands: Any) -> None:
    """Adds the commands to those of `python -m train`."""
    about = "".join(f"\n    {name:14}{text}" for name, text in NAMES.items())
    to = commands.add_parser(
        "experiment",
        help="a comparison of the detection paper, with results and curves",
        description=f"{__doc__}\nNAME:{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    to.add_argument("name", metavar="NAME", choices=NAMES)
    to.add_argument("--samples", type=Path, required=True, help="O-Net samples of --family paper (photos: default)")
    to.add_argument("--samples-rnet", type=Path, help="R-Net samples of --family paper, for architectures")
    to.add_argument("--samples-pnet", type=Path, help="P-Net samples of --family paper, for architectures")
    to.add_argument("--out", type=Path, required=True, help="folder for results, and for the runs that they share")
    to.add_argument("--steps", type=int, help="of every run; by default about a minute's worth on one core")
    to.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    to.add_argument("--batch-norm", action="store_true", help="batch normalisation in all arms; the paper had none")
    to.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of products, for photos")
    to.add_argument("--weights", type=Path, help="P-Net and R-Net to evaluate the complete cascade with; needs --data")
    to.add_argument("--data", type=Path, help="folder with wider/validation_from_train.txt, for --weights")
    to.add_argument("--photos", type=int, help="only the first photos of that list")
    to.set_defaults(run=run_experiment)
    _add_ablation(commands)
    _add_papers(commands)


def _add_ablation(commands: Any) -> None:
    to = commands.add_parser("ablation", help="what decomposition and adversary are worth, on FG-NET")
    to.add_argument("--faces", type=Path, required=True, help="folder that `faces` wrote")
    to.add_argument("--initial", dest="start", required=True, help="checkpoint.pt of a run with --no-decomposition")
    to.add_argument("--config", choices=PRESETS, default="light", help="that the run was trained with")
    to.add_argument("--batch", type=int)
    add_teacher(to)
    to.add_argument("--fgnet", type=Path, required=True, help="FG-NET's folder, with images and points")
    to.add_argument("--out", type=Path, required=True, help="folder for results and runs")
    to.add_argument("--steps", type=int, default=250, help="of every run")
    to.add_argument("--learning-rate", type=float, default=5e-4)
    to.add_argument("--frozen", type=int, default=2, help="stages of the encoder that stay as they are")
    to.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    to.add_argument("--threads", type=int, default=0)
    to.set_defaults(run=run_ablation)


def _add_papers(commands: Any) -> None:
    to = commands.add_parser(
        "paper",
        help="the networks of a paper on what a face tells, beside its printed figures",
        description="Trains the networks that a paper compares, all with one budget. li: age, gender and ethnicity on "
        "UTKFace, expression on FER2013. aboluhom: a frozen base with heads for nine people. rohani: BKNet for one "
        "task, MTL-BKNet, MTL-MBKNet. speziali: a dual-task network against two single-task ones. runs.csv has a row "
        "for each run, table.md the means. Complete runs in --out are used again.",
    )
    to.add_argument("name", metavar="PAPER", choices=("li", "aboluhom", "rohani", "speziali"), help="by its author")
    to.add_argument("--root", type=Path, required=True, help="folder with the sets, as the registry names them")
    to.add_argument("--faces", type=Path, help="folder of the packed faces, for several runs to share; OUT/faces")
    to.add_argument("--out", type=Path, required=True, help="folder for runs and results")
    to.add_argument("--steps", type=int, default=2000, help="of every run, unless it stops before (default: 2000)")
    to.add_argument("--batch", type=int, default=128)
    to.add_argument("--limit", type=int, help="faces of each set, for a small budget; another --faces folder then")
    to.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the products in a step")
    to.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    to.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that find faces")
    to.set_defaults(run=run_paper_command)


def run_paper_command(arguments: argparse.Namespace, command: str) -> None:
    """python -m train paper"""
    from train.experiments.face_papers import PAPERS  # with them comes the evaluation, which training does without
    from train.experiments.paper_runs import Budget, run_paper

    for name in ("steps", "batch", "limit", "workers"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name}: expected at least 1, got {value}")
    if len(set(arguments.seeds)) < len(arguments.seeds):
        raise ValueError(f"--seeds: expected different ones, got {' '.join(map(str, arguments.seeds))}")
    budget = Budget(arguments.steps, arguments.batch, limit=arguments.limit, precision=arguments.precision)
    faces = arguments.faces or arguments.out / "faces"
    paper, out = PAPERS[arguments.name], arguments.out
    run_paper(paper, budget, arguments.seeds, arguments.root, faces, out, command, arguments.workers)
    print((out / "table.md").read_text(), end="")


def run_experiment(arguments: argparse.Namespace, command: str) -> None:
    """python -m train experiment"""
    from train.experiments import onet, table_one  # with them comes the evaluation, which training does without
    from train.experiments.definitions import EXPERIMENTS

    _check(arguments)
    if arguments.name == "architectures":
        folders: dict[Stage, Path | None] = {
            "pnet": arguments.samples_pnet,
            "rnet": arguments.samples_rnet,
            "onet": arguments.samples,
        }
        protocols = {stage: _protocol(arguments, command, stage, path) for stage, path in folders.items() if path}
        print(table_one.results(table_one.run_table(protocols, arguments.seeds)))
        return
    experiment = EXPERIMENTS[arguments.name]
    protocol = _protocol(arguments, command, "onet", arguments.samples)
    cascade = None
    if arguments.weights is not None:
        from train.experiments.full_cascade import open_cascade

        cascade = open_cascade(arguments.weights, arguments.data, arguments.photos)
    print(onet.results(experiment, onet.run_arms(experiment, protocol, arguments.seeds, cascade)))


def _protocol(arguments: argparse.Namespace, command: str, stage: Stage, folder: Path) -> Any:
    from train.experiments.learning_curve import FAMILY, LearningCurve
    from train.experiments.runs import STEPS, Protocol, open_samples

    steps = arguments.steps or STEPS[stage]
    if arguments.name == "photos":
        samples = open_samples(folder, stage, FAMILY)
        return LearningCurve(stage, samples, arguments.out, command, steps, True, arguments.precision)
    return Protocol(stage, open_samples(folder, stage), arguments.out, command, steps, arguments.batch_norm)


def _check(arguments: argparse.Namespace) -> None:
    """Raises ValueError for options that do not go together."""
    if (arguments.weights is None) != (arguments.data is None):
        raise ValueError("--weights and --data: expected both or none")
    if arguments.photos is not None and arguments.weights is None:
        raise ValueError("--photos: expected --weights and --data beside it")
    if arguments.weights is not None and arguments.name == "architectures":
        raise ValueError("--weights: architectures evaluates no cascade")
    if arguments.precision != "float32" and arguments.name != "photos":
        raise ValueError(f"--precision: expected float32 for {arguments.name}, got {arguments.precision}")
    for name in ("steps", "photos"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name}: expected at least 1, got {value}")
    if len(set(arguments.seeds)) < len(arguments.seeds):
        raise ValueError(f"--seeds: expected different ones, got {' '.join(map(str, arguments.seeds))}")


def run_ablation(arguments: argparse.Namespace, command: str) -> None:
    """python -m train ablation"""
    from train.experiments.recognition_ablation import LABELS, run_arms  # with it comes the evaluation
    from train.recognition.crops import load_crops

    preset = PRESETS[arguments.config]
    base = replace(
        preset,
        start=arguments.start,
        steps=arguments.steps,
        batch=arguments.batch or preset.batch,
        learning_rate=arguments.learning_rate,
        lambda_maps=preset.lambda_maps if arguments.teacher else 0.0,
        frozen=arguments.frozen,
        threads=arguments.threads,
    )
    faces, teacher = load_crops(arguments.faces), opened_teacher(arguments)
    rows = run_arms(base, arguments.seeds, faces, arguments.fgnet, arguments.out, teacher)
    for arm in LABELS:
        means = [
            sum(row[name] for row in rows if row["arm"] == arm) / len(arguments.seeds) for name in ("rank1", "eer")
        ]
        print(f"{arm:14} rank-1 {means[0]:.3f}  EER {means[1]:.3f}")
    print(f"{arguments.out}: ablation.csv, ablation.json, ablation.png")
