"""The people of an index: groups, numbers that stay, corrections."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyarrow")

from cascade.archive import ArchiveError, Index
from cascade.archive.decisions import Decisions
from cascade.archive.grouping import GroupingError
from cascade.archive.people import (
    NO_PERSON,
    PeopleOfIndex,
    carried_names,
    group_index,
    join_threshold,
    ranks,
    stable_ids,
)
from cascade.models.recognizer import load_recognizer
from cascade.operating_point import operating_point_of
from tests.archive.people_helpers import ANN, BOB, CAT, face, save_index

THRESHOLD = 0.6


def grouped(index: Index, earlier: PeopleOfIndex | None = None, **options: object) -> PeopleOfIndex:
    people = group_index(index, earlier or PeopleOfIndex(), threshold=THRESHOLD, **options)
    people.save(index.folder)
    return PeopleOfIndex.load(index.folder)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Ann in three photos, Bob in two, one of them with Ann, and Cat in one."""
    photos = [[face(ANN, 1)], [face(ANN, 2), face(BOB, 1)], [face(BOB, 2)], [face(ANN, 3)], [face(CAT)], []]
    return save_index(tmp_path / "index", photos)


def test_people_are_groups_of_two_faces_or_more(index: Index) -> None:
    people = grouped(index)
    assert people.persons.tolist() == [1, 1, 2, 2, 1, NO_PERSON]
    assert people.counts() == {1: 3, 2: 2}
    assert people.next_id == 3
    assert people.face_ids == tuple(index.faces(["face_id"])["face_id"].to_pylist())
    assert people.members(1)[0] == 0  # of equal quality the first
    with pytest.raises(ArchiveError, match="there is no person 7"):
        people.members(7)


def test_what_is_saved_is_a_table_for_others(index: Index) -> None:
    import pyarrow.parquet

    people = grouped(index).named(2, "Bob")
    people.save(index.folder)
    rows = pyarrow.parquet.read_table(index.folder / "people" / "people.parquet").to_pylist()
    assert [row["person"] for row in rows] == [1, 1, 2, 2, 1, None]
    assert [row["name"] for row in rows] == [None, None, "Bob", "Bob", None, None]
    assert [row["rank"] for row in rows][:5] == [1, 2, 2, 1, 3]
    assert {path.stat().st_mode & 0o077 for path in (index.folder / "people").iterdir()} == {0}


def test_numbers_and_names_stay_when_photos_come(index: Index) -> None:
    people = grouped(index).named(2, "Bob")
    people.save(index.folder)
    more = save_index(index.folder, [[face(CAT, 5)], [face(BOB, 7), face(ANN, 8)]])
    later = grouped(more, PeopleOfIndex.load(index.folder))
    assert later.persons.tolist() == [1, 1, 2, 2, 1, 3, 3, 2, 1]
    assert later.names == {2: "Bob"}
    assert grouped(more, later).persons.tolist() == later.persons.tolist()
    assert grouped(more, later, again=True).persons.tolist() == later.persons.tolist()


def test_not_this_person(index: Index) -> None:
    people = grouped(index)
    ids = people.face_ids
    said = people.decisions.with_different([ids[0], ids[1]], [ids[4]])
    told = PeopleOfIndex(ids, people.persons, people.ranks, people.names, said, people.next_id)
    later = grouped(index, told)
    assert later.persons.tolist() == [1, 1, 2, 2, NO_PERSON, NO_PERSON]
    assert grouped(index, later, again=True).persons.tolist() == later.persons.tolist()


def test_the_same_person(index: Index) -> None:
    people = grouped(index)
    ids = people.face_ids
    said = people.decisions.with_same([ids[5]], [ids[0], ids[1], ids[4]])
    told = PeopleOfIndex(ids, people.persons, people.ranks, people.names, said, people.next_id)
    assert grouped(index, told).persons.tolist() == [1, 1, 2, 2, 1, 1]


@pytest.mark.parametrize(
    "changes",
    [{"quality": None}, {"landmarks": np.array([[[0, 5], [40, 5], [46, 20], [3, 30], [37, 30]]], np.float32)}],
)
def test_without_a_quality_and_in_profile(tmp_path: Path, changes: dict) -> None:
    """Without a quality, size and score rank; a face in profile makes no person."""
    index = save_index(tmp_path / "index", [[face(ANN, 1)], [face(ANN, 2)]], **changes)
    assert (grouped(index).persons == NO_PERSON).all() == ("landmarks" in changes)


@pytest.mark.parametrize("options", [{"smallest": 1000}, {"least_quality": 1.0}])
def test_small_and_bad_faces_make_no_people(index: Index, options: dict) -> None:
    assert grouped(index, **options).counts() == {}


def test_an_index_without_a_face(tmp_path: Path) -> None:
    people = grouped(save_index(tmp_path / "index", [[]]))
    assert (len(people.persons), people.counts()) == (0, {})


def test_names(index: Index) -> None:
    people = grouped(index).named(1, "Ann")
    with pytest.raises(ArchiveError, match="person 1 is called 'Ann' already"):
        people.named(2, "Ann")
    with pytest.raises(ArchiveError, match="there is no person 9"):
        people.named(9, "Zoë")
    assert people.named(1, None).names == {}


