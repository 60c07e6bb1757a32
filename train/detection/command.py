"""The commands of `python -m train` about detection: samples, training, pseudo-labels, calibration, landmarks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cascade.datasets import Dataset
from cascade.models.detector import stage_file
from cascade.nn.architectures import ARCHITECTURES, LANDMARK_STAGE, STAGES, Stage
from train.common.checkpoints import checkpoint_file
from train.common.device import chosen_device
from train.common.settings import with_changes
from train.detection.pipeline import Pipeline, train_stage
from train.detection.presets import DEFAULT, StagePreset, paper
from train.detection.sample_store import load_samples
from train.detection.samples import make_samples
from train.detection.settings import TrainSettings
from train.detection.sources import Source, describe, read_sources

RUN_HELP = "folder of the run; the same command resumes it"

TRAINED: tuple[Stage, ...] = (*STAGES, LANDMARK_STAGE)

# Options that change a field of `TrainSettings`, by its name.
CHANGES = (
    *("family", "batch", "learning_rate", "ratio", "mining_ratio"),
    *("augment", "seed", "steps", "start", "precision", "teacher", "teacher_share"),
)


def add_detection(commands: Any) -> None:
    """Adds the commands to those of `python -m train`."""
    cascade = commands.add_parser("cascade", help="the complete pipeline, from annotated photos to a folder of weights")
    _add_data(cascade)
    _add_training(cascade)
    cascade.add_argument("--out", type=Path, required=True, help=RUN_HELP)
    cascade.add_argument("--stages", nargs="+", choices=TRAINED, default=TRAINED, help="only these, for a part of it")
    cascade.add_argument(
        "--stage-steps", type=int, nargs="+", metavar="N", help="steps of each stage, in the order of --stages"
    )
    cascade.add_argument(
        "--stage-learning-rates", type=float, nargs="+", metavar="RATE", help="of each, in the order of --stages"
    )
    about = "begin each stage from the weight file of that stage in this folder"
    cascade.add_argument("--start-weights", type=Path, metavar="FOLDER", help=about)
    cascade.add_argument("--passes", type=int, help="times each photo is gone through for samples")
    cascade.set_defaults(run=run_cascade)

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
        one.add_argument("--samples", type=Path, required=True, help="folder that `samples` wrote")
        one.add_argument("--out", type=Path, required=True, help=RUN_HELP)
        one.add_argument("--steps", type=int)
        one.add_argument("--start", metavar="FILE", help="begin from a checkpoint.pt or a .safetensors weight file")
        about = ".safetensors weight file of a larger network of this stage to learn from as well"
        one.add_argument("--teacher", metavar="FILE", help=about)
        one.add_argument(
            "--teacher-share", type=float, metavar="SHARE", help="of the teacher's loss in the total (default: 0.5)"
        )
        _add_training(one)
        one.set_defaults(run=run_stage, stage=stage)
    _add_tools(commands)


def _add_tools(commands: Any) -> None:
    """Pseudo-labels and calibration."""
    labels = commands.add_parser("pseudo-labels", help="let YuNet find unlabelled faces in training photos")
    labels.add_argument("--model", type=Path, required=True, help="yunet .onnx file")
    labels.add_argument("--photos", type=Path, required=True)
    labels.add_argument("--out", type=Path, required=True)
    labels.set_defaults(run=run_pseudo_labels)

    calibrate = commands.add_parser("calibrate", help="measure the activation ranges that int8 needs")
    calibrate.add_argument("--weights", type=Path, required=True, help="folder of a complete set")
    calibrate.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of training photos")
    calibrate.add_argument("--limit", type=int, default=200, help="as many of the photos, at random")
    about = "share of a channel's values that is not cut off"
    calibrate.add_argument("--quantile", type=float, default=1.0, help=about)
    about = "log-odds by which P-Net's face scores are lowered; the default thresholds then let through fewer windows"
    calibrate.add_argument("--lower-proposals", type=float, default=0.0, metavar="LOG_ODDS", help=about)
    about = "log-odds by which O-Net's face scores are lowered; the default threshold then gives fewer false alarms"
    calibrate.add_argument("--lower-scores", type=float, default=0.0, metavar="LOG_ODDS", help=about)
    calibrate.add_argument("--out", type=Path, required=True, help="folder for the set with its activation ranges")
    calibrate.set_defaults(run=run_calibrate)

    centre = commands.add_parser("centre-landmarks", help="remove what L-Net's landmarks are off by in the median face")
    centre.add_argument("--weights", type=Path, required=True, help="folder of a complete set, calibrated for int8")
    centre.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    centre.add_argument("--set", default="net7876_train", metavar="NAME", help="a training set with landmarks")
    centre.add_argument("--out", type=Path, required=True, help="folder for lnet.safetensors")
    centre.set_defaults(run=run_centre_landmarks)


def _add_data(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--data", type=Path, required=True, help="TOML list of annotated sets, see train/detection/sources.py"
    )
    to.add_argument("--root", type=Path, required=True, help="folder that the paths in it are below")
    to.add_argument("--pseudo-labels", type=Path, default=Path(), help="folder of the files of `pseudo-labels`")
    to.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that cut samples")
    to.add_argument("--limit", type=int, help="as many of the photos, at random, for a quick try")


def _add_training(to: argparse.ArgumentParser) -> None:
    presets, about = ("default", "paper"), "paper: Adam, 32 a batch, 100 epochs"
    to.add_argument("--preset", choices=presets, default="default", help=about)
    to.add_argument("--family", choices=sorted(ARCHITECTURES), help="which networks")
    to.add_argument("--batch", type=int)
    to.add_argument("--learning-rate", type=float)
    to.add_argument("--mining-ratio", type=float, help="share of the hardest face losses; 1.0 switches mining off")
    kinds = ("NEGATIVES", "POSITIVES", "PARTS", "LANDMARKS")
    to.add_argument("--ratio", type=int, nargs=4, metavar=kinds, help="of the kinds of samples in a batch")
    to.add_argument("--no-landmarks", dest="landmarks", action="store_false", help="no landmark task")
    to.add_argument("--landmark-loss", choices=("l2", "wing"))
    to.add_argument("--box-loss", choices=("l2", "iou"))
    to.add_argument("--task-weights", type=float, nargs=3, metavar=("FACE", "BOX", "LANDMARKS"), help="α of the heads")
    to.add_argument("--no-augment", dest="augment", action="store_false", default=None)
    to.add_argument("--precision", choices=("float32", "bfloat16"), help="of the products in a step")
    to.add_argument("--seed", type=int)
    to.add_argument("--device", choices=("cpu", "cuda"), help="where it learns (default: on a GPU if there is one)")


def settings_of(base: TrainSettings, arguments: argparse.Namespace) -> TrainSettings:
    """The preset's settings with what the options change."""
    changes = {name: getattr(arguments, name, None) for name in CHANGES}
    settings = with_changes(base, changes)
    weights = arguments.task_weights or (None,) * 3
    losses = (None, arguments.box_loss, arguments.landmark_loss)
    heads = {}
    for name, weight, loss in zip(("face", "box", "landmarks"), weights, losses, strict=True):
        heads[name] = {key: value for key, value in (("weight", weight), ("loss", loss)) if value is not None}
    settings = settings.with_heads(heads)
    return settings if arguments.landmarks else settings.without_landmarks()


