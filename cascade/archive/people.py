"""The people of an index: faces grouped by person, under numbers that stay from run to run.

What is found lies in the folder ``people`` of the index: ``people.parquet`` has a row for each face, and
``people.json`` the names and what users said. The index itself is not changed, and photos are not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.archive.decisions import Decisions
from cascade.archive.errors import ArchiveError, import_pyarrow
from cascade.archive.grouping import GroupingError, group_faces
from cascade.archive.index import Index
from cascade.archive.neighbours import IndexArray, Progress
from cascade.face_model import five_point_yaw
from cascade.operating_point import OperatingPoint
from cascade.private_files import replacing

__all__ = [
    "JOIN_SHARE",
    "NO_PERSON",
    "PeopleOfIndex",
    "carried_names",
    "group_index",
    "join_threshold",
    "ranks",
    "stable_ids",
    "unclear_faces",
]

FORMAT = "cascade-people-1"
FOLDER, STATE, TABLE = "people", "people.json", "people.parquet"
LARGEST = 1 << 28  # bytes of people.json; a pair of faces has 70

NO_PERSON = -1
"""The person of a face that is like no other."""

JOIN_SHARE = 1.28
"""The similarity at which groups join, over the threshold of the recogniser. Chosen on photos that are in no
test set: `python -m eval clustering` on LFW's training part and on CelebA."""

LEAST_QUALITY = 0.1
"""Quality below which faces are alike whoever they are, see `cascade.quality.face_quality`. Of the faces in 500 photos
of LFW's training people 4 % are below."""

MAX_YAW = 30.0
"""Degrees from which a face counts as a profile by `cascade.face_model.five_point_yaw`, which has about 45 for a full
one. Of 100 photos of LFW's training people 95 are below."""

FloatArray = npt.NDArray[np.float32]


def join_threshold(point: OperatingPoint | None) -> float:
    """The similarity at which groups of faces join, for a recogniser. Raises ValueError if it states none."""
    if point is None:
        raise ValueError("threshold: expected a number, as the recogniser has no measured threshold")
    return round(JOIN_SHARE * point.threshold, 4)


@dataclass(frozen=True, eq=False)
class PeopleOfIndex:
    """The people of an index: a row for each face, in the order of `Index.faces`.

    An index that was not grouped yet has no rows.
    """

    face_ids: tuple[str, ...] = ()
    persons: IndexArray = field(default_factory=lambda: np.empty(0, np.int64))
    """(N,) the person's number, from 1; `NO_PERSON` for a face that is like no other."""
    ranks: IndexArray = field(default_factory=lambda: np.empty(0, np.int64))
    """(N,) the face's place among those of the person, by quality: 1 is the best shot."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Names that users gave, by person."""
    decisions: Decisions = field(default_factory=Decisions)
    next_id: int = 1
    """The number of the next new person. No number is given twice."""

    def members(self, person: int) -> IndexArray:
        """The rows of a person's faces, the best first. Raises `ArchiveError` if there is no such person."""
        rows = np.flatnonzero(self.persons == person)
        if person == NO_PERSON or not len(rows):
            raise ArchiveError(f"person: there is no person {person}")
        return rows[np.argsort(self.ranks[rows], kind="stable")]

    def counts(self) -> dict[int, int]:
        """How many faces each person has, most first."""
        numbers, counts = np.unique(self.persons[self.persons != NO_PERSON], return_counts=True)
        order = np.lexsort((numbers, -counts))
        return dict(zip(numbers[order].tolist(), counts[order].tolist(), strict=True))

    def named(self, person: int, name: str | None) -> PeopleOfIndex:
        """With a name for a person, or without for None.

        Raises `ArchiveError` if there is no such person, or if another one has the name.
        """
        self.members(person)
        others = {number: each for number, each in self.names.items() if number != person}
        if name is not None and name in others.values():
            taken = next(number for number, each in others.items() if each == name)
            raise ArchiveError(f"name: person {taken} is called {name!r} already; `same` says that they are one person")
        return replace(self, names=others if name is None else {**others, person: name})

    def save(self, folder: Path) -> None:
        """Writes it into the folder of the index, for its owner alone. Raises OSError."""
        pa = import_pyarrow()
        place = folder / FOLDER
        place.mkdir(mode=0o700, exist_ok=True)
        table = pa.table(
            {
                "face_id": pa.array(self.face_ids, pa.string()),
                "person": pa.array(self.persons, pa.int32(), mask=self.persons == NO_PERSON),
                "rank": pa.array(self.ranks, pa.int32(), mask=self.persons == NO_PERSON),
                "name": pa.array([self.names.get(number) for number in self.persons.tolist()], pa.string()),
            }
        )
        with replacing(place / TABLE, always_private=True) as stream:
            pa.parquet.write_table(table, stream, compression="zstd")
        names = {str(number): name for number, name in self.names.items()}
        told = {"format": FORMAT, "next_id": self.next_id, "names": names, **self.decisions.to_dict()}
        with replacing(place / STATE, always_private=True) as stream:
            stream.write((json.dumps(told, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "surrogatepass"))

    @classmethod
    def load(cls, folder: Path) -> PeopleOfIndex:
        """What `save` wrote; no rows if nothing was saved. Raises `ArchiveError` for damaged files."""
        place = folder / FOLDER
        if not (place / STATE).exists():
            return cls()
        pa = import_pyarrow()
        try:
            with open(place / STATE, "rb") as stream:
                told = json.loads(stream.read(LARGEST))
            if told["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT!r}, got {str(told['format'])[:80]!r}")
            names = {int(number): str(name) for number, name in told["names"].items()}
            with open(place / TABLE, "rb") as stream:
                table = pa.parquet.read_table(stream, columns=["face_id", "person", "rank"])
            persons, ranks = (
                table[name].fill_null(NO_PERSON).to_numpy().astype(np.int64) for name in ("person", "rank")
            )
            ids = tuple(table["face_id"].to_pylist())
            # A run that was killed may have written the table, but not the names beside it.
            next_id = max(int(told["next_id"]), int(persons.max(initial=0)) + 1)
            return cls(ids, persons, ranks, names, Decisions.from_dict(told), next_id)
        except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError, pa.ArrowException) as error:
            raise ArchiveError(f"{place}: damaged or unreadable: {error}") from error


