"""What ``embed``, ``verify`` and ``gallery`` share: their options, the Recognizer, and going through photos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascade.cli.console import INTERRUPTED, SOME_FAILED, CommandError, counted, say
from cascade.cli.detect import SETTINGS, make_detector
from cascade.cli.photos import Found, find_photos

if TYPE_CHECKING:
    from cascade.recognize import Recognizer

NOT_PROOF = """\
A similarity is a measurement with an error rate, not proof of who somebody is, and the rate differs between groups
of people. Ask those whose faces you compare, and leave no decision about a person to it. See the README.
"""


def new_parser(commands: Any, name: str, summary: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser for a command, with texts that keep their lines."""
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
    """Adds the options of the detector and of the recogniser; those that are left out keep their defaults."""
    group = parser.add_argument_group("what finds and compares the faces")
    group.add_argument(
        "--recognizer", metavar="NAME|FILE", help="trained recognition network: one of `cascade models`, or a file"
    )
    group.add_argument("--flip", action="store_true", help="use mirror images too: a little surer, twice the time")
    group.add_argument(
        "--min-face", type=float, metavar="N", help="smallest face, in pixels of the photo (default: 20)"
    )
    group.add_argument("--weights", metavar="NAME|DIR", help="trained detector: one of `cascade models`, or a folder")
    group.add_argument("--threads", type=int, metavar="N", help="cores to use (default: all, at most 4)")
    parser.set_defaults(**{name: None for name in SETTINGS if parser.get_default(name) is None})


def add_largest(parser: argparse.ArgumentParser) -> None:
    """Adds ``--largest``, for commands that expect one face in a photo."""
    parser.add_argument("--largest", action="store_true", help="where a photo has several faces, take the largest")


def make_recognizer(args: argparse.Namespace) -> Recognizer:
    """The Recognizer that the options describe. Raises `CommandError`."""
    from cascade.recognize import Recognizer
    from cascade.weights import WeightsError

    detector = make_detector(args)
    try:
        return Recognizer(args.recognizer, args.threads, detector=detector, flip=args.flip)
    except WeightsError as error:
        raise CommandError(f"--recognizer: {str(error).removeprefix('weights: ')}") from error


def checked_threshold(args: argparse.Namespace, recognizer: Recognizer) -> float:
    """The threshold that is given, else the one that the weights come with. Raises `CommandError`."""
    if args.threshold is not None:
        if not -1 <= args.threshold <= 1:
            raise CommandError(f"--threshold: expected -1 to 1, got {args.threshold}")
        return float(args.threshold)
    if recognizer.operating_point is None:
        raise CommandError(f"{recognizer.weights.name} comes with no measured threshold; give one with --threshold")
    return recognizer.operating_point.threshold


def photos_of(paths: list[str], out: str | None = None) -> Found:
    """The photos that the paths mean; says what was wrong with some. Raises `CommandError` if there are none."""
    found = find_photos(paths, out)
    for line in found.problems + found.notes:
        say(line)
    if not found.photos:
        raise CommandError(f"no photos found in {', '.join(path or repr(path) for path in paths)}")
    return found


@dataclass
class Tally:
    """What a run over photos did."""

    photos: int
    done: int = 0
    faces: int = 0
    problems: int = 0
    stopped: bool = False

    def status(self) -> int:
        """The exit status."""
        return INTERRUPTED if self.stopped else SOME_FAILED if self.problems else 0

    def summary(self) -> str:
        """What was done, in words."""
        photos = ("" if self.done == self.photos else f"{self.done:,} of ") + counted(self.photos, "photo")
        words = [photos, counted(self.faces, "face")] + [counted(self.problems, "problem")] * bool(self.problems)
        return ("stopped: " if self.stopped else "") + ", ".join(words)


def go_through(photos: list[str], work: Callable[[str], int], bar: bool, problems: int = 0) -> Tally:
    """Does the work on each photo, which returns its number of faces; bad ones are reported, Ctrl-C ends it early."""
    from tqdm import tqdm

    tally = Tally(len(photos), problems=problems)
    try:
        for photo in tqdm(photos, unit="photo", disable=not bar, file=sys.stderr, dynamic_ncols=True):
            try:
                tally.faces += work(photo)
                tally.done += 1
            except (BrokenPipeError, CommandError):
                raise  # nobody takes the results any more
            except Exception as error:  # one photo must not end a run over thousands
                tally.problems += 1
                tqdm.write(f"{photo}: {reason(photo, error)}", file=sys.stderr)
    except KeyboardInterrupt:
        tally.stopped = True
    return tally


def wants_bar(photos: int, to_terminal: bool) -> bool:
    """A bar is for terminals, and results on the same terminal would tear it apart."""
    return photos > 1 and sys.stderr.isatty() and not (to_terminal and sys.stdout.isatty())


def reason(photo: str, error: Exception) -> str:
    """Why a photo failed, in the words of the command line and without its name, which stands before it."""
    from cascade.align import AlignError
    from cascade.images import ImageError
    from cascade.recognize import FaceCountError

    if isinstance(error, ImageError):
        return str(error).removeprefix("image: ").removesuffix(f" (file {photo!r})")
    if isinstance(error, FaceCountError):
        hint = "; --largest takes the largest" if error.count else ""
        return f"expected one face, found {error.count}{hint}"
    if isinstance(error, AlignError):
        return f"a face cannot be turned upright: {error}"
    if isinstance(error, OSError):
        return f"cannot write a picture: {error}"
    return "not enough memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
