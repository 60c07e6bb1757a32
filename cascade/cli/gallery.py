"""``cascade gallery``: embeddings of people in a file, and which of the people are in photos."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import Tally, go_through, photos_of, wants_bar
from cascade.cli.console import CommandError, say, writable_folder, writing
from cascade.cli.photos import find_photos, name_results
from cascade.cli.recognition import (
    NOT_PROOF,
    add_largest,
    add_options,
    checked_threshold,
    make_recognizer,
    new_parser,
)
from cascade.cli.results import interrupts_wait, save_jpeg

if TYPE_CHECKING:
    import numpy as np

    from cascade.faces import Face, Faces
    from cascade.gallery import Gallery, Match
    from cascade.recognize import Recognizer

DESCRIPTION = f"""\
Stores embeddings of people's faces in one file, and finds these people in photos.

{NOT_PROOF}"""

EPILOG = """\
A gallery holds embeddings of one network, and no photos. Embeddings are personal data all the same: who has the file
can look for these people. Every change writes a new file, which replaces the old one once it is complete.

exit status:
  0  everything went well           2  wrong options, no such person or gallery; nothing was done
  1  some photos had problems     130  stopped with Ctrl-C; the gallery stays as it was

examples:
  cascade gallery add crew.gallery "Eileen Collins" portrait.jpg training.jpg
  cascade gallery add crew.gallery --folder people      people/Eileen Collins/*.jpg, people/…
  cascade gallery list crew.gallery
  cascade gallery identify crew.gallery party.jpg --draw found
  cascade gallery remove crew.gallery "Eileen Collins"
"""

ADDING = """\
Adds a person with the face in each PHOTO, which must show one face. With --folder it adds many people: each subfolder
of DIR has the photos of the person of that name. A gallery that does not exist is created.
"""

IDENTIFYING = f"""\
Finds people of the gallery in photos. It prints one line per face, with the most similar people that reach the
threshold, best first, or "unknown".

{NOT_PROOF}"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(
        commands, "gallery", "store embeddings of people and find these people in photos", DESCRIPTION, EPILOG
    )
    parser.set_defaults(run=_print_help, parser=parser)
    actions = parser.add_subparsers(title="what to do", metavar="ACTION")
    _add_adding(actions)
    for name, summary, words, work in (
        ("list", "list the people and how many embeddings each has", None, run_list),
        ("remove", "remove people", "NAME", run_remove),
    ):
        action = new_parser(actions, name, summary, f"{summary[0].upper()}{summary[1:]}.", "")
        action.set_defaults(run=work, parser=action)
        action.add_argument("gallery", metavar="GALLERY", help="the file")
        if words:
            action.add_argument("paths", nargs="*", metavar=words, help="a person's name")
    _add_identifying(actions)


def _add_adding(actions: Any) -> None:
    parser = new_parser(actions, "add", "add people", ADDING, "")
    parser.set_defaults(run=run_add, parser=parser)
    parser.add_argument("gallery", metavar="GALLERY", help="the file")
    parser.add_argument("paths", nargs="*", metavar="NAME PHOTO", help="a person's name, and photos or folders of them")
    parser.add_argument("--folder", metavar="DIR", help="a folder with a subfolder for each person")
    parser.add_argument(
        "--extend", action="store_true", help="add to people who are already in the gallery"
    )
    add_largest(parser)
    add_options(parser)


def _add_identifying(actions: Any) -> None:
    parser = new_parser(actions, "identify", "find people in photos", IDENTIFYING, "")
    parser.set_defaults(run=run_identify, parser=parser)
    parser.add_argument("gallery", metavar="GALLERY", help="the file")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a photo, or a folder with photos")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="most people to print for a face (default: 5)")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="least similarity of a match, -1 to 1 (default: the one measured for pairs of photos; "
        "raise it for a large gallery)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object per photo, as cascade detect does"
    )
    parser.add_argument("--draw", metavar="DIR", help="folder for copies of the photos with names on them")
    add_options(parser)


def _print_help(args: argparse.Namespace) -> int:
    args.parser.print_help()
    return 0


# --------------------------------------------------------------------------------------------------
# list, remove


def run_list(args: argparse.Namespace) -> int:
    """Prints the people, one per line."""
    gallery = _load(args.gallery)
    for name, count in gallery.counts.items():
        print(f"{name}\t{count}")
    people = "nobody" if not len(gallery) else "1 person" if len(gallery) == 1 else f"{len(gallery):,} people"
    say(f"{people}; embeddings of {gallery.model.name} ({gallery.model.sha256[:12]})")
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Removes all people that are named, or none."""
    from cascade.gallery import GalleryError

    if not args.paths:
        args.parser.error("name a person")
    gallery = _load(args.gallery)
    try:
        for name in args.paths:
            gallery.remove(name)
    except GalleryError as error:
        raise CommandError(f"{args.gallery}: {str(error).removeprefix('name: ')}") from error
    _save(gallery, args.gallery)
    say(f"removed {', '.join(args.paths)}; {len(gallery):,} left")
    return 0


# --------------------------------------------------------------------------------------------------
# add


@dataclass
class People:
    """People to add, and their photos."""

    of_photo: dict[str, str] = field(default_factory=dict)
    """The name of the person in each photo."""
    problems: list[str] = field(default_factory=list)


def run_add(args: argparse.Namespace) -> int:
    """Adds people and writes the gallery if there is a usable photo of any of them."""
    if (args.folder is None) == (len(args.paths) < 2) or (args.folder is not None and args.paths):
        args.parser.error("give a name and photos of that person, or --folder DIR with a subfolder for each")
    path = Path(args.gallery)
    _check_writable(path)
    recognizer = make_recognizer(args)
    gallery = _load_or_create(path, recognizer)
    people = _one_person(args, gallery) if args.folder is None else _people_below(args, gallery)
    for line in people.problems:
        say(line)
    rows: dict[str, list[np.ndarray]] = {}
    photos = list(people.of_photo)

    def embed(photo: str, tally: Tally) -> None:
        embedding = _embed_one(photo, recognizer, args.largest)
        rows.setdefault(people.of_photo[photo], []).append(embedding)
        tally.add(1)

    tally = go_through(photos, embed, wants_bar(len(photos), False), len(people.problems))
    if not tally.stopped:
        for name in dict.fromkeys(people.of_photo.values()):
            if name not in rows:
                say(f"{name}: not added, since there is no usable photo")
        for name, embeddings in rows.items():
            gallery.add(name, embeddings, extend=True)
        if rows:
            _save(gallery, args.gallery)
    added = 0 if tally.stopped else len(rows)
    say(f"{tally.summary()}; {added:,} added or extended, {args.gallery} holds {len(gallery):,}")
    return tally.status()


def _one_person(args: argparse.Namespace, gallery: Gallery) -> People:
    name, *paths = args.paths
    problem = _refused(name, gallery, args.extend)
    if problem:
        raise CommandError(problem)
    found = find_photos(paths)
    if not found.photos:
        raise CommandError("; ".join(found.problems + found.notes))
    for note in found.notes:
        say(note)
    return People(dict.fromkeys(found.photos, name), found.problems)


def _people_below(args: argparse.Namespace, gallery: Gallery) -> People:
    folder: str = args.folder
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise CommandError(f"--folder {folder}: {error.strerror or error}") from error
    people = People()
    for entry in entries:
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        problem = _refused(entry.name, gallery, args.extend)
        found = find_photos([entry.path])
        people.problems += [problem] if problem else found.problems + found.notes
        if not problem:
            people.of_photo |= dict.fromkeys(found.photos, entry.name)
    if not people.of_photo and not people.problems:
        raise CommandError(f"--folder {folder}: expected a subfolder for each person, found none")
    return people


def _refused(name: str, gallery: Gallery, extend: bool) -> str | None:
    """Why the gallery cannot take a person of that name, None if it can."""
    from cascade.gallery import GalleryError, checked_name

    try:
        checked_name(name)
    except GalleryError as error:
        return str(error)
    if name in gallery and not extend:
        return f"{name}: is in the gallery already; --extend adds to the same person"
    return None


def _embed_one(photo: str, recognizer: Recognizer, largest: bool) -> np.ndarray:
    """The embedding (D,) of the one face of a photo, or of the largest. Raises `FaceCountError`."""
    from cascade.imaging.reading import read_image
    from cascade.recognize import only_face

    image = read_image(photo)
    embedding: np.ndarray = recognizer.embed(image, only_face(recognizer.detector.detect(image), photo, largest))[0]
    return embedding


# --------------------------------------------------------------------------------------------------
# identify


def run_identify(args: argparse.Namespace) -> int:
    """Prints who is in each photo, and draws names on copies of the photos if asked to."""
    if not args.paths:
        args.parser.error("name a photo or a folder")
    if args.top < 1:
        raise CommandError(f"--top: expected at least 1, got {args.top}")
    found = photos_of(args.paths, args.draw)
    recognizer = make_recognizer(args)
    threshold = checked_threshold(args, recognizer)
    gallery = _load(args.gallery, recognizer)
    pictures = {}
    if args.draw is not None:
        pictures = name_results(found.photos, found.base, _draw_folder(args.draw))

    def identify(photo: str, tally: Tally) -> None:
        from cascade.imaging.reading import read_image

        image = read_image(photo)
        faces = recognizer.detector.detect(image)
        matches = gallery.identify(recognizer.embed(image, faces), args.top, threshold)
        with interrupts_wait(), writing("to standard output"):
            print(_record(photo, image.shape, faces, matches) if args.json else _in_words(photo, faces, matches))
        if photo in pictures:
            from cascade.cli.names import draw_names

            names = [likely[0].name if likely else None for likely in matches]
            start = pictures[photo]
            save_jpeg(start.with_name(f"{start.name}_faces.jpg"), draw_names(image, faces, names))
        tally.add(len(faces))

    tally = go_through(found.photos, identify, wants_bar(len(found.photos), True), len(found.problems))
    say(f"{tally.summary()}; threshold {threshold:.4f}" + (f"; pictures in {args.draw}" if pictures else ""))
    return tally.status()


def _record(photo: str, shape: tuple[int, ...], faces: Faces, matches: list[list[Match]]) -> str:
    dicts = faces.to_dicts()
    for face, likely in zip(dicts, matches, strict=True):
        face["matches"] = [{"name": name, "similarity": round(similarity, 4)} for name, similarity in likely]
    return json.dumps({"path": photo, "width": shape[1], "height": shape[0], "faces": dicts})


def _in_words(photo: str, faces: Faces, matches: list[list[Match]]) -> str:
    """A line for each face, or one line if there is no face."""
    if not len(faces):
        return f"{photo}: no face"
    lines = []
    for number, (face, likely) in enumerate(zip(faces, matches, strict=True), start=1):
        who = ", ".join(f"{name} ({similarity:.2f})" for name, similarity in likely) or "unknown"
        lines.append(f"{photo}: face {number} at {_place(face)}: {who}")
    return "\n".join(lines)


def _place(face: Face) -> str:
    x1, y1, x2, y2 = face.box
    return f"({(x1 + x2) / 2:.0f}, {(y1 + y2) / 2:.0f})"


def _draw_folder(name: str) -> Path:
    try:
        return writable_folder(name)
    except CommandError as error:
        raise CommandError(str(error).replace("--out", "--draw", 1)) from error


# --------------------------------------------------------------------------------------------------
# The file


def _load(path: str, recognizer: Recognizer | None = None) -> Gallery:
    from cascade.gallery import Gallery, GalleryError

    if not os.path.exists(path):
        raise CommandError(f"{path or repr(path)}: there is no such gallery; cascade gallery add creates one")
    try:
        return Gallery.load(path, recognizer)
    except GalleryError as error:
        raise CommandError(str(error)) from error


def _load_or_create(path: Path, recognizer: Recognizer) -> Gallery:
    from cascade.gallery import Gallery

    return _load(str(path), recognizer) if path.exists() else Gallery(recognizer)


def _save(gallery: Gallery, path: str) -> None:
    from cascade.gallery import GalleryError

    try:
        with interrupts_wait():
            gallery.save(path)
    except GalleryError as error:
        raise CommandError(str(error)) from error


def _check_writable(path: Path) -> None:
    """Checks before the work that a gallery can be written. Raises `CommandError`."""
    if path.is_dir():
        raise CommandError(f"{path}: this is a folder, not a gallery")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise CommandError(f"{path}: cannot write there: {error.strerror or error}") from error
