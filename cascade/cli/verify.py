"""``cascade verify``: whether two photos show the same person."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import reason
from cascade.cli.console import BAD_USAGE, CommandError, say, writing
from cascade.cli.detect import add_rotations
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
    from cascade.operating_point import OperatingPoint
    from cascade.recognize import Recognizer, Verification

SAME, DIFFERENT, CANNOT_TELL = 0, 1, BAD_USAGE
"""Exit statuses besides those of `cascade.cli.console`. SOME_FAILED, which is 1 too, is not used here."""

DECISIONS = {True: "the same person", False: "different people", None: "too small to tell"}

DESCRIPTION = f"""\
Compares two photos of one person each, and says whether they show the same person. The error rates are those for
faces of that size: small faces are taken for one person more often, and very small ones are not decided about, unless
--threshold is given. Faces that are small, blurred, profiles, badly lit or rotated give a warning.

{NOT_PROOF}"""

EPILOG = """\
exit status:
  0  the same person                2  wrong options, a photo that cannot be compared, or faces too small to tell
  1  different people             130  stopped with Ctrl-C

examples:
  cascade verify then.jpg now.jpg
  cascade verify passport.jpg group.jpg --largest
  cascade verify a.jpg b.jpg --threshold 0.5 && echo same     decides whatever the size of the faces
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
        help="least similarity of the same person, -1 to 1 (default: the one measured for the network). "
        "With a threshold of your own it always decides; very small faces then only give a warning",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of words")
    add_rotations(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the similarity and the decision, and returns the exit status. Raises `CommandError`."""
    if len(args.paths) != 2:
        args.parser.error(f"name two photos, got {len(args.paths)}")
    recognizer = make_recognizer(args)
    checked_threshold(args, recognizer)
    result = _verify(args, recognizer)
    lines = [as_json(result, args.paths)] if args.json else describe(result, recognizer)
    with writing("to standard output", BAD_USAGE):  # not 1, which would mean different people
        print("\n".join(lines), flush=True)
    if result.warning:
        say(f"warning: {result.warning}")
    return CANNOT_TELL if result.same is None else SAME if result.same else DIFFERENT


def as_json(result: Verification, paths: list[str]) -> str:
    """The comparison as a JSON object; "same" is null if the faces are too small to tell."""
    sizes = None if result.face_sizes is None else [round(size, 1) for size in result.face_sizes]
    return json.dumps(
        {
            "paths": paths,
            "similarity": round(result.similarity, 4),
            "probability": None if result.probability is None else round(result.probability, 6),
            "same": result.same,
            "threshold": result.threshold,
            "false_accept_rate": result.false_accept_rate,
            "true_accept_rate": result.true_accept_rate,
            "face_sizes": sizes,
            "problems": result.problems,
            "warning": result.warning,
        }
    )


def describe(result: Verification, recognizer: Recognizer) -> list[str]:
    """The lines that are printed about a comparison."""
    lines = [
        f"similarity  {result.similarity:.4f}",
        *([] if result.probability is None else [_in_percent(result.probability)]),
        f"decision    {DECISIONS[result.same]}",
        f"threshold   {result.threshold:.4f}",
    ]
    sizes, point = "", recognizer.operating_point
    if result.face_sizes is not None:
        first, second = (f"{size:.0f}" for size in result.face_sizes)
        lines.append(f"faces       {first} and {second} pixels")
        sizes = " with faces of that size" if point is not None and _by_size(result, point) else ""
    if result.false_accept_rate is None or point is None:
        return [*lines, f"errors      not measured for {'such faces' if result.same is None else 'this threshold'}"]
    lines.append(
        f"errors      {100 * result.false_accept_rate:.3g} % of pairs of different people{sizes} reach this threshold,"
    )
    missed = (
        ""
        if result.true_accept_rate is None
        else f"{100 * (1 - result.true_accept_rate):.3g} % of pairs of one person do not; "
    )
    return [*lines, f"            {missed}measured on {point.measured_on}"]


def _by_size(result: Verification, point: OperatingPoint) -> bool:
    """Whether the rates of a result are not those of large faces."""
    stated = result.false_accept_rate, result.true_accept_rate
    return stated != (point.false_accept_rate, point.true_accept_rate)


def _in_percent(probability: float) -> str:
    """The line of the probability; never 0 or 100 %, which no measurement shows."""
    percent = min(max(100 * probability, 0.1), 99.9)
    return f"probability {percent:.1f} % that it is one person, if half of all pairs compared are"


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
