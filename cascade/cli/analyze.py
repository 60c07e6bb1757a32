"""``cascade analyze``: what the faces in photos and folders of photos look like."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import Tally, add_no_progress, go_through, photos_of, progress_of
from cascade.cli.console import CommandError, counted, printable, say, writable_folder, writing
from cascade.cli.detect import add_detector, add_rotations, make_detector
from cascade.cli.photos import read_photo
from cascade.cli.recognition import new_parser
from cascade.cli.results import FORMATS, Further, Pictures, Writer, open_results
from cascade.face_records import ANGLES, attributes_of, columns_of, landmarks_of
from cascade.interrupts import interrupts_wait

if TYPE_CHECKING:
    from cascade.attributes import AttributeEstimator
    from cascade.detect import Detector
    from cascade.faces import Faces
    from cascade.imaging.reading import RGBImage
    from cascade.landmarks import LandmarkEstimator

TEXT = "text"
MIN_FACE, DETECTED = 24, 20
"""Pixels: the smallest face that something is said of, and that the detector looks for, by default."""

GROUPS = ("twelve", "nine", "six", "three")

NOT_FOR = """\
what it is not for:
  All of this is how a face looks in one photo: not how old somebody is, nor their gender, origin or mood. It errs more
  on some people than on others, as on children, old people and dark skin; the model card has the figures. Do not let it
  alone decide about a person. The EU AI Act forbids inferring race from biometric data, and emotions at work and in
  schools. Ethnicity is computed only with --ethnicity.
"""

DESCRIPTION = """\
Says what the faces in photos look like: age, gender, expression and smile, and with --landmarks 68 points and the
head pose. A PATH is a photo, or a folder, in which photos are found, also in subfolders, or - for a photo on
standard input. Results go to the terminal as text, or with --out to files in a folder.
"""

EPILOG = f"""\
{NOT_FOR}
results:
  jsonl and json hold an object per photo, as from `cascade detect`; each face also has
    "age": years, "age_group": "30-39", "gender": "female", "gender_probability": 0.98, "expression": …, "smile": …
    with --landmarks "points": [[x, y], … 68 in iBUG's order], "yaw", "pitch", "roll": degrees
    "unknown": "too small" or "profile" where a face cannot be estimated; then the others are null
  Yaw is positive where the face looks to the right of the photo, pitch where it looks up, roll where the head leans
  clockwise in the photo.
  csv holds a row per face with the same as columns, but without the 68 points.

files in --out DIR:
  attributes.jsonl (or .json, .csv), and for sub/name.jpg with --draw sub/name_faces.jpg. As with `cascade detect`,
  files that this program did not write stay as they are.

exit status:
  0  all photos were read           2  wrong options, no photos, or nowhere to write; nothing was done
  1  some had problems            130  stopped with Ctrl-C; the results so far are written

examples:
  cascade analyze photo.jpg
  cascade analyze photo.jpg --tasks age,smile --landmarks
  cascade analyze photos --out told --draw --landmarks
  cascade analyze photos --out told --format csv --min-face 40
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "analyze", "say what faces look like: age, gender, expression …", DESCRIPTION, EPILOG)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a photo, a folder of photos, or - for standard input")
    what = parser.add_argument_group("what to say")
    what.add_argument(
        "--tasks",
        metavar="LIST",
        help="what to say of a face, with commas between: age,gender … (default: all but ethnicity)",
    )
    what.add_argument("--ethnicity", action="store_true", help="also the ethnicity, as perceived; read below first")
    what.add_argument("--landmarks", action="store_true", help="also 68 points, and the head pose")
    what.add_argument(
        "--age-groups", choices=GROUPS, default=GROUPS[0], metavar="GROUPS", help="twelve (default), nine, six or three"
    )
    what.add_argument(
        "--min-face",
        dest="smallest",
        type=float,
        default=MIN_FACE,
        metavar="N",
        help=f"smallest face, in pixels of the photo, that something is said of (default: {MIN_FACE})",
    )
    add_rotations(what)
    written = parser.add_argument_group("what to write")
    written.add_argument("--out", metavar="DIR", help="folder for all results; created if it does not exist")
    written.add_argument(
        "--format", choices=(TEXT, *FORMATS), help="format of the results (default: text, with --out jsonl)"
    )
    written.add_argument("--json", action="store_true", help="a JSON object per photo and line: --format jsonl")
    written.add_argument("--draw", action="store_true", help="write a copy of each photo with the results drawn")
    add_no_progress(written)
    networks = parser.add_argument_group("networks")
    networks.add_argument(
        "--attribute-weights", metavar="NAME|FILE", help="trained attribute network, also of your own"
    )
    networks.add_argument("--landmark-weights", metavar="FILE", help="trained network for 68 points")
    add_detector(parser, networks)


