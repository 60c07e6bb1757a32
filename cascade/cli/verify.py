"""``cascade verify``: whether two photos show the same person."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import reason
from cascade.cli.console import BAD_USAGE, CommandError, writing
from cascade.cli.recognition import (
    NOT_PROOF,
    add_largest,
    add_options,
    checked_threshold,
    make_recognizer,
    new_parser,
)

if TYPE_CHECKING:
    from cascade.imaging.reading import RGBImage
    from cascade.recognize import Recognizer, Verification

SAME, DIFFERENT = 0, 1
"""Exit statuses besides those of `cascade.cli.console`. SOME_FAILED, which is 1 too, is not used here."""

DESCRIPTION = f"""\
Compares two photos of one person each, and says whether they show the same person.

{NOT_PROOF}"""

EPILOG = """\
exit status:
  0  the same person                2  wrong options, or a photo that cannot be compared
  1  different people             130  stopped with Ctrl-C

examples:
  cascade verify then.jpg now.jpg
  cascade verify passport.jpg group.jpg --largest
  cascade verify a.jpg b.jpg --threshold 0.5 && echo same
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "verify", "say whether two photos show the same person", DESCRIPTION, EPILOG)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("paths", nargs="*", metavar="PHOTO", help="the two photos")
    add_largest(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="least similarity of the same person, -1 to 1 (default: the one measured for the network)",
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the similarity and the decision, and returns the exit status. Raises `CommandError`."""
    if len(args.paths) != 2:
        args.parser.error(f"name two photos, got {len(args.paths)}")
    recognizer = make_recognizer(args)
    checked_threshold(args, recognizer)
    result = _verify(args, recognizer)
    with writing("to standard output", BAD_USAGE):  # not 1, which would mean different people
        print("\n".join(describe(result, recognizer)), flush=True)
    return SAME if result.same else DIFFERENT


def describe(result: Verification, recognizer: Recognizer) -> list[str]:
    """The lines that are printed about a comparison."""
    lines = [
        f"similarity  {result.similarity:.4f}",
        f"decision    {'the same person' if result.same else 'different people'}",
        f"threshold   {result.threshold:.4f}",
    ]
    point = recognizer.operating_point
    if result.false_accept_rate is None or point is None:
        return [*lines, "errors      not measured for this threshold"]
    wrong, missed = 100 * result.false_accept_rate, 100 * (1 - point.true_accept_rate)
    return [
        *lines,
        f"errors      {wrong:.3g} % of pairs of different people reach this threshold,",
        f"            {missed:.3g} % of pairs of one person do not; measured on {point.measured_on}",
    ]


def _verify(args: argparse.Namespace, recognizer: Recognizer) -> Verification:
    from cascade.recognize import FaceCountError

    try:
        first, second = (_read(path) for path in args.paths)
        return recognizer.verify(first, second, args.largest, threshold=args.threshold)
    except CommandError:
        raise
    except FaceCountError as error:
        path = args.paths[0 if error.image == "image_a" else 1]
        raise CommandError(f"{path}: {reason(path, error)}") from error
    except Exception as error:  # whatever is wrong, its exit status must not mean "different people"
        raise CommandError(f"{' and '.join(args.paths)}: {reason('', error)}") from error


def _read(path: str) -> RGBImage:
    from cascade.imaging.reading import ImageError, read_image

    try:
        return read_image(path)
    except ImageError as error:
        raise CommandError(f"{path}: {reason(path, error)}") from error
