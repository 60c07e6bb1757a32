"""python -m train: samples, one network at a time, the complete cascade, recognition, attributes, and the papers'
experiments.

Examples:
    python -m train cascade --data train/recipes/data.toml --root DATA --out runs/mine
    python -m train cascade … --start-weights cascade/models/weights/detection/default --precision bfloat16
    python -m train samples --stage rnet … --weights runs/mine/weights
    python -m train onet --samples runs/mine/onet-samples --out runs/mine/onet --mining-ratio 1.0
    python -m train pseudo-labels --model yunet.onnx --photos DATA/face_masks --out runs/labels/face_masks.json
    python -m train calibrate --weights runs/mine/weights --photos DATA/wider/WIDER_train --out runs/mine/int8
    python -m train faces|embeddings|blocks|recognition …, see train/recognition/command.py
    python -m train attributes --config train/recipes/attributes.toml --root DATA --out runs/attributes
    python -m train landmarks --root DATA --out runs/landmarks
    python -m train synthesis --data train/recipes/synthesis.toml --root DATA --out runs/synthesis
    python -m train experiment|ablation|paper …, see train/experiments/command.py
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable

from cascade.cli.clone import missing, run_clone


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    from train.common.checkpoints import TrainingError

    arguments = parser().parse_args(argv)
    command = "python -m train " + shlex.join(sys.argv[1:] if argv is None else argv)
    try:
        arguments.run(arguments, command)
    except (TrainingError, FileNotFoundError, ValueError) as error:  # SourceError is a ValueError
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"error: {missing(error, 'train')}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    from train.attributes.command import add_attributes
    from train.detection.command import add_detection
    from train.experiments.command import add_experiments
    from train.landmarks.command import add_landmarks
    from train.recognition.command import add_recognition
    from train.synthesis.command import add_synthesis

    top = argparse.ArgumentParser(
        prog="python -m train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_detection(commands)
    add_recognition(commands)
    add_attributes(commands)
    add_landmarks(commands)
    add_synthesis(commands)
    add_experiments(commands)
    return top


def _load() -> Callable[[], int]:
    parser()  # imports what the commands need
    return main


if __name__ == "__main__":
    sys.exit(run_clone("train", "train", _load))
