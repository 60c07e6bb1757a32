"""``cascade age``: the faces in photos at other ages."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import Tally, add_no_progress, go_through, photos_of, progress_of
from cascade.cli.console import CommandError, say, writable_folder
from cascade.cli.detect import add_detector, make_detector
from cascade.cli.photos import read_photo
from cascade.cli.recognition import add_largest, new_parser
from cascade.cli.results import Pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascade.aging import Aged, AgeSynthesizer
    from cascade.faces import Faces
    from cascade.imaging.reading import RGBImage

AGES = (10.0, 30.0, 60.0)
OUT = "aged"
MIN_FACE = 32

NOT_FOR = """\
what it is not for:
  The pictures show nobody: a network imagines how people of that age look on average. Somebody may look quite different
  at that age. They are not for finding missing people, not as evidence, not for checking ages, and not of people who
  have not agreed. Every picture has the word "synthetic" in it, and metadata that say so: leave them there.
"""

DESCRIPTION = """\
Shows the face of a photo at other ages. A PATH is a photo, or a folder, in which photos are found, also in subfolders,
or - for a photo on standard input. Copies of the photos go to a folder, one for each age.
"""

EPILOG = f"""\
{NOT_FOR}
files in --out DIR:
  for sub/name.jpg sub/name_age10.jpg …, and with --sheet sub/name_ages.jpg, the face as it is and at all ages in one
  picture. The metadata (XMP) have the IPTC's digital source type for photos that a trained network has changed. Files
  that this program did not write stay as they are.

exit status:
  0  all faces were changed         2  wrong options, no photos, or nowhere to write; nothing was done
  1  some had problems            130  stopped with Ctrl-C

examples:
  cascade age photo.jpg --to 10 30 60 --sheet
  cascade age photos --to 70 --out older --largest
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "age", "show faces at other ages; read its --help first", DESCRIPTION, EPILOG)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a photo, a folder of photos, or - for standard input")
    parser.add_argument(
        "--to",
        type=float,
        nargs="+",
        default=AGES,
        metavar="AGE",
        help="ages in years, 0 to 100 (default: 10 30 60); for those not learned the nearest are shown",
    )
    parser.add_argument("--sheet", action="store_true", help="also one picture of the face at all ages")
    parser.add_argument("--out", default=OUT, metavar="DIR", help=f"folder for the pictures (default: {OUT})")
    several = parser.add_mutually_exclusive_group()
    add_largest(several)
    several.add_argument("--all", action="store_true", help="where a photo has several faces, change all")
    add_no_progress(parser)
    networks = parser.add_argument_group("networks")
    networks.add_argument("--aging-weights", metavar="FILE", help="trained generator of `python -m train synthesis`")
    add_detector(parser, networks)


def run(args: argparse.Namespace) -> int:
    """Runs the command and returns its exit status. Raises `CommandError`."""
    if not args.paths:
        args.parser.error("name a photo or a folder")
    synthesizer = make_synthesizer(args)
    found = photos_of(args.paths, args.out, standard_input=True)
    out = writable_folder(args.out)
    ages = ages_shown(synthesizer, args.to)
    pictures = Pictures(found.photos, found.base, out)

    def work(photo: str, tally: Tally) -> None:
        image = read_photo(photo)
        faces = chosen_faces(synthesizer, image, args)
        aged = synthesizer.synthesize(image, faces, ages)
        _save(pictures, photo, image, aged, args.sheet)
        tally.add(aged.unknown.count(""))
        if any(aged.unknown):
            tally.problems += 1
            say(f"{photo}: {_unchanged(aged.unknown)}")

    progress = progress_of(len(found.photos), False, not args.no_progress)
    tally = go_through(found.photos, work, progress, len(found.problems), found.left_out)
    if tally.status() or not args.no_progress:
        say(f"{tally.summary()}; pictures in {out}")
    return tally.status()


def make_synthesizer(args: argparse.Namespace) -> AgeSynthesizer:
    """What the options ask for. Raises `CommandError` in the words of the command line."""
    from cascade.aging import AgeSynthesizer, checked_ages

    detector = make_detector(args)
    try:
        checked_ages(args.to)
        return AgeSynthesizer(args.aging_weights, args.threads, min_face=MIN_FACE, detector=detector)
    except (TypeError, ValueError) as error:
        name, _, rest = str(error).partition(":")
        option = {"ages": "--to", "weights": "--aging-weights", "threads": "--threads"}.get(name)
        raise CommandError(f"{option}:{rest}" if option else str(error)) from error


def chosen_faces(synthesizer: AgeSynthesizer, image: RGBImage, args: argparse.Namespace) -> Faces:
    """The faces to change. Raises `FaceCountError` for none, or for several without --largest or --all."""
    from cascade.recognize import only_face

    faces = synthesizer.detector.detect(image)
    return faces if args.all and len(faces) else only_face(faces, largest=args.largest)


def ages_shown(synthesizer: AgeSynthesizer, asked: Sequence[float]) -> list[float]:
    """The ages of the pictures, each once. Says which the generator has not learned, and what is shown instead."""
    youngest, oldest = synthesizer.weights.anchors[0], synthesizer.weights.anchors[-1]
    shown: dict[float, None] = {}
    for age in asked:
        nearest = synthesizer.weights.nearest_age(age)
        shown[nearest] = None
        if nearest != age:
            say(f"--to {age:g}: the generator has learned {youngest:g} to {oldest:g} years, so this shows {nearest:g}")
    return list(shown)


def _save(pictures: Pictures, photo: str, image: RGBImage, aged: Aged, with_sheet: bool) -> None:
    """Writes the pictures of a photo. Raises `AgingError` if none of its faces could be changed."""
    from cascade.aging import AgingError
    from cascade.imaging.alignment import align
    from cascade.imaging.marking import CELL, contact_sheet, mark_synthetic, synthetic_xmp
    from cascade.imaging.pasting import HEAD_TEMPLATE

    if all(aged.unknown):
        raise AgingError(_unchanged(aged.unknown))
    named = list(zip((f"{age:g}" for age in aged.ages), aged.images, strict=True))
    written = {f"_age{age}": mark_synthetic(picture, f"age {age}") for age, picture in named}
    if with_sheet:
        shown = aged.faces[[not reason for reason in aged.unknown]]
        columns = [("as it is", image), *((f"synthetic: age {age}", picture) for age, picture in named)]
        cut = [(title, align(picture, shown, CELL, HEAD_TEMPLATE)) for title, picture in columns]
        written["_ages"] = contact_sheet([[(crops[row], title) for title, crops in cut] for row in range(len(shown))])
    told = {f"_age{age}": f"age {age}" for age, _ in named} | {"_ages": f"ages {', '.join(age for age, _ in named)}"}
    xmp = {end: synthetic_xmp(f"A face at {at}, synthesised by cascade. It shows nobody.") for end, at in told.items()}
    pictures.save(photo, written, xmp)


def _unchanged(unknown: Sequence[str]) -> str:
    """How many faces of a photo stay as they are, and why."""
    reasons = [reason for reason in unknown if reason]
    why = " or ".join({"profile": "in profile"}.get(reason, reason) for reason in dict.fromkeys(reasons))
    if len(unknown) == 1:
        return f"the face is {why}, so it stays as it is"
    stay = "stays as it is" if len(reasons) == 1 else "stay as they are"
    return f"{len(reasons)} of {len(unknown)} faces {stay}: {why}"