def group_index(
    index: Index,
    earlier: PeopleOfIndex,
    *,
    threshold: float,
    smallest: float = 0.0,
    least_quality: float = LEAST_QUALITY,
    again: bool = False,
    progress: Progress | None = None,
) -> PeopleOfIndex:
    """Group the faces of an index by person.

    Faces that are new since the ``earlier`` run join its people or make new ones; faces that users said are somebody
    else's are looked at anew; with ``again``, all are. A person is a group of two faces or more. A person keeps the
    number under which most of the faces were known, and a name goes along where its person joins one without.

    ``threshold``: the similarity at which groups join, see `cascade.archive.grouping`. Faces that are alike whoever
    they are join people, but make none: those below ``smallest`` pixels or the ``least_quality`` (of an index that has
    a quality), in profile, or cut off by the edge of the photo.

    Raises `ArchiveError`, and `GroupingError` where users' words contradict each other.
    """
    table = index.faces(["face_id", "photo_id", "size", "score", "quality"])
    ids = table["face_id"].to_pylist()
    row_of = {face: row for row, face in enumerate(ids)}
    known = np.full(len(ids), NO_PERSON, np.int64)
    compared = np.zeros(len(ids), bool)
    rows = np.array([row_of.get(face, -1) for face in earlier.face_ids], np.int64)
    known[rows[rows >= 0]], compared[rows[rows >= 0]] = earlier.persons[rows >= 0], True
    same, different = earlier.decisions.rows(row_of)
    start = _without(known, different)
    compared &= start == known
    try:
        groups = group_faces(
            index.embeddings(),
            table["photo_id"].combine_chunks().dictionary_encode().indices.to_numpy(),
            threshold=threshold,
            start=None if again else start,
            fresh=None if again else ~compared,
            followers=unclear_faces(index, smallest, least_quality),
            same=same,
            different=different,
            progress=progress,
        )
    except GroupingError as error:
        raise _named_contradiction(index, error) from error
    persons, next_id = stable_ids(groups, known, earlier.next_id)
    names = carried_names(earlier.names, known, persons)
    return PeopleOfIndex(tuple(ids), persons, ranks(persons, _qualities(table)), names, earlier.decisions, next_id)


