"""What the commands that read an index share: the index, its people, and faces by name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.cli.console import SOME_FAILED, CommandError

if TYPE_CHECKING:
    from cascade.archive import Index
    from cascade.archive.people import PeopleOfIndex
    from cascade.operating_point import OperatingPoint

PERSON = re.compile(r"\d{1,18}")
FACE = re.compile(r"(?P<path>.+)#(?P<face>\d{1,6})")
"""A face by its photo and its number there."""


@contextmanager
def archive_errors(folder: str) -> Iterator[None]:
    """Raises what can be wrong with an index as a `CommandError`."""
    from cascade.archive import ArchiveError
    from cascade.archive.grouping import GroupingError

    try:
        yield
    except (ArchiveError, GroupingError, ImportError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"cannot write in {folder}: {error.strerror or error}", SOME_FAILED) from error


def is_index(path: str) -> bool:
    """Whether a path is the folder of an index."""
    from cascade.archive.manifest import MANIFEST

    return os.path.isfile(os.path.join(path, MANIFEST))


def open_index(folder: str) -> Index:
    """The index in a folder. Raises `CommandError`."""
    from cascade.archive import Index

    with archive_errors(folder):
        return Index.open(folder)


@contextmanager
def people_to_change(folder: str) -> Iterator[PeopleOfIndex]:
    """The people of an index while nobody else can change them. Raises `CommandError`."""
    from cascade import private_files
    from cascade.archive.people import STATE, PeopleOfIndex

    with archive_errors(folder), private_files.locked(Path(folder) / STATE):
        yield PeopleOfIndex.load(Path(folder))


def grouped_people(index: Index) -> PeopleOfIndex:
    """The people of an index. Raises `CommandError` if it was not grouped yet."""
    from cascade.archive.people import PeopleOfIndex

    with archive_errors(str(index.folder)):
        people = PeopleOfIndex.load(index.folder)
    if not people.face_ids:
        raise CommandError(f"{index.folder}: there are no people yet; cascade cluster finds them")
    return people


def operating_point(index: Index) -> OperatingPoint | None:
    """The operating point of the recogniser of an index; None if it does not come with the package, or states none."""
    from cascade.models.recognizer import load_recognizer, shipped_recognizers
    from cascade.operating_point import operating_point_of

    for name in shipped_recognizers():
        weights = load_recognizer(name)
        if index.manifest.recognizer.sha256 in (weights.sha256, *weights.earlier_sha256):
            return operating_point_of(weights.metadata, weights.path)
    return None


def faces_of(word: str, index: Index, people: PeopleOfIndex) -> list[str]:
    """The ids of the faces that a word names: a person's number, or PATH#N. Raises `CommandError`."""
    if PERSON.fullmatch(word):
        with archive_errors(str(index.folder)):
            return [people.face_ids[row] for row in people.members(int(word)).tolist()]
    named = FACE.fullmatch(word)
    if named is None:
        raise CommandError(f"{word!r}: expected the number of a person, or PATH#N for face N of a photo")
    from cascade.archive.locations import absolute
    from cascade.archive.schema import path_of

    wanted, number = os.fsdecode(absolute(os.fsencode(named["path"]))), int(named["face"])
    with archive_errors(str(index.folder)):
        table = index.faces(["face_id", "path", "raw_path", "face"])
    for face in table.to_pylist():
        if face["face"] == number and path_of(face["path"], face["raw_path"]) == wanted:
            return [face["face_id"]]
    raise CommandError(f"{word}: there is no such face in {index.folder}")


def people_in_words(count: int) -> str:
    """A number of people."""
    return "1 person" if count == 1 else f"{count:,} people"


def block_progress(blocks: Sequence[int]) -> Iterable[int]:
    """A bar over the blocks of a comparison of all with all, on a terminal."""
    from tqdm import tqdm

    bar: Iterable[int] = tqdm(blocks, desc="comparing", unit="block", disable=None, file=sys.stderr, leave=False)
    return bar
