"""The commands of `python -m train` about recognition.

Examples:
    python -m train faces --data train/recipes/recognition.toml --root DATA --out runs/faces
    python -m train embeddings --faces runs/faces --param mobilefacenet.param --bin mobilefacenet.bin
    python -m train face-sizes --images DATA/lfw/images --people train/recipes/held_out_people.txt --weights FILE
    python -m train calibration --data DATA --weights FILE --out runs/calibration
    python -m train face-quality --data DATA --out runs/quality
    python -m train blocks --config light --faces runs/faces --teacher PARAM BIN --out runs/blocks
    python -m train recognition --config light --faces runs/faces --out runs/recognition
    torchrun --nproc-per-node 4 -m train recognition --config paper --faces FACES --out runs/paper-recognition
"""

from __future__ import annotations

import argparse
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from train.common.options import add_start
from train.common.settings import with_changes
from train.recognition.settings import PRESETS, BlockSettings, RecognitionSettings

# Options that change a field of `RecognitionSettings`, by its name.
NUMBERS = (
    "lambda_identity",
    "lambda_distillation",
    "lambda_maps",
    "lambda_age",
    "lambda_adversary",
    "learning_rate",
    "steps",
    "batch",
    "seed",
    "threads",
    "frozen",
    "views",
    "profiles",
)


def add_recognition(commands: Any) -> None:
    """Adds the commands to those of `python -m train`."""
    faces = commands.add_parser("faces", help="cut the aligned faces that recognition learns from")
    faces.add_argument("--data", type=Path, required=True, help="TOML list, see train/recognition/sources.py")
    faces.add_argument("--root", type=Path, required=True, help="folder that the paths in it are below")
    faces.add_argument("--out", type=Path, required=True)
    faces.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that find faces")
    faces.add_argument("--limit", type=int, help="only the first photos of each set, for a quick try")
    faces.set_defaults(run=run_faces)

    embeddings = commands.add_parser("embeddings", help="embed these faces with a public network, as a teacher")
    _add_faces(embeddings)
    embeddings.add_argument("--param", type=Path, required=True, help="the network in ncnn's format")
    embeddings.add_argument("--bin", type=Path, required=True, help="its weights")
    embeddings.set_defaults(run=run_embeddings)

    _add_blocks(commands)
    _add_face_sizes(commands)
    _add_calibration(commands)
    _add_quality(commands)
    to = commands.add_parser("recognition", help="train a recogniser on these faces")
    about = "light: the shipped network, a GPU; dense: two CPU cores; paper: IR-50, several GPUs"
    to.add_argument("--config", choices=PRESETS, default="light", help=about)
    _add_faces(to)
    to.add_argument("--out", type=Path, required=True, help="folder of the run; the same command resumes it")
    kinds = {field.name: field.type for field in fields(RecognitionSettings)}
    for name in NUMBERS:
        to.add_argument(f"--{name.replace('_', '-')}", type=int if kinds[name] == "int" else float)
    to.add_argument("--precision", choices=("float32", "bfloat16"))
    to.add_argument("--compile", dest="compiled", action="store_true", default=None, help="with torch.compile")
    add_teacher(to)
    groups = ("NAMED", "AGED", "NEITHER", "AVERAGES")
    to.add_argument("--shares", type=int, nargs=4, metavar=groups, help="parts of a batch")
    add_start(to)
    people = "text files of people to measure on, one a line (default: a share of all)"
    to.add_argument("--held-out", nargs="+", metavar="FILE", help=people)
    to.add_argument("--no-decomposition", dest="decomposed", action="store_false", default=None, help="plain embedding")
    to.add_argument("--no-augment", dest="augment", action="store_false", default=None)
    to.set_defaults(run=run_recognition)


def _add_faces(to: argparse.ArgumentParser) -> None:
    to.add_argument("--faces", type=Path, required=True, help="folder that `faces` wrote")


def _add_weights(to: argparse.ArgumentParser) -> None:
    """Adds the weight file that what is measured is stated in."""
    to.add_argument("--weights", type=Path, required=True, help="weight file, which is changed")
    to.add_argument("--threads", type=int)


def _add_blocks(commands: Any) -> None:
    blocks = commands.add_parser("blocks", help="fit an encoder's blocks to a teacher's, to begin a run from")
    blocks.add_argument("--config", choices=PRESETS, default="light")
    _add_faces(blocks)
    add_teacher(blocks, required=True)
    blocks.add_argument("--out", type=Path, required=True, help="folder for checkpoint.pt and the teacher's maps")
    blocks.add_argument("--initial", dest="start", default="", metavar="CHECKPOINT", help="begin from a run's")
    for name in ("views", "stages", "steps", "batch"):
        blocks.add_argument(f"--{name}", type=int, default=getattr(BlockSettings, name))
    blocks.add_argument("--learning-rate", type=float, default=BlockSettings.learning_rate)
    blocks.add_argument("--compile", dest="compiled", action="store_true", help="with torch.compile")
    blocks.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that fit blocks")
    blocks.set_defaults(run=run_blocks)


def _add_face_sizes(commands: Any) -> None:
    sizes = commands.add_parser(
        "face-sizes", help="measure error rates for small faces, and state them in a weight file"
    )
    sizes.add_argument("--images", type=Path, required=True, help="folder with a folder of photos for each person")
    sizes.add_argument("--people", type=Path, required=True, help="text file: people held out of training, one a line")
    _add_weights(sizes)
    sizes.set_defaults(run=run_face_sizes)


def _add_calibration(commands: Any) -> None:
    to = commands.add_parser("calibration", help="fit probabilities to similarities, and state them in a weight file")
    to.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    _add_weights(to)
    to.add_argument("--out", type=Path, required=True, help="folder for the reliability diagram")
    to.set_defaults(run=run_calibration)


