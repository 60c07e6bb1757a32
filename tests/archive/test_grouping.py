"""Grouping faces by person."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.archive.grouping import GroupingError, group_faces

DIMENSION = 32


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def people(seed: int, sizes: list[int], noise: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of that many faces of each person, shuffled, and who each is."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = unit(rng.normal(size=(len(sizes), DIMENSION)))
    return unit(centres[who] + noise * rng.normal(size=(len(who), DIMENSION)) / np.sqrt(DIMENSION)), who


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.array_equal(one[:, None] == one, other[:, None] == other))


@given(st.integers(0, 10**6), st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_people_who_are_far_apart_are_found(seed: int, sizes: list[int]) -> None:
    rows, who = people(seed, sizes)
    found = group_faces(rows, np.arange(len(rows)), threshold=0.7, neighbours=8)
    assert same_partition(found, who)
    assert found[0] == 0
    assert list(dict.fromkeys(found.tolist())) == list(range(len(sizes)))  # in the order of the first faces


def test_a_chain_of_look_alikes_does_not_join() -> None:
    """Each face is like the next one, as in single linkage's chains, but the ends are nothing like each other."""
    angles = np.radians(np.arange(0, 180, 20))
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = group_faces(chain, np.arange(len(chain)), threshold=0.8)
    assert (chain[:-1] * chain[1:]).sum(axis=1).min() > 0.9
    for group in np.unique(found):
        inside = chain[found == group]
        assert (inside @ inside.T).min() > 0.5


def test_a_person_of_more_faces_than_neighbours_is_one_group() -> None:
    rows, _ = people(3, [500])
    assert group_faces(rows, np.arange(500), threshold=0.7, neighbours=4).max() == 0


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_two_faces_of_a_photo_are_different_people(seed: int, photos: int) -> None:
    rows, _ = people(seed, [3 * photos])
    of_photo = np.repeat(np.arange(photos), 3)
    found = group_faces(rows, of_photo, threshold=0.2)
    for group in np.unique(found):
        assert len(set(of_photo[found == group])) == (found == group).sum()


@given(st.data())
def test_what_users_say_holds(data: st.DataObject) -> None:
    rows, _ = people(data.draw(st.integers(0, 10**6)), [5, 5, 1, 1])
    faces = st.integers(0, len(rows) - 1)
    pairs = data.draw(st.lists(st.tuples(faces, faces).filter(lambda pair: pair[0] != pair[1]), max_size=6))
    word = data.draw(st.integers(0, len(pairs)))
    same, different = pairs[:word], pairs[word:]
    photos = data.draw(st.lists(st.integers(0, 20), min_size=len(rows), max_size=len(rows)))
    try:
        found = group_faces(rows, photos, threshold=0.7, same=same, different=different)
    except GroupingError as error:
        assert "also said to be the same" in str(error)  # noqa: PT017
        return
    assert all(found[a] == found[b] for a, b in same)
    assert all(found[a] != found[b] for a, b in different)


def test_different_keeps_groups_of_one_person_apart_by_the_better_fit() -> None:
    rows, _ = people(5, [6])
    found = group_faces(rows, np.arange(6), threshold=0.5, different=[(0, 1)])
    assert found[0] != found[1]
    assert len(np.unique(found)) == 2


def test_the_same_person_twice_said_in_a_ring() -> None:
    rows, _ = people(6, [1] * 6)
    found = group_faces(rows, np.arange(6), threshold=0.9, same=[(0, 3), (3, 5), (5, 0), (1, 2)])
    assert same_partition(found, np.array([0, 1, 1, 0, 2, 0]))


@given(st.integers(0, 10**6))
def test_new_faces_join_the_groups_that_are_there(seed: int) -> None:
    rows, who = people(seed, [8, 5, 4, 1])
    new = np.zeros(len(rows), bool)
    new[::3] = True
    start = np.where(new, -1, who)
    found = group_faces(rows, np.arange(len(rows)), threshold=0.7, start=start, fresh=new)
    assert same_partition(found, who)


def test_without_new_faces_groups_stay() -> None:
    rows, who = people(8, [5, 5])
    start = np.where(np.arange(10) < 5, who, who + 2)  # a person in two groups
    found = group_faces(rows, np.arange(10), threshold=0.7, start=start, fresh=np.zeros(10, bool))
    assert same_partition(found, start)


def test_followers_join_groups_and_make_none() -> None:
    rows, who = people(9, [6, 4])
    followers = (who == 1) | (np.arange(10) == int(np.flatnonzero(who == 0)[0]))
    found = group_faces(rows, np.arange(10), threshold=0.7, followers=followers)
    assert len(set(found[who == 0])) == 1
    assert len(set(found[who == 1])) == 4


def test_followers_of_one_photo_do_not_both_join() -> None:
    rows, _ = people(10, [6])
    followers = np.array([True, True, False, False, False, False])
    found = group_faces(rows, [0, 0, 1, 2, 3, 4], threshold=0.7, followers=followers)
    assert (found[:2] == found[2]).sum() == 1


def test_the_same_faces_in_another_order_make_the_same_groups() -> None:
    rows, _ = people(11, [9, 7, 5, 3, 1, 1], noise=1.2)
    order = np.random.default_rng(0).permutation(len(rows))
    one = group_faces(rows, np.arange(len(rows)), threshold=0.45)
    other = group_faces(rows[order], np.arange(len(rows)), threshold=0.45)
    assert same_partition(one[order], other)


def test_identical_faces_and_float16() -> None:
    rows = np.repeat(people(12, [1, 1])[0], 40, axis=0).astype(np.float16)
    assert same_partition(group_faces(rows, np.arange(80), threshold=0.9, neighbours=3), np.repeat([0, 1], 40))


@pytest.mark.parametrize("count", [0, 1])
def test_no_face_and_one(count: int) -> None:
    rows = people(1, [1])[0][:count]
    assert group_faces(rows, np.arange(count), threshold=0.5).tolist() == [0] * count


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"photos": [1, 2]}, r"photos: expected \(3,\)"),
        ({"start": [0.5, 1, 2]}, r"start: expected \(3,\) integers"),
        ({"fresh": [1, 0, 1]}, r"fresh: expected \(3,\) bool"),
        ({"followers": [True]}, r"followers: expected \(3,\) bool"),
        ({"same": [(0, 3)]}, "same: expected faces from 0 to 2"),
        ({"different": [(-1, 0)]}, "different: expected faces from 0 to 2"),
        ({"different": [(1, 1)]}, "different: faces 1 and 1 are also said to be the same"),
        ({"threshold": 1.5}, "threshold: expected -1 to 1"),
        ({"neighbours": 0}, "neighbours: expected at least 1"),
    ],
)
def test_wrong_arguments(options: dict, says: str) -> None:
    rows, _ = people(1, [3])
    with pytest.raises(ValueError, match=says):
        group_faces(rows, **({"photos": [1, 2, 3], "threshold": 0.5} | options))
