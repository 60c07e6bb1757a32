"""``cascade anonymize``: copies of photos and videos with their faces hidden and without metadata."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import add_no_progress, go_through, photos_of, progress_of
from cascade.cli.console import CommandError, raise_interrupts, say, writable_folder, writing
from cascade.cli.keys import add_key_option, secret_of
from cascade.cli.recognition import check_gallery_exists, load_gallery, say_expired
from cascade.imaging.formats import is_video

if TYPE_CHECKING:
    from cascade.anonymize import FaceFinder, People, Review
    from cascade.cli.anonymizing import Finding, Target

HIDING = ("method", "shape", "margin", "padding", "feather", "cells", "noise", "fill")
FINDING = ("min_score", "min_face", "scales", "rotations", "exposure", "weights", "threads")
"""Options that are passed on as they are, if given."""

DESCRIPTION = """\
Writes copies of photos and videos in which faces are hidden. A PATH is a photo, a video, or a folder, also with
subfolders. The copies have the same names below --out and no metadata: no EXIF data, no GPS position, no previews.
"""

EPILOG = """\
No detector finds every face. Look at the copies before you publish them; --sheet helps.

what is hidden:
  Everybody's face, or with --keep all but those of the people of a gallery, or with --only theirs alone. Where it is
  uncertain whose face it is, it is hidden, and "doubtful" in the review. `cascade gallery add` makes galleries.

reviews:
  --review FILE holds for each photo the boxes of its faces with "status": "hide", "keep" (visible) or "doubtful"
  (hidden), and for each video its tracks. Edit it, add {"status": "hide", "box": [x1, y1, x2, y2]} for a face that was
  missed, and render it without searching again:
    cascade anonymize party --review party.json --review-only --sheet party.html
    cascade anonymize --render party.json --out published
  A review says where faces are and the sheet shows them: both are readable by you alone. Do not publish them.

files in --out DIR:
  sub/name.jpg for sub/name.jpg. A format that cannot be written becomes JPEG; of animations the first frame is written.
  A file that is there already is a problem, unless --overwrite replaces it. Originals are never changed.

exit status:
  0  all were written                 2  wrong options, nothing found, or nowhere to write; nothing was done
  1  some had problems              130  stopped with Ctrl-C; what was written so far is complete

examples:
  cascade anonymize photo.jpg --out published
  cascade anonymize party --out published --method solid --keep crew.gallery
  cascade anonymize clip.mp4 --out published --no-audio
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "anonymize",
        help="hide faces in photos and videos",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a photo, a video, or a folder of these")
    group = parser.add_argument_group("what to write")
    group.add_argument("--out", metavar="DIR", help="folder for the copies; created if it does not exist")
    group.add_argument("--overwrite", action="store_true", help="replace files that are in --out already")
    group.add_argument("--review", metavar="FILE", help="write what was hidden and what was not, as JSON")
    group.add_argument("--review-only", action="store_true", help="write the review and the sheet, no copies")
    group.add_argument("--render", metavar="FILE", help="hide what this review says, without searching; takes no PATH")
    group.add_argument("--sheet", metavar="FILE.html", help="write a page that shows all faces, doubtful ones first")
    group.add_argument(
        "--every", type=int, default=1, metavar="N", help="search every n-th frame of videos (default: 1, all)"
    )
    group.add_argument("--no-audio", action="store_true", help="leave the sound of videos out")
    add_no_progress(group)
    _add_hiding_options(parser.add_argument_group("how faces are hidden"))
    _add_finding_options(parser.add_argument_group("which faces are hidden"))


