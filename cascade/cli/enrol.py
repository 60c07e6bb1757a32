"""``cascade gallery add``: embeds photos of people, and adds them to a gallery that others may change meanwhile."""

from __future__ import annotations

import argparse
import os
import tempfile
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import Tally, go_through, progress_of
from cascade.cli.console import CommandError, counted, say
from cascade.cli.detect import add_rotations
from cascade.cli.keys import Secret, add_creation_options, secret_to_change
from cascade.cli.people import add_record_options, expiry_of
from cascade.cli.photos import find_photos
from cascade.cli.recognition import add_largest, add_options, load_or_create, make_recognizer, new_parser

if TYPE_CHECKING:
    import numpy as np

    from cascade.gallery import Gallery
    from cascade.recognize import Recognizer

ADDING = """\
Adds a person with the face in each PHOTO, which must show one face. With --folder it adds many people: each subfolder
of DIR has the photos of the person of that name. A gallery that does not exist is created, with --encrypt an encrypted
one: its passphrase is asked for twice, or --key-file has a key of `cascade gallery new-key`.

Faces that are too small to tell from others are refused, and so are blurred ones, profiles, badly lit ones, those on
their side or upside down (--rotations finds them as they are), and a person whose photos show several people.
"""


def add_parser(actions: Any) -> None:
    """Adds the action to the subparsers of ``cascade gallery``."""
    parser = new_parser(actions, "add", "add people", ADDING, "")
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("gallery", metavar="GALLERY", help="the file")
    parser.add_argument("paths", nargs="*", metavar="NAME PHOTO", help="a person's name, and photos or folders of them")
    parser.add_argument("--folder", metavar="DIR", help="a folder with a subfolder for each person")
    parser.add_argument("--extend", action="store_true", help="add to people who are already in the gallery")
    add_largest(parser)
    parser.add_argument("--allow-small", action="store_true", help="take small faces, which are often mistaken")
    parser.add_argument(
        "--allow-poor", action="store_true", help="take faces that are blurred, profiles, badly lit or rotated"
    )
    parser.add_argument(
        "--allow-unlike", action="store_true", help="take all faces of a person, though some are unlike the others"
    )
    add_record_options(parser)
    add_creation_options(parser)
    add_rotations(parser)
    add_options(parser)


@dataclass
class People:
    """People to add, and their photos."""

    of_photo: dict[str, str] = field(default_factory=dict)
    """The name of the person in each photo."""
    problems: list[str] = field(default_factory=list)
    known: frozenset[str] = frozenset()
    """Names that were in the gallery when the photos were looked for."""
    embeddings: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """Of each person, by photo."""


@dataclass(frozen=True)
class Target:
    """The gallery to which people are added, and until when they are matched."""

    path: Path
    recognizer: Recognizer
    secret: Secret
    expires: date | None


def run(args: argparse.Namespace) -> int:
    """Adds people and writes the gallery if there is a usable photo of any of them."""
    if (args.folder is None) == (len(args.paths) < 2) or (args.folder is not None and args.paths):
        args.parser.error("give a name and photos of that person, or --folder DIR with a subfolder for each")
    path = Path(args.gallery)
    expires = expiry_of(args)
    _check_writable(path)
    secret = secret_to_change(path, args.key_file, args.encrypt)
    recognizer = make_recognizer(args)
    gallery = load_or_create(path, recognizer, secret)
    people = _one_person(args, gallery) if args.folder is None else _people_below(args, gallery)
    people.known = frozenset(gallery.names)
    for line in people.problems:
        say(line)
    tally = _embed(people, recognizer, args)
    target = Target(path, recognizer, secret, expires)
    added, held = (0, len(gallery)) if tally.stopped else _add(people, target, args, tally)
    say(f"{tally.summary()}; {added:,} added or extended, {args.gallery} holds {held:,}")
    return tally.status()


def _embed(people: People, recognizer: Recognizer, args: argparse.Namespace) -> Tally:
    """Embeds the face of each photo. The gallery is not touched meanwhile, since this may take long."""

    def embed(photo: str, tally: Tally) -> None:
        embedding = recognizer.enrol(photo, args.largest, allow_small=args.allow_small, allow_poor=args.allow_poor)
        people.embeddings.setdefault(people.of_photo[photo], {})[photo] = embedding
        tally.add(1)

    photos = list(people.of_photo)
    tally = go_through(photos, embed, progress_of(len(photos), False), len(people.problems))
    if not tally.stopped:
        for name in dict.fromkeys(people.of_photo.values()):
            if name not in people.embeddings:
                say(f"{name}: not added, since there is no usable photo")
    return tally


def _add(people: People, target: Target, args: argparse.Namespace, tally: Tally) -> tuple[int, int]:
    """Adds the people to the gallery as it is now: how many were added, and how many it holds."""
    from cascade.gallery import Gallery, GalleryError

    recognizer, secret = target.recognizer, target.secret
    if not people.embeddings:
        return 0, len(load_or_create(target.path, recognizer, secret))
    added, refused = 0, []
    try:
        with Gallery.changing(
            target.path, recognizer, create=True, passphrase=secret.passphrase, key=secret.key
        ) as gallery:
            for name, rows in people.embeddings.items():
                problem = _changed_meanwhile(name, gallery, people, args) or _mixed(
                    name, rows, gallery, recognizer, args
                )
                if problem:
                    refused.append(problem)
                    continue
                gallery.add(name, list(rows.values()), extend=args.extend, note=args.note, expires=target.expires)
                added += 1
            if not added:
                raise _Unchanged
    except _Unchanged:
        pass
    except (GalleryError, ImportError) as error:
        raise CommandError(str(error)) from error
    for problem in refused:
        say(problem)
    tally.problems += len(refused)
    return added, len(gallery)


class _Unchanged(Exception):
    """Leaves a gallery as it is."""


def _changed_meanwhile(name: str, gallery: Gallery, people: People, args: argparse.Namespace) -> str | None:
    """What another program did to this person while the photos were embedded, if that matters."""
    known = unicodedata.normalize("NFC", name) in people.known
    if known and name not in gallery:
        return f"{name}: not added, since somebody has removed this person meanwhile"
    if name in gallery and not known and not args.extend:
        return f"{name}: not added, since somebody has added this person meanwhile; --extend adds to the same person"
    return None


def _mixed(
    name: str, rows: dict[str, np.ndarray], gallery: Gallery, recognizer: Recognizer, args: argparse.Namespace
) -> str | None:
    """Why these faces, with those in the gallery, do not belong to one person; None if they do."""
    import numpy as np

    from cascade.gallery import unlike

    point = recognizer.operating_point
    if args.allow_unlike or point is None:
        return None
    new = np.stack(list(rows.values()))
    stored = gallery.embeddings(name) if name in gallery else new[:0]
    odd = unlike(np.concatenate([stored, new]), point.threshold)[len(stored) :]
    if not odd.any():
        return None
    photos = [photo for photo, is_odd in zip(rows, odd, strict=True) if is_odd]
    few = ", ".join(photos[:3]) + (", …" if len(photos) > 3 else "")
    return (
        f"{name}: not added, since {len(photos):,} of {counted(len(rows), 'face')} are unlike the others, as other "
        f"people's are: {few}; take them out, or --allow-unlike adds all"
    )


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


def _check_writable(path: Path) -> None:
    """Checks before the work that a gallery can be written. Raises `CommandError`."""
    if path.is_dir():
        raise CommandError(f"{path}: this is a folder, not a gallery")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise CommandError(f"{path}: cannot write there: {error.strerror or error}") from error