def _add_quality(commands: Any) -> None:
    to = commands.add_parser("face-quality", help="measure what the quality of faces is worth")
    to.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    to.add_argument("--weights", help="name of shipped weights or a weight file")
    to.add_argument("--out", type=Path, required=True, help="folder for the curves")
    to.add_argument("--threads", type=int)
    to.set_defaults(run=run_quality)


def add_teacher(to: argparse.ArgumentParser, required: bool = False) -> None:
    """Adds the option --teacher, which `opened_teacher` reads."""
    about = "network in ncnn's format to ask about every batch, beside the embeddings of the faces"
    to.add_argument("--teacher", type=Path, nargs=2, required=required, metavar=("PARAM", "BIN"), help=about)


def opened_teacher(arguments: argparse.Namespace) -> Any:
    """The network of --teacher, if given."""
    from train.recognition.teacher import Teacher

    return Teacher(*arguments.teacher) if arguments.teacher else None


def run_faces(arguments: argparse.Namespace, command: str) -> None:
    """python -m train faces"""
    from train.recognition.crops import save_crops
    from train.recognition.pack import pack
    from train.recognition.sources import read_face_sources

    sources = read_face_sources(arguments.data, arguments.root)
    faces = pack(sources, arguments.workers, limit=arguments.limit)
    save_crops(arguments.out, faces)
    for problem in faces.meta["problems"]:
        print(f"left out: {problem}")
    for about, count in zip(faces.meta["sources"], faces.meta["counts"], strict=True):
        print(f"{count['faces']:7,} {about}; {count['photos_without_face']:,} photos without a face found")
    print(f"{arguments.out}: {len(faces):,} faces, {len(faces.meta['persons']):,} people with a name")


def run_embeddings(arguments: argparse.Namespace, command: str) -> None:
    """python -m train embeddings"""
    from train.recognition.teacher import embed_faces

    embed_faces(arguments.faces, arguments.param, arguments.bin)


def run_blocks(arguments: argparse.Namespace, command: str) -> None:
    """python -m train blocks"""
    from train.recognition.block_fitting import fit_blocks
    from train.recognition.crops import load_crops

    names = ("views", "stages", "steps", "batch", "learning_rate", "compiled")
    settings = BlockSettings(**{name: getattr(arguments, name) for name in names})
    faces, teacher = load_crops(arguments.faces), opened_teacher(arguments)
    errors = fit_blocks(
        PRESETS[arguments.config], faces, teacher, arguments.out, settings, arguments.workers, arguments.start
    )
    for last, error in errors.items():
        print(f"block that ends at node {last}: {error:.3f} of the variance of its map is left")
    print(f"{arguments.out / 'checkpoint.pt'}: to begin from with recognition --initial")


def run_face_sizes(arguments: argparse.Namespace, command: str) -> None:
    """python -m train face-sizes"""
    from train.recognition.face_sizes import measure_face_sizes

    found = measure_face_sizes(arguments.images, arguments.people, arguments.weights, arguments.threads)
    for each in found:
        stated = each.to_dict()
        print(
            f"{each.face_size:3g} pixels: {stated['false_accept_rate']:.2%} of {each.different_pairs:,} pairs of "
            f"different people accepted, {stated['true_accept_rate']:.1%} of {each.same_pairs:,} pairs of one person"
        )
    print(f"{arguments.weights}: now states these rates")


def run_calibration(arguments: argparse.Namespace, command: str) -> None:
    """python -m train calibration"""
    from train.recognition.calibration import calibrate

    found = calibrate(arguments.data, arguments.weights, arguments.out, arguments.threads)
    for curve in found.curves:
        print(f"up to {curve.oldest:g} years: logit = {curve.slope:.2f} · cosine {curve.offset:+.2f}")
    print(f"{arguments.weights}: now states these curves, fitted to {found.measured_on}")


def run_quality(arguments: argparse.Namespace, command: str) -> None:
    """python -m train face-quality"""
    from train.recognition.quality_curves import measure_quality

    print("\n".join(measure_quality(arguments.data, arguments.weights, arguments.out, arguments.threads)))


def settings_of(arguments: argparse.Namespace) -> RecognitionSettings:
    """The preset with the changes that the options ask for."""
    names = (*NUMBERS, "shares", "start", "held_out", "decomposed", "augment", "precision", "compiled")
    changes = {name: getattr(arguments, name) for name in names}
    if not arguments.teacher and arguments.lambda_maps is None:
        changes["lambda_maps"] = 0.0
    preset = PRESETS[arguments.config]
    if arguments.decomposed is False:
        preset = replace(preset, lambda_age=0.0, lambda_adversary=0.0)
    return with_changes(preset, changes)


def run_recognition(arguments: argparse.Namespace, command: str) -> None:
    """python -m train recognition"""
    from train.common.device import Processes
    from train.recognition.crops import load_crops
    from train.recognition.curves import plot_recognition
    from train.recognition.export import export_recognizer
    from train.recognition.trainer import train_recognition

    settings = settings_of(arguments)
    faces = load_crops(arguments.faces)
    processes = Processes.joined()
    model = train_recognition(settings, faces, arguments.out, processes, opened_teacher(arguments))
    if processes.rank:
        return
    plot_recognition(arguments.out / "metrics.jsonl", arguments.out / "losses.png")
    if not settings.decomposed:
        print(f"{arguments.out}: trained; without an age head it is for comparisons, and no weight file is written")
        return
    sha256 = export_recognizer(model.cpu(), settings, faces, arguments.out, command)
    print(f"{arguments.out / settings.architecture}.safetensors  SHA-256 {sha256}")