@pytest.mark.parametrize("damage", ["{", '{"format": "cascade-people-9"}', '{"format": "cascade-people-1"}', "[]"])
def test_damaged_files(index: Index, damage: str) -> None:
    grouped(index)
    (index.folder / "people" / "people.json").write_text(damage)
    with pytest.raises(ArchiveError, match="damaged or unreadable"):
        PeopleOfIndex.load(index.folder)


def test_a_missing_table(index: Index) -> None:
    grouped(index)
    (index.folder / "people" / "people.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArchiveError, match="damaged or unreadable"):
        PeopleOfIndex.load(index.folder)


IDS = st.lists(st.integers(-1, 5), min_size=1, max_size=20)


@given(st.data())
def test_stable_ids(data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=20))
    known = data.draw(st.lists(st.integers(1, 5) | st.just(-1), min_size=len(groups), max_size=len(groups)))
    persons, next_id = stable_ids(groups, known, 6)
    labels = np.array(groups)
    for group in set(groups):
        of_group = set(persons[labels == group].tolist())
        assert len(of_group) == 1
        assert (of_group == {NO_PERSON}) == (groups.count(group) == 1)
    found = [number for group in set(groups) if (number := persons[groups.index(group)]) != NO_PERSON]
    assert len(found) == len(set(found))
    assert all(number < next_id for number in found)
    again, _ = stable_ids(groups, persons, next_id)
    assert again.tolist() == persons.tolist()


def test_the_larger_part_keeps_the_number() -> None:
    persons, next_id = stable_ids([0, 0, 1, 1, 1, 2, 2], [4, 4, 4, 4, 4, -1, -1], 9)
    assert persons.tolist() == [9, 9, 4, 4, 4, 10, 10]
    assert next_id == 11


def test_ranks() -> None:
    persons, qualities = np.array([1, 2, 1, 1, -1]), np.array([0.5, 0.1, 0.9, 0.5, 1], np.float32)
    assert ranks(persons, qualities).tolist() == [2, 1, 1, 3, 1]


def test_decisions_what_is_said_last_holds() -> None:
    first = Decisions().with_different(["a", "b"], ["c"])
    assert first.different == {("a", "c"), ("b", "c")}
    then = first.with_same(["c"], ["a", "b"])
    assert (then.same, then.different) == ({("a", "c")}, set())
    assert Decisions.from_dict(json.loads(json.dumps(then.to_dict()))) == then
    assert then.rows({"a": 3, "c": 1}) == ([(3, 1)], [])
    assert then.rows({"a": 3}) == ([], [])
    with pytest.raises(ArchiveError, match="got one twice"):
        then.with_different(["a"], ["a"])
    with pytest.raises(ArchiveError, match="at least one"):
        then.with_same([], ["a"])


def test_the_threshold_is_a_share_of_the_recognisers() -> None:
    weights = load_recognizer()
    point = operating_point_of(weights.metadata, weights.path)
    assert point is not None
    assert 1 < join_threshold(point) / point.threshold < 1.5
    with pytest.raises(ValueError, match="threshold: expected a number"):
        join_threshold(None)


def test_a_name_goes_along_when_its_person_joins_another(index: Index) -> None:
    """Ann has more faces and no name, Bob has one: the number is Ann's, and the name is not lost."""
    people = grouped(index).named(2, "Bob")
    one, other = ([people.face_ids[row] for row in people.members(number).tolist()][:1] for number in (1, 2))
    same = replace(people, decisions=Decisions().with_same(one, other))
    # Ann and Bob are in one photo, so that they join by somebody's word alone.
    assert grouped(index, same).names == {1: "Bob"}


@pytest.mark.parametrize(
    ("names", "persons", "wanted"),
    [
        ({1: "Ann", 2: "Bob"}, [1, 1, 1, 1, 1], {1: "Ann"}),  # two names: the number's own
        ({2: "Bob", 3: "Cat"}, [1, 1, 1, 1, 1], {1: "Bob"}),  # of two that come, that of most faces
        ({2: "Bob"}, [NO_PERSON] * 5, {}),
        ({2: "Bob"}, [1, 4, 5, 5, NO_PERSON], {5: "Bob"}),  # where most of the faces are
        ({3: "Cat"}, [1, 2, 2, 2, 3], {3: "Cat"}),
    ],
)
def test_carried_names(names: dict, persons: list[int], wanted: dict) -> None:
    assert carried_names(names, np.array([1, 2, 2, 2, 3]), np.array(persons)) == wanted


def test_corrections_that_contradict_each_other_name_the_faces(index: Index) -> None:
    ids = index.faces(["face_id"])["face_id"].to_pylist()
    said = Decisions().with_same([ids[0]], [ids[2]]).with_same([ids[2]], [ids[5]]).with_different([ids[0]], [ids[5]])
    with pytest.raises(GroupingError, match=r"photos/0\.png#1 and .*photos/4\.png#1 are said to be different people"):
        grouped(index, PeopleOfIndex(decisions=said))
    assert grouped(index, PeopleOfIndex(decisions=said.with_same([ids[0]], [ids[5]]))).persons[0] == 1


def test_decisions_on_people_with_very_many_faces() -> None:
    """Each pair of their faces would be 400 million."""
    one, other = ([f"{name}{number}" for number in range(20_000)] for name in "ab")
    said = Decisions().with_different(one, other)
    assert len(said.different) == 39_999
    assert said.with_same(one, other) == Decisions(same=frozenset([("a0", "b0")]))
