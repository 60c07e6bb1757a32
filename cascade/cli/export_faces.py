"""``cascade export`` of faces: one action for each format that `cascade.datasets` writes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.archives import is_index, open_index
from cascade.cli.batch import Tally
from cascade.cli.console import CommandError, say, writing
from cascade.cli.recognition import new_parser

if TYPE_CHECKING:
    from cascade.datasets import Photo

FORMATS = {
    "coco": ("COCO JSON: boxes, five keypoints, scores", "FILE.json"),
    "yolo": ("a data set for training with YOLO: boxes", "DIR"),
    "yolo-pose": ("a data set for training with YOLO-pose: boxes and five keypoints", "DIR"),
    "wider": ("WIDER FACE's text form: boxes in whole pixels", "FILE.txt"),
    "cvat": ('CVAT, as "CVAT for images 1.1": boxes, five points, names', "FILE.xml"),
    "voc": ("Pascal VOC: boxes", "DIR"),
    "labelstudio": ("Label Studio: predictions to correct by hand", "FILE.json"),
    "xmp": ("face regions for photo managers (XMP): boxes and names", "DIR"),
    "csv": ("a table with a row for each face", "FILE.csv"),
    "parquet": ("the same table as Parquet, also with embeddings", "FILE.parquet"),
    "jsonl": ("a JSON record for each photo, as cascade detect writes them", "FILE.jsonl"),
    "json": ("the same as one JSON array", "FILE.json"),
}
"""What each is, and what --out names."""

INDEX = "index"
"""The folder of an index, which is read and not written."""

READABLE = (*(name for name in FORMATS if name != "yolo-pose"), INDEX)
"""What SOURCE can be; "yolo" reads points, too."""

OPTIONS = ("part", "bring", "first_pixel", "image_prefix", "into_files", "sidecars")
"""Options that are passed on to the writers under these names, if given."""

DESCRIPTION = """\
Writes {title}.

SOURCE is a file that cascade detect wrote, or a file or folder in one of the forms: {forms}.
Which one it is, is told by its name and beginning. index is what cascade index wrote: faces get the names that
cascade people gave.
"""


def add_parsers(actions: Any) -> None:
    """Adds an action for each format."""
    for name, (title, target) in FORMATS.items():
        words = DESCRIPTION.format(title=title, forms=", ".join(READABLE))
        parser = new_parser(actions, name, title, words, "")
        parser.set_defaults(run=run, parser=parser, kind=name)
        parser.add_argument("paths", nargs="*", metavar="SOURCE", help="the results or annotations to write")
        parser.add_argument("--from", dest="source_kind", choices=READABLE, metavar="FORMAT", help="the form of SOURCE")
        parser.add_argument(
            "--images", metavar="DIR", help="the folder of the photos, where the names of the photos start"
        )
        parser.add_argument("--out", metavar=target, help=_help_of_out(name, target), required=name != "xmp")
        parser.add_argument("--min-score", type=float, metavar="S", help="leave out faces with a lower score")
        parser.add_argument(
            "--overwrite", action="store_true", help="replace files of the same names; others in a folder stay"
        )
        _add_options(parser, name)


def _help_of_out(name: str, target: str) -> str:
    if name == "xmp":
        return "folder for the sidecars, in place of beside the photos"
    return "the folder to write to; created if it does not exist" if target == "DIR" else "the file to write"


def _add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Adds what only some formats have."""
    if name.startswith("yolo"):
        parser.add_argument(
            "--photos",
            dest="bring",
            choices=("link", "copy", "none"),
            help="put links to the photos into the data set (default), copies, or nothing",
        )
        parser.add_argument("--part", metavar="NAME", help="part of the data set: train (default), val …")
    elif name == "voc":
        parser.add_argument(
            "--first-pixel",
            type=int,
            choices=(0, 1),
            help="number of the first column and row: 1 as in VOC (default), 0 for CVAT, datumaro, LabelImg",
        )
    elif name == "labelstudio":
        parser.add_argument(
            "--image-prefix",
            metavar="TEXT",
            help="what stands before a photo's name in its address (default: /data/local-files/?d=)",
        )
        parser.add_argument(
            "--interface", metavar="FILE", help="also write the labelling interface that the project needs"
        )
    elif name == "xmp":
        parser.add_argument(
            "--sidecars",
            choices=("photo.jpg.xmp", "photo.xmp"),
            help="their names: as digiKam, darktable and Immich have them (default), or as Lightroom",
        )
        parser.add_argument(
            "--into-files",
            action="store_true",
            default=None,
            help="write into the photos themselves (JPEG and PNG); pixels and other metadata stay as they are",
        )