def stable_ids(groups: npt.ArrayLike, known: npt.ArrayLike, next_id: int) -> tuple[IndexArray, int]:
    """The person (N,) of each face and the next new number, from new ``groups`` (N,) and the persons known before.

    Groups of one face are `NO_PERSON`. A group gets the number of the known person with which it has most faces in
    common, if no other group has more in common with that person; other groups get new numbers in their order.
    """
    labels, before = np.asarray(groups, np.int64), np.asarray(known, np.int64)
    counts = np.bincount(labels)
    number_of = np.full(len(counts), NO_PERSON, np.int64)
    both = (before != NO_PERSON) & (counts[labels] > 1)
    pairs, common = np.unique(np.stack([labels[both], before[both]]), axis=1, return_counts=True)
    taken: set[int] = set()
    for at in np.lexsort((pairs[1], pairs[0], -common)).tolist():
        group, person = pairs[:, at].tolist()
        if number_of[group] == NO_PERSON and person not in taken:
            number_of[group] = person
            taken.add(person)
    new = np.flatnonzero((number_of == NO_PERSON) & (counts > 1))
    number_of[new] = next_id + np.arange(len(new))
    return number_of[labels], next_id + len(new)


def carried_names(names: Mapping[int, str], known: IndexArray, persons: IndexArray) -> dict[int, str]:
    """The names of people by their numbers now, from the persons (N,) of faces before and now.

    Where a person has joined another one, the name goes along, unless that one has a name already.
    """
    there = set(persons.tolist())
    found = {number: name for number, name in names.items() if number in there}
    moved = {}
    for number in names.keys() - found.keys():
        now, counts = np.unique(persons[(known == number) & (persons != NO_PERSON)], return_counts=True)
        if len(now):
            moved[number] = int(now[counts.argmax()]), int(counts.max())
    for number, (person, _) in sorted(moved.items(), key=lambda each: (-each[1][1], each[0])):
        found.setdefault(person, names[number])
    return found


def ranks(persons: IndexArray, qualities: FloatArray) -> IndexArray:
    """The place (N,) of each face among those of its person, 1 for the best; equal ones by row."""
    order = np.lexsort((-qualities, persons))
    sizes = np.unique(persons[order], return_counts=True)[1]
    places = np.empty(len(persons), np.int64)
    places[order] = np.arange(len(persons)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    return places


def _named_contradiction(index: Index, error: GroupingError) -> GroupingError:
    """The error with the photos of the two faces, of which users know."""
    if error.faces is None:
        return error
    rows = index.faces(["path", "face"]).take(list(error.faces)).to_pylist()
    one, other = sorted(f"{row['path']}#{row['face']}" for row in rows)
    return GroupingError(
        f"{one} and {other} are said to be different people, and by other corrections the same one; "
        "cascade people same of these two settles it",
        error.faces,
    )


def _without(known: IndexArray, different: list[tuple[int, int]]) -> IndexArray:
    """The known persons without the faces that are said to be somebody else than the rest of theirs.

    Of a pair within one person, the face that is in more such pairs leaves; in one pair alone, the later one.
    """
    start = known.copy()
    inside = [(a, b) for a, b in different if known[a] == known[b] != NO_PERSON]
    times = np.bincount(np.array(inside, np.int64).ravel(), minlength=len(known))
    for a, b in inside:
        if start[a] == start[b] != NO_PERSON:
            start[a if (times[a], a) > (times[b], b) else b] = NO_PERSON
    return start


def unclear_faces(index: Index, smallest: float = 0.0, least_quality: float = LEAST_QUALITY) -> npt.NDArray[np.bool_]:
    """Which faces (N,) of an index are alike whoever they are, in the order of `Index.faces`: see `group_index`."""
    table = index.faces(["photo_id", "size", "quality", "landmarks"])
    photos = index.photos(["photo_id", "width", "height"])
    row_of = {photo: row for row, photo in enumerate(photos["photo_id"].to_pylist())}
    rows = np.array([row_of[photo] for photo in table["photo_id"].to_pylist()], np.int64)
    sizes = np.stack([photos[name].fill_null(0).to_numpy() for name in ("width", "height")], axis=1)[rows]
    points = table["landmarks"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, 5, 2)
    cut = ((points < 0) | (points > sizes[:, None])).any(axis=(1, 2))
    found: npt.NDArray[np.bool_] = (
        cut | (table["size"].to_numpy() < smallest) | (np.abs(five_point_yaw(points)) > MAX_YAW)
    )
    found |= table["quality"].fill_null(1.0).to_numpy() < least_quality
    return found


def _qualities(table: Any) -> FloatArray:
    """The quality (N,) of each face; where the index has none, size times score."""
    if table["quality"].null_count:
        return np.asarray(table["size"].to_numpy() * table["score"].to_numpy(), np.float32)
    return np.asarray(table["quality"].to_numpy(), np.float32)
