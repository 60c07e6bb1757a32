"""What ``embed``, ``verify`` and ``gallery`` share: options and the Recognizer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cascade.cli.console import CommandError
from cascade.cli.detect import SETTINGS, make_detector

if TYPE_CHECKING:
    from cascade.recognize import Recognizer

NOT_PROOF = """\
A similarity is a measurement with an error rate, not proof of who somebody is. The rate differs between groups of
people. Ask the people whose faces you compare, and do not let it alone decide about a person. See the README.
"""


def new_parser(commands: Any, name: str, summary: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser for a command, whose texts are printed as they are."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the Detector and the Recognizer."""
    group = parser.add_argument_group("how faces are found and compared")
    group.add_argument(
        "--recognizer", metavar="NAME|FILE", help="trained recognition network: one of `cascade models`, or a file"
    )
    group.add_argument(
        "--flip", action="store_true", help="also use mirror images: slightly better, twice the time"
    )
    group.add_argument(
        "--min-face", type=float, metavar="N", help="smallest face, in pixels of the photo (default: 20)"
    )
    group.add_argument("--weights", metavar="NAME|DIR", help="trained detector: one of `cascade models`, or a folder")
    group.add_argument("--threads", type=int, metavar="N", help="threads to use (default: one per core, at most 4)")
    parser.set_defaults(**{name: None for name in SETTINGS if parser.get_default(name) is None})


def add_largest(parser: argparse.ArgumentParser) -> None:
    """Adds ``--largest``, for commands that expect one face in a photo."""
    parser.add_argument("--largest", action="store_true", help="where a photo has several faces, take the largest")


def make_recognizer(args: argparse.Namespace) -> Recognizer:
    """The Recognizer of these options. Raises `CommandError`."""
    from cascade.models.files import WeightsError
    from cascade.recognize import Recognizer

    detector = make_detector(args)
    try:
        return Recognizer(args.recognizer, args.threads, detector=detector, flip=args.flip)
    except WeightsError as error:
        raise CommandError(f"--recognizer: {str(error).removeprefix('weights: ')}") from error


def checked_threshold(args: argparse.Namespace, recognizer: Recognizer) -> float:
    """The given threshold, else that of the weight file. Raises `CommandError`."""
    if args.threshold is not None:
        if not -1 <= args.threshold <= 1:
            raise CommandError(f"--threshold: expected -1 to 1, got {args.threshold}")
        return float(args.threshold)
    if recognizer.operating_point is None:
        raise CommandError(f"{recognizer.weights.name} has no measured threshold; give one with --threshold")
    return recognizer.operating_point.threshold
