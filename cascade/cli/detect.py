"""``cascade detect``: the faces in photos and folders of photos."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import ReadAhead, Tally, add_no_progress, go_through, photos_of, progress_of
from cascade.cli.console import CommandError, raise_interrupts, say, writable_folder
from cascade.cli.photos import STANDARD_INPUT, read_photo
from cascade.cli.results import FORMATS, Pictures, Writer, open_results
from cascade.interrupts import interrupts_wait

if TYPE_CHECKING:
    from cascade.detect import Detector
    from cascade.faces import Faces
    from cascade.imaging.reading import RGBImage
    from cascade.imaging.reduced import ReducedPhoto

SETTINGS = (
    "min_face",
    "max_face",
    "scale_factor",
    "thresholds",
    "rotations",
    "exposure",
    "decode",
    "weights",
    "engine",
    "device",
    "threads",
    "precision",
)
"""Options that are passed to the Detector as they are, if given."""

DESCRIPTION = """\
Finds the faces in photos. A PATH is a photo, or a folder, in which photos are found, also in subfolders, or - for a
photo on standard input.
Results go to the terminal, or with --out to files in a folder.
"""

EPILOG = """\
results:
  jsonl and json hold an object per photo:
    {"path": "a.jpg", "width": 640, "height": 480, "faces": [{"box": [x1, y1, x2, y2], "score": 0.99,
     "landmarks": {"left_eye": [x, y], "right_eye": …, "nose": …, "mouth_left": …, "mouth_right": …}}]}
  csv holds a row per face: path, face (1, 2 …, best first), x1, y1, x2, y2, score, left_eye_x, left_eye_y …
    A path that a spreadsheet would take for a formula (=, +, -, @ …) has a ' before it.
  Coordinates are in pixels of the photo as displayed, x to the right and y down from its top left corner.
  Left and right are as seen in the photo. A score is from 0 to 1.

files in --out DIR:
  faces.jsonl (or .json, .csv), and for sub/name.jpg with --draw sub/name_faces.jpg, with --crop
  sub/name_face1.jpg, sub/name_face2.jpg … (name-2_… for a second photo of that name, such as name.png).
  Results of an earlier run are replaced. Files that this program did not write, or that were changed since, stay as
  they are, and results get a number: faces-2.jsonl, sub/name-2_faces.jpg. Where DIR holds the photos too, pictures of
  an earlier run are not taken for photos. Hidden files and folders, and links to folders, are left out.

exit status:
  0  all photos were read           2  wrong options, no photos, or nowhere to write; nothing was done
  1  some had problems            130  stopped with Ctrl-C; the results so far are written

examples:
  cascade detect --demo
  cascade detect photo.jpg
  cascade detect photos --out found --draw
  cascade detect photos --out found --format csv --min-face 40
  curl -s https://example.org/photo.jpg | cascade detect - --json
  cascade detect party.jpg --thresholds 0.6 0.7 0.9      only faces of high scores
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "detect",
        help="find the faces in photos and folders of photos",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a photo, a folder of photos, or - for standard input")
    parser.add_argument(
        "--demo", action="store_true", help="find the face in a bundled portrait and draw it; takes no PATH"
    )
    _add_output_options(parser.add_argument_group("what to write"))
    finding = parser.add_argument_group("what to find, and how")
    _add_finding_options(finding)
    _add_network_options(finding)


def add_detector(parser: argparse.ArgumentParser, to: argparse._ActionsContainer) -> None:
    """Adds ``--weights`` and ``--threads`` for commands without the other options that `make_detector` knows."""
    to.add_argument("--weights", metavar="NAME|DIR", help="trained detector: one of `cascade models`, or a folder")
    to.add_argument("--threads", type=int, metavar="N", help="threads to use (default: one per core, at most 4)")
    parser.set_defaults(**{name: None for name in SETTINGS if parser.get_default(name) is None})


def add_rotations(to: argparse._ActionsContainer) -> None:
    """Adds ``--rotations``."""
    to.add_argument(
        "--rotations",
        type=int,
        nargs="+",
        metavar="DEGREES",
        help="search the photo rotated by these of 0, 90, 180 and 270 degrees (default: 0); "
        "each takes the time of a search",
    )


def _add_output_options(group: Any) -> None:
    group.add_argument("--out", metavar="DIR", help="folder for all results; created if it does not exist")
    group.add_argument("--format", choices=FORMATS, help="format of the results (default: jsonl)")
    group.add_argument("--json", action="store_true", help="a JSON object per photo and line: --format jsonl")
    group.add_argument("--draw", action="store_true", help="write a copy of each photo with its faces drawn")
    group.add_argument("--crop", action="store_true", help="write each face as a picture")
    add_no_progress(group)