def run(args: argparse.Namespace) -> int:
    """Runs an action and returns its exit status. Raises `CommandError`."""
    from cascade.datasets.formats import FORMATS as KINDS

    if len(args.paths) != 1:
        args.parser.error("name one SOURCE: a file of results, or a file or folder of annotations")
    if args.kind == "xmp" and args.into_files and args.out is not None:
        args.parser.error("--into-files writes into the photos where they are, without --out")
    if args.min_score is not None and not 0 <= args.min_score <= 1:
        raise CommandError(f"--min-score: expected 0 to 1, got {args.min_score}")
    kind = KINDS[args.kind]
    assert kind.open is not None
    target = None if args.out is None else Path(args.out)
    if target is not None:
        _check_target(target, kind.folder, args)
    problems: list[str] = []
    photos = source_photos(args, problems)
    first = next(photos, None)  # before anything is written: a source that cannot be read ends the command here
    if target is not None:
        _make_folder(target if kind.folder else target.parent, target)
    options = {name: getattr(args, name) for name in OPTIONS if getattr(args, name, None) is not None}
    where = "beside the photos" if target is None else str(target)
    tally = Tally(0)
    try:
        with writing(where), kind.open(target, **options) as add:
            for photo in () if first is None else chain([first], photos):
                _write(photo, add, tally, kind.folder)
    except ImportError as error:
        raise CommandError(str(error)) from error
    if getattr(args, "interface", None):
        _write_interface(Path(args.interface))
    for line in problems:
        say(line)
    tally.problems += len(problems)
    say(f"{tally.summary()}; written {'' if target is None else 'to '}{where}")
    return tally.status()


def source_photos(args: argparse.Namespace, problems: list[str]) -> Iterator[Photo]:
    """The photos of the source, with the faces that are wanted; ``problems`` has what was left out, at the end.

    Raises `CommandError` where the source cannot be read.
    """
    from cascade.datasets import DatasetError
    from cascade.datasets.formats import format_of_file, iterate_photos

    source = args.paths[0]
    try:
        if args.source_kind == INDEX or (args.source_kind is None and is_index(source)):
            found = _indexed_photos(args)
        else:
            found = iterate_photos(args.source_kind or format_of_file(source), source, args.images, problems=problems)
        for photo in found:
            yield photo if args.min_score is None else _of_score(photo, args.min_score)
    except (DatasetError, ImportError) as error:
        raise CommandError(str(error)) from error


def _indexed_photos(args: argparse.Namespace) -> Iterator[Photo]:
    """The photos of an index. Raises `CommandError`."""
    index = open_index(args.paths[0])
    from cascade.archive import ArchiveError
    from cascade.archive.export import photos_of_index
    from cascade.datasets.formats import FORMATS as KINDS

    opened = KINDS[args.kind].opens and getattr(args, "bring", None) != "none"
    try:
        yield from photos_of_index(index, args.images, opened=opened)
    except ArchiveError as error:
        raise CommandError(str(error)) from error


def _of_score(photo: Photo, least: float) -> Photo:
    """The photo with the faces of that score or more, and those that have none."""
    scores = photo.attributes.get("score")
    if scores is None:
        return photo
    kept = ~(scores < least)  # NaN stays
    return replace(
        photo,
        boxes=photo.boxes[kept],
        ignored=photo.ignored[kept],
        landmarks=photo.landmarks[kept],
        attributes={name: values[kept] for name, values in photo.attributes.items()},
        ellipses=None if photo.ellipses is None else photo.ellipses[kept],
    )


def _write(photo: Photo, add: Callable[[Photo], None], tally: Tally, one_by_one: bool) -> None:
    """Adds a photo. One that cannot be written is reported, and the others go on."""
    tally.photos += 1
    try:
        add(photo)
        tally.add(len(photo))
    except OSError as error:
        if not one_by_one:
            raise  # of one file for all, nothing is left
        tally.problems += 1
        say(f"{photo.name}: cannot write: {error.strerror or error}")
    except ValueError as error:
        tally.problems += 1
        text = str(error)
        say(text if text.startswith(photo.name) else f"{photo.name}: {text}")


def _check_target(target: Path, folder: bool, args: argparse.Namespace) -> None:
    """Refuses what is there already, unless it may be replaced, and what no file or folder can be."""
    part = getattr(args, "part", None) or "train"
    place = target / "labels" / part if args.kind.startswith("yolo") else target
    if folder and target.exists() and not target.is_dir():
        raise CommandError(f"--out {target}: this is a file, not a folder")
    if not folder and target.is_dir():
        raise CommandError(f"--out {target}: this is a folder, not a file")
    taken = any(place.iterdir()) if folder and place.is_dir() else place.exists()
    if taken and args.kind != "xmp" and not args.overwrite:  # sidecars are merged
        raise CommandError(f"--out {target}: there is something already; --overwrite replaces it")


def _make_folder(folder: Path, target: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--out {target}: cannot write there: {error.strerror or error}") from error


def _write_interface(file: Path) -> None:
    from cascade.datasets.label_studio import LABEL_STUDIO_CONFIG

    with writing(str(file)):
        file.write_text(LABEL_STUDIO_CONFIG, encoding="utf-8")