@dataclass(frozen=True)
class Analyzer:
    """What finds the faces of a photo and says how they look."""

    detector: Detector
    attributes: AttributeEstimator | None
    landmarks: LandmarkEstimator | None
    groups: str

    def __call__(self, image: RGBImage) -> tuple[Faces, Further]:
        """The faces of a photo, and what is said of each."""
        faces = self.detector.detect(image)
        told: list[dict[str, Any]] = [{} for _ in range(len(faces))]
        if self.attributes is not None:
            found = self.attributes.predict(image, faces)
            told = [*attributes_of(found, self.groups)]
        if self.landmarks is not None:
            placed = landmarks_of(self.landmarks.analyze(image, faces))
            told = [row | more for row, more in zip(told, placed, strict=True)]
        return faces, told

    def columns(self) -> tuple[str, ...]:
        """The columns of CSV beside those of the faces."""
        columns: list[str] = []
        if self.attributes is not None:
            columns += columns_of(self.attributes)
        return (*columns, *(ANGLES if self.landmarks else ()), "unknown")


def run(args: argparse.Namespace) -> int:
    """Runs the command and returns its exit status. Raises `CommandError`."""
    kind = args.format or (FORMATS[0] if args.json or args.out else TEXT)
    _check_combination(args, kind)
    found = photos_of(args.paths, args.out, standard_input=True)
    out = None if args.out is None else writable_folder(args.out)
    analyze = make_analyzer(args)
    pictures = Pictures(found.photos, found.base, out) if out and args.draw else None
    opened = _open_text() if kind == TEXT else open_results(out, kind, "attributes", analyze.columns())
    with opened as writer:

        def work(photo: str, tally: Tally) -> None:
            image = read_photo(photo)
            faces, told = analyze(image)
            with interrupts_wait():
                writer.add(photo, image.shape[1], image.shape[0], faces, told)
                tally.add(len(faces))
            say_rotated(photo, faces, analyze.detector)
            if pictures:
                pictures.save(photo, {"_faces": drawn(image, faces, told)})

        progress = progress_of(len(found.photos), out is None, not args.no_progress)
        tally = go_through(found.photos, work, progress, len(found.problems), found.left_out)
    if tally.status() or not args.no_progress:
        say(tally.summary() + (f"; results in {writer.where}" if out else ""))
    return tally.status()


def say_rotated(photo: str, faces: Faces, detector: Detector) -> None:
    """Says which faces lie on their side or upside down, so that little said of them is right."""
    from cascade.face_model import five_point_lean
    from cascade.quality import ROTATED_HINT, rotation_problem

    for number, lean in enumerate(five_point_lean(faces.landmarks).tolist(), start=1):
        problem = rotation_problem(lean, detector.rotations)
        if problem:
            say(f"{printable(photo)}: warning: face {number} is {problem}: {ROTATED_HINT}")


def _check_combination(args: argparse.Namespace, kind: str) -> None:
    """Refuses options that cannot be combined."""
    from cascade.attributes import BY_NAME

    problem = None
    unasked = [] if args.ethnicity else [name for name in _names(args.tasks or "") if name in BY_NAME]
    if not args.paths:
        problem = "name a photo or a folder"
    elif args.json and kind != FORMATS[0]:
        problem = f"--json is --format jsonl, not {args.format}"
    elif args.draw and args.out is None:
        problem = "--draw needs a folder to write to: --out DIR"
    elif args.out is not None and kind == TEXT:
        problem = "--format text is for the terminal; --out DIR takes jsonl, json or csv"
    elif args.tasks is not None and args.tasks.strip() and not _names(args.tasks):
        problem = f"--tasks: expected names with commas between, got {args.tasks!r}"
    elif args.tasks is not None and not _names(args.tasks) and not (args.landmarks or args.ethnicity):
        problem = "--tasks: name one, or ask for --landmarks"
    elif unasked:
        problem = f"--tasks: {unasked[0]} is computed only with --{unasked[0]}; read the help first"
    if problem:
        args.parser.error(problem)


