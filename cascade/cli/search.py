"""``cascade search``: the faces of an index that are most similar to those of photos."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from cascade.cli.archives import archive_errors, open_index
from cascade.cli.batch import Tally, go_through, photos_of, progress_of
from cascade.cli.console import CommandError, say, writing
from cascade.cli.recognition import (
    NOT_PROOF,
    add_largest,
    add_options,
    add_search,
    check_search,
    checked_threshold,
    make_recognizer,
    new_parser,
)
from cascade.interrupts import interrupts_wait

if TYPE_CHECKING:
    from cascade.archive import Index
    from cascade.archive.search import Hit

DESCRIPTION = f"""\
Finds the faces of an index (`cascade index`) that are most similar to each face of a PHOTO. It prints a line for each,
best first: similarity, photo and number of the face there, and the person if `cascade cluster` has found one.

{NOT_PROOF}"""

EPILOG = """\
exit status:
  0  everything went well           2  wrong options, no index, or an index of another network; nothing was done
  1  some photos had problems     130  stopped with Ctrl-C

examples:
  cascade search faces.index photo.jpg
  cascade search faces.index party --top 3 --json
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "search", "find the faces of photos in an index", DESCRIPTION, EPILOG)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("index", metavar="INDEX", help="the folder of the index")
    add_search(parser, 10, "index")
    add_largest(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object per photo")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Searches for each face of each photo. Raises `CommandError`."""
    check_search(args)
    found = photos_of(args.paths)
    index = open_index(args.index)
    recognizer = make_recognizer(args)
    threshold = checked_threshold(args, recognizer)
    from cascade.archive.search import FaceSearch
    from cascade.gallery import Gallery, GalleryError

    try:
        Gallery(index.manifest.model).check_model(recognizer)
    except GalleryError as error:
        raise CommandError(f"{args.index}: {str(error).replace('gallery', 'index')}") from error
    with archive_errors(args.index):
        faces_of_index = FaceSearch(index)
        people = _people(index)

    def search(photo: str, tally: Tally) -> None:
        from cascade.imaging.reading import read_image
        from cascade.recognize import only_face

        image = read_image(photo)
        faces = recognizer.detector.detect(image)
        if args.largest and len(faces):
            faces = only_face(faces, photo, True)
        hits = faces_of_index.search(recognizer.embed(image, faces), args.top, threshold)
        boxes = [[round(float(edge), 1) for edge in box] for box in faces.boxes]
        with interrupts_wait(), writing("to standard output"):
            print(_as_json(photo, boxes, hits, people) if args.json else _in_words(photo, hits, people))
        tally.add(len(faces))

    tally = go_through(found.photos, search, progress_of(len(found.photos), True), len(found.problems), found.left_out)
    say(f"{tally.summary()}; {len(faces_of_index):,} faces in {args.index}; threshold {threshold:.4f}")
    return tally.status()


def _people(index: Index) -> dict[str, tuple[int, str | None]]:
    """The person and perhaps the name by the ids of faces; empty for an index that was not grouped."""
    from cascade.archive.people import NO_PERSON, PeopleOfIndex

    people = PeopleOfIndex.load(index.folder)
    numbers = zip(people.face_ids, people.persons.tolist(), strict=True)
    return {face: (number, people.names.get(number)) for face, number in numbers if number != NO_PERSON}


def _as_json(
    photo: str, boxes: list[list[float]], hits: list[list[Hit]], people: dict[str, tuple[int, str | None]]
) -> str:
    faces = [
        {
            "box": box,
            "matches": [
                {
                    "path": hit.path,
                    "face": hit.face,
                    "similarity": round(hit.similarity, 4),
                    "box": [round(edge, 1) for edge in hit.box],
                    "person": people.get(hit.face_id, (None, None))[0],
                    "name": people.get(hit.face_id, (None, None))[1],
                }
                for hit in of_face
            ],
        }
        for box, of_face in zip(boxes, hits, strict=True)
    ]
    return json.dumps({"path": photo, "faces": faces})


def _in_words(photo: str, hits: list[list[Hit]], people: dict[str, tuple[int, str | None]]) -> str:
    """A line for each face that was found, or one that there is none."""
    if not hits:
        return f"{photo}: no face"
    lines = []
    for number, of_face in enumerate(hits, start=1):
        if not of_face:
            lines.append(f"{photo}#{number}: nobody similar")
        for hit in of_face:
            person, name = people.get(hit.face_id, (None, None))
            who = "" if person is None else f": person {person}" + (f", {name}" if name else "")
            lines.append(f"{photo}#{number}: {hit.similarity:.3f} {hit.path}#{hit.face}{who}")
    return "\n".join(lines)
