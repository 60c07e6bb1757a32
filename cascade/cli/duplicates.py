"""``cascade duplicates``: photos that are the same or nearly so, as a report."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.archives import archive_errors, block_progress, is_index, open_index
from cascade.cli.batch import Tally, go_through, photos_of, progress_of
from cascade.cli.console import CommandError, counted, say, writing
from cascade.cli.photos import Found
from cascade.cli.recognition import new_parser

if TYPE_CHECKING:
    from cascade.archive.duplicate_report import Member, PhotoFile
    from cascade.archive.duplicates import Duplicate
    from cascade.archive.photo_prints import PhotoPrint

DESCRIPTION = """\
Finds photos that are the same: files with the same bytes; the same photo in another size or quality, or a little
cropped; and, in an index (`cascade index`), photos with the same picture of a face, as when a portrait was cut out of a
group photo. It prints a line for each photo of a set. Nothing is deleted or changed.
"""

EPILOG = """\
A PATH is the folder of an index, a folder with photos, or a photo. Rotated and mirrored photos are not found.

exit status:
  0  everything went well           2  wrong options or no photos; nothing was done
  1  some photos had problems     130  stopped with Ctrl-C; nothing was reported

examples:
  cascade duplicates photos --out same.html
  cascade duplicates faces.index --out same.csv
"""

FORMATS = (".csv", ".json", ".html")


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "duplicates", "report photos that are nearly the same", DESCRIPTION, EPILOG)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="the folder of an index, or photos and folders")
    parser.add_argument(
        "--out", metavar="FILE", help="write a report to FILE.csv, FILE.json or FILE.html, which must not exist yet"
    )
    parser.add_argument(
        "--likeness",
        type=float,
        default=0.92,
        metavar="L",
        help="correlation from which photos are nearly the same, 0 to 1 (default: 0.92)",
    )


def run(args: argparse.Namespace) -> int:
    """Reads the photos and reports those that are the same. Raises `CommandError`."""
    if not args.paths:
        args.parser.error("name an index, a photo or a folder")
    if not 0 <= args.likeness <= 1:
        raise CommandError(f"--likeness: expected 0 to 1, got {args.likeness}")
    _check_out(args.out)
    index = args.paths[0] if len(args.paths) == 1 and is_index(args.paths[0]) else None
    found = photos_of(args.paths) if index is None else Found(_photos_of_index(index))
    photos: list[PhotoFile] = []
    prints: list[PhotoPrint] = []

    def read(name: str, tally: Tally) -> None:
        photo, print_of_photo = _read(name)
        photos.append(photo)
        prints.append(print_of_photo)
        tally.add()

    progress = progress_of(len(found.photos), args.out is None)
    tally = go_through(found.photos, read, progress, len(found.problems), found.left_out, counts_faces=False)
    if tally.stopped:
        say("stopped: nothing was reported")
        return tally.status()
    from cascade.archive.duplicate_report import duplicate_sets

    sets = duplicate_sets(photos, _pairs(photos, prints, index, args.likeness, tally))
    _report(args.out, photos, sets)
    say(_summary(tally, sets, args.out))
    return tally.status()


def _summary(tally: Tally, sets: Sequence[Sequence[Member]], out: str | None) -> str:
    words = [counted(tally.done, "photo"), counted(len(sets), "set"), f"{sum(map(len, sets)):,} photos in them"]
    words += [counted(tally.problems, "problem")] * bool(tally.problems)
    return ", ".join(words) + (f"; report in {out}" if out else "")


def _photos_of_index(folder: str) -> list[str]:
    from cascade.archive.schema import path_of

    index = open_index(folder)
    with archive_errors(folder):
        rows = index.photos(["path", "raw_path", "error"]).to_pylist()
    return [path_of(row["path"], row["raw_path"]) for row in rows if row["error"] is None]


def _read(name: str) -> tuple[PhotoFile, PhotoPrint]:
    """What is kept of a photo. Raises `cascade.ImageError`."""
    from cascade.archive.duplicate_report import PhotoFile
    from cascade.archive.locations import opened
    from cascade.archive.photo_prints import photo_print
    from cascade.imaging.errors import ImageError
    from cascade.imaging.reading import read_image

    try:
        with opened(os.fsencode(name)) as (file, state):
            image = read_image(file)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
    except OSError as error:
        raise ImageError(f"image: cannot be read: {error.strerror or error}") from error
    return PhotoFile(name, image.shape[1], image.shape[0], state.st_size, digest), photo_print(image)


def _pairs(
    photos: Sequence[PhotoFile], prints: Sequence[PhotoPrint], index: str | None, least: float, tally: Tally
) -> list[Duplicate]:
    from cascade.archive.duplicates import identical, near_identical, same_face_pictures

    pairs = identical([photo.sha256 for photo in photos]) + near_identical(prints, least=least, progress=block_progress)
    if index is not None:
        with archive_errors(index):
            found, problems = same_face_pictures(
                open_index(index), [photo.path for photo in photos], progress=block_progress
            )
        for problem in problems:
            say(problem)
        tally.problems += len(problems)
        pairs += found
    return pairs


def _check_out(out: str | None) -> None:
    if out is None:
        return
    if Path(out).suffix.lower() not in FORMATS:
        raise CommandError(f"--out {out}: expected a file that ends in {', '.join(FORMATS)}")
    if os.path.lexists(out):
        raise CommandError(f"--out {out}: there is such a file already")


def _report(out: str | None, photos: Sequence[PhotoFile], sets: Sequence[Sequence[Member]]) -> None:
    from cascade import private_files
    from cascade.archive import duplicate_report as report

    if out is None:
        with writing("to standard output"):
            for number, members in enumerate(sets, start=1):
                for each in members:
                    print(f"{number}\t{each.kind}\t{each.likeness:.3f}\t{photos[each.photo].path}")
        return
    suffix = Path(out).suffix.lower()
    as_text = {".csv": report.as_csv, ".json": report.as_json, ".html": report.as_html}[suffix]
    text = as_text(photos, sets)
    odd = "backslashreplace" if suffix == ".html" else "surrogateescape"  # names that are no UTF-8; a page is
    with writing(out), private_files.replacing(out) as stream:
        stream.write(text.encode("utf-8", odd))
