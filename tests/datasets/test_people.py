"""Photos of people: the types, folders per person, and labels in file names."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import (
    DatasetError,
    Pair,
    Pairs,
    People,
    PersonPhoto,
    read_agedb,
    read_identities,
    read_utkface,
)


def photo(name="a", person="p", **more):
    return PersonPhoto(Path(f"{name}.jpg"), name, person, **more)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "needs a name"),
        ({"age": -1.0}, "age"),
        ({"age": math.inf}, "age"),
        ({"landmarks": np.zeros((4, 2))}, "landmarks"),
        ({"landmarks": np.full((5, 2), np.nan)}, "landmarks"),
    ],
)
def test_unfit_photos_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        photo(**changes)


def test_a_photo_cannot_change_and_does_not_follow_its_source():
    points = np.ones((5, 2))
    one = photo(landmarks=points)
    points[:] = 9
    assert one.landmarks.dtype == np.float32
    assert one.landmarks.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        one.landmarks[0] = 2
    with pytest.raises(FrozenInstanceError):
        one.person = "q"
    assert math.isnan(one.age)


def test_people_behave_like_a_sequence():
    people = People("set", (photo("a", "p"), photo("b", "q"), photo("c", "p"), photo("d", None)))
    assert (len(people), people[1].name) == (4, "b")
    assert [each.name for each in people] == ["a", "b", "c", "d"]
    assert [each.name for each in people[1:3]] == ["b", "c"]
    with pytest.raises(ValueError, match="same name"):
        People("set", (photo(), photo()))


def test_pairs_know_their_photos_and_folds():
    a, b, c = photo("a", age=3.0), photo("b", age=40.0), photo("c")
    pairs = Pairs("set", (Pair(a, b, True, 2), Pair(b, c, False, 1)))
    assert [each.name for each in pairs.photos()] == ["a", "b", "c"]
    assert pairs.folds() == (1, 2)
    assert (pairs[0].age_a, pairs[0].age_b) == (3.0, 40.0)
    assert math.isnan(pairs[1].age_b)
    assert (len(pairs), next(iter(pairs)).same) == (2, True)


def test_identities(tmp_path, touch):
    touch(tmp_path, "anna/2.jpg", "anna/1.png", "bo/deep/x.webp", "loose.jpg", "bo/notes.txt")
    people = read_identities(tmp_path)
    assert [(each.name, each.person) for each in people] == [
        ("anna/1.png", "anna"),
        ("anna/2.jpg", "anna"),
        ("bo/deep/x.webp", "bo"),
    ]
    assert "loose.jpg" in str(people.problems[0])
    with pytest.raises(DatasetError, match="loose"):
        read_identities(tmp_path, strict=True)


def test_identities_need_a_person(tmp_path, touch):
    with pytest.raises(DatasetError, match="no person's folder"):
        read_identities(touch(tmp_path, "1.jpg"))


def test_empty_files_are_reported(tmp_path, touch):
    touch(tmp_path, "anna/1.jpg")
    (tmp_path / "anna" / "2.jpg").touch()
    people = read_identities(tmp_path)
    assert len(people) == 1
    assert "2.jpg" in str(people.problems[0])


def test_utkface(tmp_path, touch):
    good = ("100_0_0_20170112213500903.webp", "1_1_4_2016.jpg", "part1/26_1_2_20170116184024662.jpg.chip.jpg")
    bad = ("61_1_20170109142408075.jpg", "30_2_0_2017.jpg", "30_0_5_2017.jpg", "x_0_0_2017.jpg")
    people = read_utkface(touch(tmp_path, *good, *bad))
    found = {each.name: (each.age, each.attributes["gender"], each.attributes["race"]) for each in people}
    assert found == {good[0]: (100, 0, 0), good[1]: (1, 1, 4), good[2]: (26, 1, 2)}
    assert all(each.person is None for each in people)
    assert len(people.problems) == 1
    assert "4 photos" in str(people.problems[0])
    with pytest.raises(DatasetError, match="61_1"):
        read_utkface(tmp_path, strict=True)


def test_agedb(tmp_path, touch):
    names = ("0_MariaCallas_35_f.jpg", "10_Jean_Paul_7_m.png", "x_MariaCallas_35_f.jpg", "1_MariaCallas_35.jpg")
    people = read_agedb(touch(tmp_path, *names))
    found = [(each.person, each.age, each.attributes["gender"]) for each in people]
    assert found == [("MariaCallas", 35, 1), ("Jean_Paul", 7, 0)]
    assert "2 photos" in str(people.problems[0])


@pytest.mark.parametrize("read", [read_utkface, read_agedb])
def test_no_photo_named_as_expected(read, tmp_path, touch):
    with pytest.raises(DatasetError, match="no photos named like"):
        read(touch(tmp_path, "1.jpg"))
    with pytest.raises(DatasetError, match="no such folder"):
        read(tmp_path / "absent")
