"""``cascade people``: the people of an index: who they are, what users say of them, and into a gallery with them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.archives import archive_errors, faces_of, grouped_people, open_index, people_in_words, people_to_change
from cascade.cli.console import SOME_FAILED, CommandError, say, writing
from cascade.cli.keys import add_creation_options, secret_to_change
from cascade.cli.people import add_record_options, expiry_of
from cascade.cli.recognition import NOT_PROOF, new_parser
from cascade.csv_text import csv_line, text_cell

if TYPE_CHECKING:
    import numpy as np

    from cascade.archive import Index
    from cascade.archive.decisions import Decisions
    from cascade.archive.people import PeopleOfIndex

DESCRIPTION = f"""\
Shows the people that `cascade cluster` found in an index, gives them names, and takes corrections. What you say of
faces is kept, and holds in every later run of `cascade cluster`.

{NOT_PROOF}"""

EPILOG = """\
A WHO is the number of a person, or a face by its photo and its number there, such as photos/1.jpg#2.

examples:
  cascade people list faces.index
  cascade people sheet faces.index --out people.html
  cascade people name faces.index 3 "Sally Ride"
  cascade people same faces.index 3 12                  these two are one person
  cascade people different faces.index 3 photos/1.jpg#2  that face is somebody else's
  cascade people gallery faces.index crew.gallery       people with a name, for cascade gallery identify
"""

MOST_EMBEDDINGS = 20
"""Faces of a person that go into a gallery."""

COLUMNS = ("person", "name", "rank", "path", "face", "x1", "y1", "x2", "y2", "face_id")


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "people", "the people of an index: names, corrections, a page", DESCRIPTION, EPILOG)
    parser.set_defaults(run=_print_help, parser=parser)
    actions = parser.add_subparsers(title="what to do", metavar="ACTION")
    listing = _action(actions, "list", "list the people, most faces first", run_list)
    listing.add_argument("--csv", metavar="FILE", help="write all their faces to this file, which must not exist yet")
    naming = _action(actions, "name", "give a person a name", run_name)
    naming.add_argument("person", type=int, metavar="PERSON", help="the number of a person")
    naming.add_argument("name", nargs="?", metavar="NAME", help="without it, the person has none")
    for name, summary, work in (
        ("same", "say that two are the same person", run_same),
        ("different", "say that two are different people", run_different),
    ):
        saying = _action(actions, name, summary, work)
        saying.add_argument("one", metavar="WHO", help="the number of a person, or PATH#N")
        saying.add_argument("other", metavar="WHO", help="the same")
    sheet = _action(actions, "sheet", "write a page with pictures of the people", run_sheet)
    sheet.add_argument("--out", metavar="FILE.html", required=True, help="the page; an earlier one is replaced")
    sheet.add_argument("--most", type=int, default=200, metavar="N", help="most people to show (default: 200)")
    gallery = _action(actions, "gallery", "add the people with a name to a gallery", run_gallery)
    gallery.add_argument("gallery", metavar="GALLERY", help="the file; created if it does not exist")
    gallery.add_argument("--extend", action="store_true", help="add to people who are already in the gallery")
    add_record_options(gallery)
    add_creation_options(gallery)


def _action(
    actions: Any, name: str, summary: str, work: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    action = new_parser(actions, name, summary, f"{summary[0].upper()}{summary[1:]}.", "")
    action.set_defaults(run=work, parser=action)
    action.add_argument("index", metavar="INDEX", help="the folder of the index")
    return action


def _print_help(args: argparse.Namespace) -> int:
    args.parser.print_help()
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Prints the people, one per line: number, faces, name."""
    index = open_index(args.index)
    people = grouped_people(index)
    counts = people.counts()
    if args.csv is not None:
        _write_csv(args.csv, index, people)
    with writing("to standard output"):
        for person, count in counts.items():
            print(f"{person}\t{count}\t{people.names.get(person, '')}".rstrip("\t"))
    said = len(people.decisions)
    say(f"{people_in_words(len(counts))}, {len(people.names):,} with a name; {said:,} corrections")
    return 0


def run_name(args: argparse.Namespace) -> int:
    """Gives a person a name, or takes it."""
    from cascade.gallery import GalleryError, checked_name

    try:
        name = None if args.name is None else checked_name(args.name)
    except GalleryError as error:
        raise CommandError(str(error)) from error
    open_index(args.index)
    with people_to_change(args.index) as people:
        people.named(args.person, name).save(Path(args.index))
    say(f"person {args.person} has no name" if name is None else f"person {args.person} is {name}")
    return 0


def run_same(args: argparse.Namespace) -> int:
    """Keeps the word that two are the same person."""
    return _decide(args, lambda decisions, one, other: decisions.with_same(one, other), "the same person")


def run_different(args: argparse.Namespace) -> int:
    """Keeps the word that two are different people."""
    return _decide(args, lambda decisions, one, other: decisions.with_different(one, other), "different people")