def _sources(arguments: argparse.Namespace) -> tuple[Source, ...]:
    return read_sources(arguments.data, arguments.root, arguments.pseudo_labels)


def run_cascade(arguments: argparse.Namespace, command: str) -> None:
    """python -m train cascade"""
    changes = _stage_changes(arguments)
    sources, device = _sources(arguments), chosen_device(arguments.device)
    pipeline = Pipeline(sources, arguments.out, command, describe(sources), arguments.workers, arguments.limit, device)
    stages = [stage for stage in TRAINED if stage in changes]
    finished = [stage for stage in stages if pipeline.is_finished(stage)]
    left = [stage for stage in stages if stage not in finished]
    _check_start_weights(arguments, left)
    for stage in finished:
        preset = _stage_preset(stage, changes[stage], pipeline, arguments, cut=False)
        if preset is not None:
            pipeline.check_finished(preset)
    for stage in left:
        preset = _stage_preset(stage, changes[stage], pipeline, arguments, cut=True)
        assert preset is not None
        pipeline.stage(preset)
    print(f"weights: {pipeline.weights}")


def _chosen_stages(arguments: argparse.Namespace) -> list[Stage]:
    """The stages wanted that the family has; without the landmark task an L-Net has nothing to learn."""
    family = _family(arguments)
    wanted = [stage for stage in dict.fromkeys(arguments.stages) if stage in ARCHITECTURES[family]]
    return [stage for stage in wanted if arguments.landmarks or stage != LANDMARK_STAGE]


def _family(arguments: argparse.Namespace) -> str:
    """The networks chosen. Raises ValueError where preset and option contradict each other."""
    if arguments.preset == "paper" and arguments.family not in (None, "paper"):
        raise ValueError(f"family: the paper's preset has networks of its own, got {arguments.family!r}")
    return "paper" if arguments.preset == "paper" else arguments.family or "default"


