"""``cascade anonymize``: copies of photos and videos with their faces hidden and without metadata."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import Tally, go_through, photos_of, progress_of
from cascade.cli.console import CommandError, raise_interrupts, say, writable_folder
from cascade.cli.photos import Found

if TYPE_CHECKING:
    from cascade.anonymize import FaceFinder, Hiding, People

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
    group.add_argument("--no-audio", action="store_true", help="leave the sound of videos out")
    group.add_argument("--no-progress", action="store_true", help="print problems only: no progress bar, no summary")
    _add_hiding_options(parser.add_argument_group("how faces are hidden"))
    _add_finding_options(parser.add_argument_group("which faces are hidden"))


def _add_hiding_options(group: Any) -> None:
    group.add_argument(
        "--method", choices=("blur", "pixelate", "solid", "drawn"), help="blur (default), pixelate, solid, drawn"
    )
    group.add_argument("--shape", choices=("ellipse", "box"), help="ellipse or box (default: see --help of the docs)")
    group.add_argument("--margin", type=float, metavar="F", help="beyond the face's box on each side, over its size")
    group.add_argument("--feather", type=float, metavar="F", help="width of the soft edge, over the box's shorter side")
    group.add_argument("--cells", type=int, metavar="N", help="blur, pixelate: cells along the longer side; fewer hide more")
    group.add_argument("--noise", type=float, metavar="S", help="blur, pixelate: noise in grey levels")
    group.add_argument("--color", type=int, nargs=3, metavar=("R", "G", "B"), help="solid: the colour (default: grey)")


def _add_finding_options(group: Any) -> None:
    group.add_argument("--keep", metavar="GALLERY", help="people whose faces stay visible")
    group.add_argument("--only", metavar="GALLERY", help="hide the faces of these people alone")
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


HIDING = ("method", "shape", "margin", "feather", "cells", "noise", "color")
FINDING = ("min_score", "min_face", "scales", "rotations", "exposure", "weights", "threads")