def _add_finding_options(group: Any) -> None:
    group.add_argument(
        "--min-face",
        type=float,
        metavar="N",
        help="smallest face, in pixels of the photo (default: 20). Larger is faster",
    )
    group.add_argument("--max-face", type=float, metavar="N", help="largest face, in pixels (default: any)")
    group.add_argument(
        "--thresholds",
        type=float,
        nargs=3,
        metavar=("P", "R", "O"),
        help="scores that a window must reach in P-Net and R-Net, and a face in the end, 0 to 1 (default: 0.7 0.4 "
        "0.8). Raise the last for fewer false faces, lower all for more faces",
    )
    group.add_argument(
        "--scale-factor",
        type=float,
        metavar="F",
        help="size of a pyramid level over the one before, 0.5 to 0.95 (default: 0.709). "
        "Larger finds a little more and takes longer",
    )
    add_rotations(group)
    group.add_argument(
        "--exposure",
        choices=("auto", "none"),
        help="auto: brighten dark and pale photos and take colour casts out before searching (default); none: never",
    )
    group.add_argument(
        "--decode",
        choices=("full", "reduced"),
        help="reduced: read JPEG files at 1/2, 1/4 or 1/8 of their size where --min-face is 80, 160 or 320 or more, "
        "which is faster and changes results a little (default: full)",
    )


def _add_network_options(group: Any) -> None:
    group.add_argument("--weights", metavar="NAME|DIR", help="trained networks: one of `cascade models`, or a folder")
    group.add_argument(
        "--engine", choices=("native", "torch", "onnx"), help="what runs the networks (default: native, in C)"
    )
    group.add_argument("--device", metavar="NAME", help="device of the torch engine: cpu (default), cuda …")
    group.add_argument("--threads", type=int, metavar="N", help="threads to use (default: one per core, at most 4)")
    group.add_argument(
        "--precision",
        choices=("int8", "float32"),
        help="arithmetic of the native engine (default: int8 if the weights have activation ranges and the processor "
        "has AVX2, or ARM's dot products, or better)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command and returns its exit status. Raises `CommandError`."""
    _check_combination(args)
    if args.demo:
        from cascade.cli.demo import run_demo

        return run_demo(args)
    kind = args.format or FORMATS[0]
    found = photos_of(args.paths, args.out, standard_input=True)
    out = None if args.out is None else writable_folder(args.out)
    detector = make_detector(args)
    pictures = Pictures(found.photos, found.base, out) if out and (args.draw or args.crop) else None
    read = ReadAhead(found.photos, lambda photo: _read(photo, detector))
    with open_results(out, kind) as writer:

        def detect(photo: str, tally: Tally) -> None:
            pixels = read(photo)
            faces = _detect_one(photo, pixels, detector, writer, tally)
            if pictures:
                image = pixels.pixels if pixels.frame.reduction == 1 else read_photo(photo)
                pictures.save(photo, pictures_of(image, faces, args.draw, args.crop))

        progress = progress_of(len(found.photos), out is None, not args.no_progress)
        tally = go_through(found.photos, detect, progress, len(found.problems), found.left_out)
    if tally.status() or not args.no_progress:
        say(tally.summary() + (f"; results in {writer.where}" if out else ""))
    return tally.status()


def _check_combination(args: argparse.Namespace) -> None:
    """Refuses options that cannot be combined."""
    problem = None
    if args.device and args.engine != "torch":
        problem = "--device is for --engine torch; the native engine runs on the CPU"
    elif args.json and args.format not in (None, "jsonl"):
        problem = f"--json is --format jsonl, not {args.format}"
    elif args.demo and (args.paths or args.format or args.json or args.crop):
        problem = "--demo takes no PATH, --format, --json or --crop"
    elif not (args.demo or args.paths):
        problem = "name a photo or a folder, or try --demo"
    elif (args.draw or args.crop) and args.out is None and not args.demo:
        problem = "--draw and --crop need a folder to write to: --out DIR"
    if problem:
        args.parser.error(problem)


def make_detector(args: argparse.Namespace) -> Detector:
    """The Detector of these options. Raises `CommandError` in the words of the command line."""
    from cascade.detect import Detector
    from cascade.models.files import WeightsError

    settings = {name: getattr(args, name) for name in SETTINGS if getattr(args, name, None) is not None}
    try:
        detector = Detector(**settings)
        raise_interrupts()  # what is slow to import has been imported
        return detector
    except WeightsError as error:
        raise CommandError(str(error)) from error
    except (TypeError, ValueError) as error:
        name, _, rest = str(error).partition(":")
        name = name.partition("[")[0]  # of "thresholds[0]"
        known = name in SETTINGS
        raise CommandError(f"--{name.replace('_', '-')}:{rest}" if known else str(error)) from error
    except ImportError as error:
        raise CommandError(f"--engine {args.engine}: {error}") from error


def pictures_of(image: RGBImage, faces: Faces, draw: bool, crop: bool) -> dict[str, RGBImage]:
    """The annotated copy and the crops that are wanted, by the ends of their names."""
    pictures = {"_faces": faces.draw(image)} if draw else {}
    crops = faces.crop(image) if crop else []
    return pictures | {f"_face{number}": cut for number, cut in enumerate(crops, start=1)}


def _read(photo: str, detector: Detector) -> ReducedPhoto:
    """The photo as the detector searches it; that on standard input at its full size."""
    return detector.read(read_photo(photo) if photo == STANDARD_INPUT else photo)


def _detect_one(photo: str, pixels: ReducedPhoto, detector: Detector, writer: Writer, tally: Tally) -> Faces:
    """Finds the faces in a photo and writes the results."""
    faces = detector.detect(pixels)
    with interrupts_wait():
        writer.add(photo, pixels.frame.width, pixels.frame.height, faces)
        tally.add(len(faces))
    return faces
