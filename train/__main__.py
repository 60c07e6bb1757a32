"""python -m train: samples, one network at a time, or the whole chain.

Examples:
    python -m train cascade --data train/recipes/data.toml --root DATA --out runs/mine
    python -m train samples --stage rnet … --weights runs/mine/weights
    python -m train onet --samples runs/mine/onet-samples --out runs/mine/onet --mining-ratio 1.0
    python -m train teacher --model yunet.onnx --photos DATA/net7876 --out runs/teacher/net7876.json
    python -m train ranges --weights runs/mine/weights --photos DATA/wider/WIDER_train --out runs/mine/int8
    python -m train faces|embeddings|recognition …, see train/recognition/command.py
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from cascade.nn.architectures import ARCHITECTURES, LANDMARK_STAGE, STAGES
from train.common.checkpoints import TrainingError
from train.common.curves import plot_losses
from train.detection.export import export
from train.detection.packed import load_samples
from train.detection.pipeline import Chain
from train.detection.presets import DEFAULT, StagePreset, paper
from train.detection.samples import make_samples
from train.detection.settings import TrainSettings, save_settings, with_changes
from train.detection.sources import Source, SourceError, describe, read_sources
from train.detection.trainer import check_resumable, chosen_device, train
from train.experiments.command import add_experiment
from train.recognition.command import add_recognition

RUN_HELP = "folder of the run; the same command resumes it"

TRAINED = (*STAGES, LANDMARK_STAGE)

# Options that change a field of `TrainSettings`, by its name.
CHANGES = (
    "family",
    "batch",
    "learning_rate",
    "mining_ratio",
    "landmarks",
    "landmark_loss",
    "box_loss",
    "task_weights",
    "augment",
    "seed",
    "steps",
    "start",
)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = parser().parse_args(argv)
    command = "python -m train " + shlex.join(sys.argv[1:] if argv is None else argv)
    try:
        arguments.run(arguments, command)
    except (SourceError, TrainingError, FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    chain = commands.add_parser("cascade", help="the whole chain, from annotated photos to a folder of weights")
    _add_data(chain)
    _add_training(chain)
    chain.add_argument("--out", type=Path, required=True, help=RUN_HELP)
    chain.add_argument("--stages", nargs="+", choices=TRAINED, default=TRAINED, help="only these, for a chain in parts")
    chain.add_argument("--stage-steps", type=int, nargs="+", metavar="N", help="steps of P-Net, R-Net, O-Net and L-Net")
    chain.add_argument("--passes", type=int, help="times each photo is gone through for samples")
    chain.set_defaults(run=run_cascade)

    samples = commands.add_parser("samples", help="cut the training samples of one stage")
    _add_data(samples)
    samples.add_argument("--stage", choices=TRAINED, required=True)
    samples.add_argument("--family", choices=sorted(ARCHITECTURES), default="default")
    samples.add_argument("--weights", type=Path, help="folder with the stages before it (P-Net needs none)")
    samples.add_argument("--out", type=Path, required=True)
    samples.add_argument("--passes", type=int)
    samples.add_argument("--seed", type=int)
    samples.set_defaults(run=run_samples)

    for stage in TRAINED:
        one = commands.add_parser(stage, help=f"train {stage} on its samples")
        one.add_argument("--samples", type=Path, required=True, help="folder that `samples` made")
        one.add_argument("--out", type=Path, required=True, help=RUN_HELP)
        one.add_argument("--steps", type=int)
        one.add_argument("--start", metavar="CHECKPOINT", help="begin from the checkpoint.pt of an earlier run")
        _add_training(one)
        one.set_defaults(run=run_stage, stage=stage)

    teacher = commands.add_parser("teacher", help="let YuNet mark unlabelled faces in training photos")
    teacher.add_argument("--model", type=Path, required=True, help="yunet .onnx file")
    teacher.add_argument("--photos", type=Path, required=True)
    teacher.add_argument("--out", type=Path, required=True)
    teacher.set_defaults(run=run_teacher)

    ranges = commands.add_parser("ranges", help="measure what int8 needs to know of a set of weights")
    ranges.add_argument("--weights", type=Path, required=True, help="folder of a set, whole")
    ranges.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of training photos")
    ranges.add_argument("--limit", type=int, default=200, help="as many of the photos, at random")
    ranges.add_argument("--quantile", type=float, default=1.0, help="share of a channel's values that is not cut off")
    ranges.add_argument("--out", type=Path, required=True, help="folder for the set with its ranges")
    ranges.set_defaults(run=run_ranges)

    add_recognition(commands)
    add_experiment(commands)
    return top


def _add_data(to: argparse.ArgumentParser) -> None:
    to.add_argument("--data", type=Path, required=True, help="TOML list of annotated sets, see train/detection/sources.py")
    to.add_argument("--root", type=Path, required=True, help="folder that the paths in it are below")
    to.add_argument("--teacher", type=Path, default=Path(), help="folder of the teacher's files")
    to.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that cut samples")
    to.add_argument("--limit", type=int, help="only the first photos, for a quick try")


def _add_training(to: argparse.ArgumentParser) -> None:
    presets, about = ("default", "paper"), "paper: Adam, 32 a batch, 100 epochs"
    to.add_argument("--preset", choices=presets, default="default", help=about)
    to.add_argument("--family", choices=sorted(ARCHITECTURES), help="which networks")
    to.add_argument("--batch", type=int)
    to.add_argument("--learning-rate", type=float)
    to.add_argument("--mining-ratio", type=float, help="share of the hardest face losses; 1.0 switches mining off")
    to.add_argument("--no-landmarks", dest="landmarks", action="store_false", default=None, help="no landmark task")
    to.add_argument("--landmark-loss", choices=("l2", "wing"))
    to.add_argument("--box-loss", choices=("l2", "iou"))
    to.add_argument("--task-weights", type=float, nargs=3, metavar=("FACE", "BOX", "LANDMARK"), help="α of the tasks")
    to.add_argument("--no-augment", dest="augment", action="store_false", default=None)
    to.add_argument("--seed", type=int)
    to.add_argument("--device", choices=("cpu", "cuda"), help="where it learns (default: on a GPU if there is one)")


def _changes(arguments: argparse.Namespace) -> dict[str, Any]:
    changes = {name: getattr(arguments, name, None) for name in CHANGES}
    if changes["task_weights"]:
        changes["task_weights"] = tuple(changes["task_weights"])
    return changes


def _sources(arguments: argparse.Namespace) -> tuple[Source, ...]:
    return read_sources(arguments.data, arguments.root, arguments.teacher)


def run_cascade(arguments: argparse.Namespace, command: str) -> None:
    """python -m train cascade"""
    sources, device = _sources(arguments), chosen_device(arguments.device)
    chain = Chain(sources, arguments.out, command, describe(sources), arguments.workers, arguments.limit, device)
    family = "paper" if arguments.preset == "paper" else arguments.family or "default"
    for number, stage in enumerate(stage for stage in TRAINED if stage in ARCHITECTURES[family]):
        if stage == LANDMARK_STAGE and arguments.landmarks is False:
            continue  # it would have nothing to learn
        if stage not in arguments.stages:
            continue
        if (chain.weights / f"{stage}.safetensors").exists():
            continue
        preset = paper(stage, 0) if arguments.preset == "paper" else DEFAULT[stage]
        training = with_changes(preset.training, _changes(arguments))
        samples = replace(preset.samples, family=training.family, seed=training.seed)
        if arguments.passes:
            samples = replace(samples, passes=arguments.passes)
        if arguments.preset == "paper":
            # epochs become steps when the number of samples is known
            made = chain.samples(StagePreset(samples, training))
            training = replace(training, steps=paper(stage, len(made)).training.steps)
        if arguments.stage_steps and number < len(arguments.stage_steps):
            training = replace(training, steps=arguments.stage_steps[number])
        chain.stage(StagePreset(samples, training))
    print(f"weights: {chain.weights}")


def run_samples(arguments: argparse.Namespace, command: str) -> None:
    """python -m train samples"""
    preset = paper(arguments.stage, 0) if arguments.family == "paper" else DEFAULT[arguments.stage]
    settings = preset.samples
    settings = replace(
        settings,
        family=arguments.family,
        passes=arguments.passes or settings.passes,
        seed=settings.seed if arguments.seed is None else arguments.seed,
    )
    sources = _sources(arguments)
    made = make_samples(settings, sources, arguments.out, arguments.weights, arguments.workers, arguments.limit)
    print(f"{arguments.out}: " + ", ".join(f"{n:,} {name}" for name, n in made.counts().items()))


def run_stage(arguments: argparse.Namespace, command: str) -> None:
    """python -m train pnet|rnet|onet"""
    samples, device = load_samples(arguments.samples), chosen_device(arguments.device)
    stage = arguments.stage
    base = paper(stage, len(samples)).training if arguments.preset == "paper" else DEFAULT[stage].training
    settings: TrainSettings = with_changes(base, _changes(arguments))
    check_resumable(settings, arguments.out)
    save_settings(settings, arguments.out, samples=samples.meta, command=command)
    network = train(settings, samples, arguments.out, device=device)
    plot_losses(arguments.out / "metrics.jsonl", arguments.out / "losses.png")
    data = str(samples.meta.get("data", arguments.samples))
    sha256 = export(network, settings, samples, arguments.out, command, data)
    print(f"{arguments.out / stage}.safetensors  SHA-256 {sha256}")


def run_teacher(arguments: argparse.Namespace, command: str) -> None:
    """python -m train teacher"""
    from train.detection.pseudo_labels import teach  # OpenCV's detector is needed here only

    teach(arguments.model, arguments.photos, arguments.out)


def run_ranges(arguments: argparse.Namespace, command: str) -> None:
    """python -m train ranges"""
    from cascade.models.detector import load_detector
    from train.detection.calibration import find_photos, measure_ranges, write_ranges

    weights = load_detector(arguments.weights)
    photos = find_photos(arguments.photos, arguments.limit)
    ranges = measure_ranges(weights, photos, arguments.quantile)
    for stage, sha256 in write_ranges(weights, ranges, arguments.out).items():
        print(f"{arguments.out / stage}.safetensors  SHA-256 {sha256}")


if __name__ == "__main__":
    sys.exit(main())