def _stage_changes(arguments: argparse.Namespace) -> dict[Stage, dict[str, Any]]:
    """What the options change for one stage alone, by stage, for all that are chosen.

    Raises ValueError for another number of values than of stages.
    """
    stages = _chosen_stages(arguments)
    changes: dict[Stage, dict[str, Any]] = {stage: {} for stage in stages}
    options = (
        ("steps", "stage-steps", arguments.stage_steps),
        ("learning_rate", "stage-learning-rates", arguments.stage_learning_rates),
    )
    for name, option, values in options:
        if values is not None and len(values) != len(stages):
            raise ValueError(f"{option}: expected one value for each of {', '.join(stages)}, got {len(values)}")
        for stage, value in zip(stages, values or (), strict=False):
            changes[stage][name] = value
    if arguments.start_weights:
        for stage in stages:
            changes[stage]["start"] = str(stage_file(arguments.start_weights, stage))
    return changes


def _stage_preset(
    stage: Stage, changes: Mapping[str, Any], pipeline: Pipeline, arguments: argparse.Namespace, cut: bool
) -> StagePreset | None:
    """The preset of a stage with what the options change.

    Epochs of the paper become steps by the number of its samples, which are cut now if ``cut``. None without samples.
    """
    preset = paper(stage, 0) if arguments.preset == "paper" else DEFAULT[stage]
    training = with_changes(settings_of(preset.training, arguments), changes)
    samples = replace(preset.samples, family=training.family, seed=training.seed)
    samples = with_changes(samples, {"passes": arguments.passes or None})
    if arguments.preset == "paper" and "steps" not in changes:
        preset = StagePreset(samples, training)
        made = pipeline.samples(preset) if cut else pipeline.samples_there(preset)
        if made is None:
            return None
        training = replace(training, steps=paper(stage, len(made)).training.steps)
    return StagePreset(samples, training)


def _check_start_weights(arguments: argparse.Namespace, stages: list[Stage]) -> None:
    """Raises FileNotFoundError before anything is done, where a later stage would have nothing to begin from."""
    folder = arguments.start_weights
    for stage in stages if folder else ():
        begun = checkpoint_file(arguments.out / stage).exists()
        if not begun and not stage_file(folder, stage).exists():
            raise FileNotFoundError(f"start-weights: {folder} has no {stage}.safetensors")


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
    """python -m train pnet|rnet|onet|lnet"""
    if arguments.teacher_share is not None and arguments.teacher is None:
        raise ValueError("--teacher-share: there is no --teacher")
    _family(arguments)
    samples, device = load_samples(arguments.samples), chosen_device(arguments.device)
    stage, out = arguments.stage, arguments.out
    base = paper(stage, len(samples)).training if arguments.preset == "paper" else DEFAULT[stage].training
    data = str(samples.meta.get("data", arguments.samples))
    sha256 = train_stage(settings_of(base, arguments), samples, out, out, command, data, device)
    print(f"{out / stage}.safetensors  SHA-256 {sha256}")


def run_pseudo_labels(arguments: argparse.Namespace, command: str) -> None:
    """python -m train pseudo-labels"""
    from train.detection.pseudo_labels import write_pseudo_labels  # OpenCV's detector is needed here only

    write_pseudo_labels(arguments.model, arguments.photos, arguments.out)


def run_calibrate(arguments: argparse.Namespace, command: str) -> None:
    """python -m train calibrate"""
    from cascade.models.detector import load_detector
    from train.detection.calibration import find_photos, lower_scores, measure_ranges, write_ranges

    weights = lower_scores(load_detector(arguments.weights), "pnet", arguments.lower_proposals)
    weights = lower_scores(weights, "onet", arguments.lower_scores)
    photos = find_photos(arguments.photos, arguments.limit)
    ranges = measure_ranges(weights, photos, arguments.quantile)
    for stage, sha256 in write_ranges(weights, ranges, arguments.out).items():
        print(f"{arguments.out / stage}.safetensors  SHA-256 {sha256}")


def run_centre_landmarks(arguments: argparse.Namespace, command: str) -> None:
    """python -m train centre-landmarks"""
    from cascade.models.detector import load_detector, save_stage
    from train.detection.landmark_bias import centre_landmarks
    from train.detection.sources import registered

    photos = registered(arguments.set).read(arguments.data)
    if not isinstance(photos, Dataset):
        raise ValueError(f"--set: expected a set of photos with landmarks, got {arguments.set!r}")
    weights, shift = centre_landmarks(load_detector(arguments.weights), photos)
    stage = weights[LANDMARK_STAGE]
    tensors = {name: array.astype(np.float16) for name, array in stage.tensors.items()}
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"{LANDMARK_STAGE}.safetensors"
    sha256 = save_stage(file, stage.architecture, tensors, stage.metadata)
    print(f"moved by {np.round(-shift, 2).tolist()} pixels of {stage.architecture.input_size}")
    print(f"{file}  SHA-256 {sha256}")