def make_analyzer(args: argparse.Namespace) -> Analyzer:
    """What the options ask for. Raises `CommandError` in the words of the command line."""
    from cascade.attributes import BY_NAME, AttributeEstimator
    from cascade.landmarks import LandmarkEstimator
    from cascade.models.attributes import load_attributes

    if args.smallest < DETECTED:
        args.min_face = args.smallest
    detector = make_detector(args)
    common: dict[str, Any] = {"threads": args.threads, "min_face": args.smallest, "detector": detector}
    attributes = landmarks = None
    tasks = None if args.tasks is None else _names(args.tasks)
    if tasks or tasks is None or args.ethnicity:
        with _named({"weights": "--attribute-weights", "tasks": "--tasks", "min_face": "--min-face"}):
            weights = load_attributes(args.attribute_weights)
            if tasks is None:
                tasks = [task.name for task in weights.tasks if task.name not in BY_NAME]
            wanted = dict.fromkeys([*tasks, *BY_NAME] if args.ethnicity else tasks)
            attributes = AttributeEstimator(weights, wanted, **common)
    if args.landmarks:
        with _named({"weights": "--landmark-weights", "min_face": "--min-face"}):
            landmarks = LandmarkEstimator(args.landmark_weights, **common)
    return Analyzer(detector, attributes, landmarks, args.age_groups)


def _names(tasks: str) -> list[str]:
    return [name.strip() for name in tasks.split(",") if name.strip()]


@contextmanager
def _named(options: dict[str, str]) -> Iterator[None]:
    """Raises errors of settings as `CommandError` with the names of the options."""
    try:
        yield
    except (TypeError, ValueError) as error:  # WeightsError is a ValueError
        name, _, rest = str(error).partition(":")
        raise CommandError(f"{options[name]}:{rest}" if name in options else str(error)) from error


# --------------------------------------------------------------------------------------------------
# Text and pictures


class _Text:
    """Lines for people to read, to standard output."""

    where = "to standard output"

    def add(self, path: str, width: int, height: int, faces: Faces, further: Further = ()) -> None:
        """Writes a line for the photo, and one for each face."""
        lines = [f"{printable(path)}: {counted(len(faces), 'face')}"]
        for number, (face, told) in enumerate(zip(faces, further, strict=True), start=1):
            x, y = face.box[:2]
            words = ", ".join(in_words(told)) or "nothing"
            lines.append(f"  {number}  at {x:.0f}, {y:.0f}, {face.width:.0f} × {face.height:.0f} pixels: {words}")
        with writing(self.where):
            print("\n".join(lines), flush=True)

    def end(self) -> None:
        """Writes nothing."""


@contextmanager
def _open_text() -> Iterator[Writer]:
    if sys.stdout.closed:
        raise CommandError("standard output is closed; give a folder for the results with --out")
    yield _Text()


def in_words(told: dict[str, Any] | Any) -> list[str]:
    """What is said of a face, one thing each: "34 years", "female 98 %"."""
    if told.get("unknown"):
        return [f"not estimated: {told['unknown']}"]
    words = []
    for name, value in told.items():
        share = told.get(f"{name}_probability")
        if name == "age" and isinstance(value, float):
            words.append(f"{value:.0f} years")
        elif share is not None:
            words.append(_label(name, value) + f" {100 * share:.0f} %")
        elif name == "yaw" and value is not None:
            words.append(", ".join(f"{angle} {round(told[angle])}°" for angle in ANGLES))
        elif name not in _ELSEWHERE and not name.endswith("_probability") and isinstance(value, float):
            words.append(f"{name} {value:g}")
    return words


_ELSEWHERE = ("age_group", "unknown", "points", *ANGLES)
_SPEAKING = ("gender", "expression", "ethnicity")
"""Tasks whose classes say by themselves what they are about."""


def _label(task: str, label: str) -> str:
    if task == "smile":
        return {"yes": "smiling", "no": "not smiling"}.get(label, label)
    return label if task in _SPEAKING else f"{task} {label}"


def drawn(image: RGBImage, faces: Faces, told: Further) -> RGBImage:
    """A copy of the photo with boxes, labels, and where there are 68 points their lines in place of boxes' points."""
    import numpy as np

    from cascade.cli.names import UNKNOWN
    from cascade.imaging.annotation import draw_contours, draw_labels

    known = np.array([not row.get("unknown") for row in told], bool)
    points = np.full((len(faces), 68, 2), np.nan)
    for at, row in enumerate(told):
        if row.get("points"):
            points[at] = row["points"]
    canvas = faces[~known].draw(image, box_color=UNKNOWN, scores=False, landmarks=False)
    canvas = faces[known].draw(canvas, scores=False, landmarks=not np.isfinite(points).any())
    canvas = draw_contours(canvas, points)
    texts = [in_words(row) if is_known else [] for row, is_known in zip(told, known, strict=True)]
    return draw_labels(canvas, faces.boxes, texts)