def _decide(
    args: argparse.Namespace, change: Callable[[Decisions, Sequence[str], Sequence[str]], Decisions], what: str
) -> int:
    from dataclasses import replace

    index = open_index(args.index)
    with people_to_change(args.index) as people:
        one, other = (faces_of(word, index, people) for word in (args.one, args.other))
        one, other = _apart(one, other)
        replace(people, decisions=change(people.decisions, one, other)).save(Path(args.index))
    say(f"{args.one} and {args.other}: {what}; run cascade cluster {args.index} to have it so")
    return 0


def _apart(one: list[str], other: list[str]) -> tuple[list[str], list[str]]:
    """The two without a common face: of a person and one of the person's faces, the others of the person and that one.

    Raises `CommandError` if they are the same.
    """
    if set(one) == set(other):
        raise CommandError("expected two people, or a person and a face, got the same twice")
    return [face for face in one if len(one) == 1 or face not in other], [
        face for face in other if len(other) == 1 or face not in one
    ]


def run_sheet(args: argparse.Namespace) -> int:
    """Writes the page."""
    from cascade.archive.contact_sheet import is_contact_sheet, write_contact_sheet

    if args.most < 1:
        raise CommandError(f"--most: expected at least 1, got {args.most}")
    index = open_index(args.index)
    people = grouped_people(index)
    _check_current(index, people)
    if os.path.lexists(args.out) and not is_contact_sheet(args.out):
        raise CommandError(f"--out {args.out}: left as it is, since it is no page of cascade people")
    with archive_errors(args.index), writing(args.out):
        problems = write_contact_sheet(args.out, index, people, most=args.most, progress=_progress)
    for problem in problems:
        say(problem)
    found = len(people.counts())
    say(f"page in {args.out}; {min(args.most, found):,} of {people_in_words(found)}")
    return SOME_FAILED if problems else 0


def run_gallery(args: argparse.Namespace) -> int:
    """Adds the people with a name to a gallery, with their best faces."""
    from cascade.gallery import Gallery, GalleryError

    index = open_index(args.index)
    people = grouped_people(index)
    _check_current(index, people)
    if not people.names:
        raise CommandError(f"{args.index}: nobody has a name yet; cascade people name gives one")
    path, expires = Path(args.gallery), expiry_of(args)
    secret = secret_to_change(path, args.key_file, args.encrypt)
    embeddings = index.embeddings()
    added = 0
    try:
        with Gallery.changing(
            path, index.manifest.model, create=True, passphrase=secret.passphrase, key=secret.key
        ) as gallery:
            for person, name in sorted(people.names.items()):
                if name in gallery and not args.extend:
                    say(f"{name}: in the gallery already; --extend adds to the same person")
                    continue
                rows = _unit(embeddings[people.members(person)[:MOST_EMBEDDINGS]])
                gallery.add(name, rows, extend=args.extend, note=args.note, expires=expires)
                added += 1
            held = len(gallery)
    except (GalleryError, ImportError) as error:
        raise CommandError(str(error)) from error
    say(f"{added:,} added or extended, {args.gallery} holds {held:,}")
    return 0 if added == len(people.names) else SOME_FAILED


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1 in float32; in float16 their lengths were rounded."""
    import numpy as np

    wide = rows.astype(np.float32)
    scaled: np.ndarray = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return scaled


def _check_current(index: Index, people: PeopleOfIndex) -> None:
    """Raises `CommandError` if the index has changed since its people were found."""
    with archive_errors(str(index.folder)):
        ids = tuple(index.faces(["face_id"])["face_id"].to_pylist())
    if ids != people.face_ids:
        raise CommandError(f"{index.folder}: the index has changed since; run cascade cluster {index.folder} first")


def _progress(photos: Sequence[str]) -> Iterable[str]:
    from tqdm import tqdm

    bar: Iterable[str] = tqdm(photos, unit="photo", disable=None, file=sys.stderr, leave=False)
    return bar


def _write_csv(file: str, index: Index, people: PeopleOfIndex) -> None:
    """Writes a row for each face. Raises `CommandError` if there is such a file."""
    from cascade.cli.outputs import create
    from cascade.private_files import owner_only

    _check_current(index, people)
    if os.path.lexists(file):
        raise CommandError(f"--csv {file}: there is such a file already")
    with archive_errors(str(index.folder)):
        faces = index.faces(["path", "face", "box", "face_id"]).to_pylist()
    with writing(file), create(Path(file), encoding="utf-8", newline="", opener=owner_only) as stream:
        stream.write(csv_line(COLUMNS))
        for face, person, rank in zip(faces, people.persons.tolist(), people.ranks.tolist(), strict=True):
            known = (person, text_cell(people.names.get(person, "")), rank) if person > 0 else ("", "", "")
            box = [f"{edge:.1f}" for edge in face["box"]]
            stream.write(csv_line([*known, text_cell(face["path"]), face["face"], *box, face["face_id"]]))