def _add_hiding_options(group: Any) -> None:
    group.add_argument(
        "--method", choices=("blur", "pixelate", "solid", "drawn"), help="blur (default), pixelate, solid, drawn"
    )
    group.add_argument("--shape", choices=("ellipse", "box"), help="default: ellipse for drawn, else box")
    group.add_argument(
        "--margin",
        type=float,
        metavar="F",
        help="beyond the face's box on each side, over its size (default: 0.1 of ellipses, 0 of boxes)",
    )
    group.add_argument("--padding", type=float, metavar="N", help="pixels further on each side")
    group.add_argument("--feather", type=float, metavar="F", help="width of the soft edge, over the box's shorter side")
    group.add_argument(
        "--cells", type=int, metavar="N", help="blur, pixelate: cells along the longer side; fewer hide more"
    )
    group.add_argument("--noise", type=float, metavar="S", help="blur, pixelate: noise in grey levels")
    group.add_argument("--fill", type=int, nargs=3, metavar=("R", "G", "B"), help="solid: the colour (default: grey)")


def _add_finding_options(group: Any) -> None:
    group.add_argument("--keep", metavar="GALLERY", help="people whose faces stay visible")
    group.add_argument("--only", metavar="GALLERY", help="hide the faces of these people alone")
    add_key_option(group)
    group.add_argument("--threshold", type=float, metavar="S", help="similarity of one person's faces, -1 to 1")
    group.add_argument("--min-score", type=float, metavar="S", help="score from which on faces are hidden, 0.1 to 1")
    group.add_argument("--min-face", type=float, metavar="N", help="smallest face in pixels")
    group.add_argument("--scales", type=float, nargs="+", metavar="F", help="search the photo resized by each of these")
    group.add_argument(
        "--rotations", type=int, nargs="+", metavar="DEGREES", help="search it rotated by these of 0, 90, 180, 270"
    )
    group.add_argument("--exposure", choices=("auto", "none"), help="auto: brighten dark photos before searching")
    group.add_argument("--weights", metavar="NAME|DIR", help="trained detector: one of `cascade models`, or a folder")
    group.add_argument("--recognizer", metavar="NAME|FILE", help="trained recognition network, for --keep and --only")
    group.add_argument("--threads", type=int, metavar="N", help="threads to use (default: one per core, at most 4)")


def run(args: argparse.Namespace) -> int:
    """Runs the command and returns its exit status. Raises `CommandError`."""
    _check_combination(args)
    from cascade.cli.anonymizing import Finding, Rendering, files_of, is_wanted

    changes = {name: getattr(args, name) for name in HIDING if getattr(args, name) is not None}
    if args.render:
        review = _read_review(args.render)
        with _said_as_options(args):
            rendering = Rendering(review, _target(args, files_of(review)), changes)
        raise_interrupts()
        files = rendering.files
        tally = go_through(
            files, rendering.render, progress_of(len(files), True, not args.no_progress), videos=_videos(files)
        )
    else:
        found = photos_of(args.paths, args.out, wanted=is_wanted)
        _check_reports(args, found.photos)
        target = _target(args, found.photos) if args.out else None
        with _said_as_options(args):
            finding = Finding(found.base, target, changes, _finder(args), _people(args), sheet=args.sheet is not None)
        raise_interrupts()
        progress = progress_of(len(found.photos), True, not args.no_progress)
        finding.every = args.every
        finding.progress = progress == "bar" or (len(found.photos) == 1 and not args.no_progress)
        tally = go_through(
            found.photos,
            finding.find,
            progress,
            len(found.problems),
            found.left_out,
            videos=_videos(found.photos),
        )
        _write_reports(args, finding)
    if tally.status() or not args.no_progress:
        say(tally.summary() + (f"; copies in {args.out}" if args.out else ""))
    return tally.status()


def _videos(files: list[str]) -> int:
    """How many of these are videos."""
    return sum(map(is_video, files))


def _check_combination(args: argparse.Namespace) -> None:
    """Refuses options that cannot be combined."""
    problem = None
    if args.render and (args.paths or args.review or args.review_only or args.sheet or args.keep or args.only):
        problem = "--render takes no PATH, --review, --review-only, --sheet, --keep or --only: the review says it all"
    elif not (args.render or args.paths):
        problem = "name a photo, a video or a folder"
    elif args.keep and args.only:
        problem = "--keep and --only cannot be combined"
    elif args.threshold is not None and not (args.keep or args.only):
        problem = "--threshold is for --keep and --only"
    elif args.key_file is not None and not (args.keep or args.only):
        problem = "--key-file is for --keep and --only"
    elif args.review_only and (args.out or not args.review):
        problem = "--review-only needs --review FILE and takes no --out"
    elif args.every < 1:
        problem = f"--every: expected at least 1, got {args.every}"
    elif not (args.review_only or args.out):
        problem = "name a folder for the copies: --out DIR"
    if problem:
        args.parser.error(problem)


def _read_review(path: str) -> Review:
    from cascade.anonymize.review import ReviewError, read_review

    try:
        return read_review(path)
    except ReviewError as error:
        raise CommandError(f"--render: {error}") from error


def _target(args: argparse.Namespace, originals: list[str]) -> Target:
    from cascade.cli.anonymizing import Target

    return Target(writable_folder(args.out), originals, sound=not args.no_audio, overwrite=args.overwrite)


def _finder(args: argparse.Namespace) -> FaceFinder:
    from cascade.anonymize.finding import FaceFinder

    return FaceFinder(**{name: getattr(args, name) for name in FINDING if getattr(args, name) is not None})


def _people(args: argparse.Namespace) -> People | None:
    """Those of --keep or --only."""
    if not (args.keep or args.only):
        return None
    from cascade.anonymize.people import People
    from cascade.recognize import Recognizer

    path = args.keep or args.only
    check_gallery_exists(path)
    secret = secret_of(path, args.key_file)
    recognizer = Recognizer(args.recognizer, args.threads)
    gallery = load_gallery(path, recognizer, secret)
    say_expired(gallery)
    if len(gallery) == len(gallery.expired()):
        if args.only:
            raise CommandError(f"--only: {path}: nobody in it can be matched, so that no face would be hidden")
        say(f"{path}: nobody in it can be matched: all faces are hidden")
    return People(gallery, "keep" if args.keep else "only", recognizer, args.threshold)


def _check_reports(args: argparse.Namespace, originals: list[str]) -> None:
    """Refuses, before the search, to replace other files than reviews and sheets by those of this run."""
    from cascade.anonymize.review import is_review
    from cascade.anonymize.sheet import is_sheet
    from cascade.cli.anonymizing import file_number

    if args.review and args.sheet and os.path.realpath(args.review) == os.path.realpath(args.sheet):
        raise CommandError("--sheet: expected another file than that of --review")
    read = {file_number(path) for path in (*originals, args.keep, args.only, args.key_file) if path}
    for option, path, what, is_ours in (
        ("--review", args.review, "review", is_review),
        ("--sheet", args.sheet, "sheet", is_sheet),
    ):
        if not path or not os.path.lexists(path):
            continue
        if file_number(path) in read - {None}:
            raise CommandError(f"{option}: {path} is read by this run; it is not replaced")
        if not is_ours(path):
            raise CommandError(f"{option}: {path} exists and is no {what} of this command; it is not replaced")


def _write_reports(args: argparse.Namespace, finding: Finding) -> None:
    from cascade.anonymize.review import write_review
    from cascade.anonymize.sheet import write_sheet

    if args.review:
        with writing(args.review):
            write_review(args.review, finding.review())
    if args.sheet:
        with writing(args.sheet):
            write_sheet(args.sheet, finding.pictures)


@contextmanager
def _said_as_options(args: argparse.Namespace) -> Iterator[None]:
    """Raises a `CommandError` that names the option for a setting that is wrong."""
    try:
        yield
    except (TypeError, ValueError) as error:  # WeightsError and GalleryError are ValueErrors
        name, _, rest = str(error).partition(":")
        name = name.partition("[")[0]
        known = name in (*HIDING, *FINDING, "threshold")
        raise CommandError(f"--{name.replace('_', '-')}:{rest}" if known else str(error)) from error
