"""Which faces a step learns from, and which are held out."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from tests.train.packed_faces import SETTINGS, packed
from train.common.checkpoints import TrainingError
from train.common.order import PoolOrder
from train.recognition.batches import BLEND_SHARES, FaceBatches, split

PLAIN = replace(SETTINGS, augment=False, lambda_distillation=1.0)


def numbered(**changes):
    """Faces whose first two pixels tell their row."""
    made = packed(**changes)
    crops = made.crops.copy()
    crops[:, 0, 0, 0] = np.arange(len(made))
    return replace(made, crops=crops)


def rows_of(batch) -> list[int]:
    return (batch.inputs[:, 0, 0, 0] * 128 + 127.5).round().int().tolist()


def every(made) -> np.ndarray:
    return np.arange(len(made))


def test_persons_are_held_out_with_all_their_faces():
    made = packed()
    learned, held_out = split(made, 0.2)
    assert sorted([*learned, *held_out]) == list(range(len(made)))
    out = set(made.persons[held_out]) - {-1}
    assert len(out) == 2
    assert not out & set(made.persons[learned])
    assert np.isin(made.persons, list(out)).sum() == 8


def test_people_on_lists_are_held_out(tmp_path):
    made = packed()
    names = made.meta["persons"]
    (tmp_path / "one.txt").write_text(f"{names[0]}\nsomebody else\n")
    (tmp_path / "two.txt").write_text(f"{names[3]}\n")
    learned, held_out = split(made, 0.2, (str(tmp_path / "one.txt"), str(tmp_path / "two.txt")))
    assert set(made.persons[held_out]) - {-1} == {0, 3}
    assert not {0, 3} & set(made.persons[learned])
    assert -1 in made.persons[held_out]
    (tmp_path / "nobody.txt").write_text("somebody else\n")
    for name, message in (("nobody.txt", "names nobody among the faces"), ("none.txt", "none.txt")):
        with pytest.raises(TrainingError, match=f"held_out: .*{message}"):
            split(made, 0.2, (str(tmp_path / name),))


def test_of_sources_without_anybody_listed_a_share_is_held_out(tmp_path):
    made = packed(people=20)
    sources = made.sources.copy()
    sources[(made.persons >= 0) & (made.persons % 2 == 1)] = 3  # the odd ones are of a source of their own
    made = replace(made, sources=sources)
    (tmp_path / "list.txt").write_text(f"{made.meta['persons'][0]}\n")
    learned, held_out = split(made, 0.2, (str(tmp_path / "list.txt"),))
    out = set(made.persons[held_out].tolist()) - {-1}
    assert {person for person in out if person % 2 == 0} == {0}
    assert len({person for person in out if person % 2 == 1}) == 2
    assert not out & set(made.persons[learned].tolist())
    # of the faces without a name it is the same share as ever
    nameless = made.persons[held_out] < 0
    everyone = split(made, 0.2)[1]
    assert nameless.sum() == (made.persons[everyone] < 0).sum() == 8


def test_means_by_person():
    made = packed(people=3)
    data = FaceBatches(made, every(made), PLAIN)
    vectors = np.random.default_rng(0).normal(size=(len(made), 4)).astype(np.float32)
    means = data.mean_by_person(vectors, every(made))
    assert means.shape == (3, 4)
    np.testing.assert_allclose(means[1], vectors[made.persons == 1].mean(0), rtol=1e-5)


def test_of_faces_without_a_name_a_share_is_held_out():
    made = packed(people=0, aged=60, nameless=40)
    _, held_out = split(made, 0.3)
    assert len(held_out) == 30
    assert set(made.sources[held_out]) == {1, 2}


def test_the_split_is_the_same_again_and_grows_with_the_share():
    made = packed()
    first, again, more = (split(made, share)[1].tolist() for share in (0.2, 0.2, 0.5))
    assert first == again
    assert set(first) < set(more)


def test_a_share_of_few_may_be_none():
    learned, held_out = split(packed(people=2, aged=3, nameless=1), 0.05)
    assert (len(learned), len(held_out)) == (12, 0)


def test_a_batch_says_what_is_known_of_each_face():
    made = numbered()
    batch = FaceBatches(made, every(made), PLAIN)[4]
    rows = rows_of(batch)
    assert batch.inputs.shape == (16, 3, 112, 112)
    expected = (made.crops[rows].astype(np.float32) - 127.5) / 128
    np.testing.assert_allclose(batch.inputs.permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)
    np.testing.assert_array_equal(batch.persons, made.persons[rows])
    np.testing.assert_array_equal(batch.ages, made.ages[rows])
    np.testing.assert_array_equal(batch.teacher, made.embeddings[rows])
    assert batch.persons.dtype == torch.int64


def test_persons_are_numbered_among_those_to_learn():
    made = numbered()
    learned, _ = split(made, 0.5)
    batches = FaceBatches(made, learned, PLAIN)
    assert batches.persons == 5
    seen: dict[int, set[int]] = {}
    for step in range(8):
        batch = batches[step]
        for row, person in zip(rows_of(batch), batch.persons.tolist(), strict=True):
            seen.setdefault(int(made.persons[row]), set()).add(person)
    assert seen.pop(-1) == {-1}
    numbers = [seen[person] for person in sorted(seen)]
    assert numbers == [{0}, {1}, {2}, {3}, {4}]


def test_shares():
    made = numbered()
    batches = FaceBatches(made, every(made), replace(PLAIN, batch=16, shares=(3, 3, 2, 2)))
    assert batches.counts == [6, 6, 4, 0]
    for step in range(5):
        assert np.bincount(made.sources[rows_of(batches[step])]).tolist() == [6, 6, 4]


@pytest.mark.parametrize(
    ("faces", "changes", "blends", "counts"),
    [
        ({}, {"batch": 16}, True, [6, 4, 3, 3]),  # the largest share takes the rest
        ({}, {"batch": 16}, False, [6, 6, 4, 0]),
        ({"people": 0}, {"batch": 14}, True, [0, 6, 4, 4]),
        ({"nameless": 0}, {"batch": 16}, True, [6, 6, 0, 4]),
        ({}, {"batch": 16, "lambda_distillation": 0.0}, True, [8, 8, 0, 0]),
        ({"teacher": False}, {"batch": 16}, True, [8, 8, 0, 0]),
        ({}, {"batch": 16, "shares": (0, 0, 1, 0)}, True, [0, 0, 16, 0]),
        ({}, {"batch": 16, "shares": (0, 0, 1, 1)}, False, [0, 0, 16, 0]),
    ],
)
def test_what_is_missing_leaves_its_share_to_the_others(faces, changes, blends, counts):
    made = packed(**faces)
    assert FaceBatches(made, every(made), replace(PLAIN, **changes), blends=blends).counts == counts


def test_faces_of_known_person_and_age_count_as_named():
    made = packed()
    made.ages[:40:2] = 30
    batches = FaceBatches(made, every(made), PLAIN)
    assert [len(pool) for pool in batches.pools] == [40, 24, 16, 0]


@pytest.mark.parametrize("blends", [True, False])
@pytest.mark.parametrize("changes", [{"nameless": 9, "teacher": False}, {}])
def test_nothing_to_learn_from(changes, blends):
    made = packed(**{"people": 0, "aged": 0, "nameless": 0, **changes})
    with pytest.raises(TrainingError, match="nothing to learn from"):
        FaceBatches(made, every(made), PLAIN, blends=blends)


def test_every_face_has_its_turn():
    made = numbered()
    batches = FaceBatches(made, every(made), replace(PLAIN, batch=8))
    seen = [row for step in range(40) for row in rows_of(batches[step])]
    named = [row for row in seen if row < 40]
    assert len(named) == 120
    turns = [[row for step in range(at, at + 40) for row in rows_of(batches[step]) if row < 40] for at in (0, 40)]
    assert sorted(turns[0]) == sorted(list(range(40)) * 3) == sorted(turns[1])
    assert turns[0] != turns[1]


def test_fewer_faces_than_a_batch_takes_are_repeated():
    made = numbered(people=1, photos=2, aged=0, nameless=0)
    assert sorted(rows_of(FaceBatches(made, every(made), replace(PLAIN, batch=5))[3])) in (
        [0, 0, 0, 1, 1],
        [0, 0, 1, 1, 1],
    )


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    made = packed()
    changed = replace(PLAIN, augment=True)
    one, two = (FaceBatches(made, every(made), changed) for _ in range(2))
    forward = {step: one[step] for step in range(6)}
    for step in (5, 0, 3):  # as a resumed run starts anywhere
        assert torch.equal(forward[step].inputs, two[step].inputs)
        assert torch.equal(forward[step].persons, two[step].persons)
    other = FaceBatches(made, every(made), replace(changed, seed=1))
    assert not torch.equal(forward[0].inputs, other[0].inputs)


def test_crops_are_changed_anew_in_every_turn():
    made = numbered(people=1, photos=1, aged=0, nameless=0)
    batches = FaceBatches(made, every(made), replace(PLAIN, augment=True, batch=1))
    assert not torch.equal(batches[0].inputs, batches[1].inputs)
    same = FaceBatches(made, every(made), replace(PLAIN, batch=1))
    assert torch.equal(same[0].inputs, same[1].inputs)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_batch(world):
    made = numbered()
    whole = FaceBatches(made, every(made), PLAIN)
    parts = [FaceBatches(made, every(made), PLAIN, rank, world) for rank in range(world)]
    for step in range(4):
        shares = [rows_of(part[step]) for part in parts]
        assert sorted(chain.from_iterable(shares)) == sorted(rows_of(whole[step]))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert all(min(share) < 40 for share in shares), "a process without a name to learn"


def test_processes_change_their_crops_differently():
    made = replace(packed(people=1, photos=2, aged=0, nameless=0))
    made.crops[1] = made.crops[0]
    changed = replace(PLAIN, augment=True, batch=2)
    first, second = (FaceBatches(made, every(made), changed, rank, 2)[0].inputs for rank in range(2))
    assert not torch.equal(first, second)


def spotted(**changes):
    """Faces that are black but for a spot of 200, each at a place of its own."""
    made = packed(**changes)
    crops = np.zeros_like(made.crops)
    for row in range(len(made)):
        crops[row, 8 * (row // 14) + 4, 8 * (row % 14) + 4] = 200
    return replace(made, crops=crops)


def spots_of(batch, count: int) -> np.ndarray:
    """How much of each face (n, count) is in the inputs (n, ...)."""
    at = np.arange(count)
    return (batch.inputs[:, 0, 8 * (at // 14) + 4, 8 * (at % 14) + 4] * 128 + 127.5).numpy() / 200


def test_an_average_is_of_two_faces_and_shows_nobody():
    made = spotted(people=2, photos=2, aged=4, nameless=0)
    made.ages[:4] = 30
    settings = replace(PLAIN, batch=8, shares=(0, 0, 0, 1))
    batch = FaceBatches(made, every(made), settings, blends=True)[0]
    shares = spots_of(batch, 8)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)
    for row in shares:
        two = row[row > 0.001]
        assert len(two) == 2
        assert BLEND_SHARES[0] - 1e-5 <= two.min() <= two.max() <= BLEND_SHARES[1] + 1e-5
    assert shares.max(1).std() > 0.01  # not all in the same shares
    assert ((shares > 0.001).sum(0) == 2).all()  # every face of the batch is in one average and beside another
    black = batch.inputs[:, :, ::8]  # where no spot is
    torch.testing.assert_close(black, torch.full_like(black, -127.5 / 128))
    assert batch.persons.tolist() == [-1] * 8
    assert batch.ages.isnan().all() and not batch.teacher.any()
    assert (batch.persons.dtype, batch.ages.dtype, batch.teacher.dtype) == (torch.int64, torch.float32, torch.float32)


def test_the_other_faces_of_a_batch_stay_as_they_are():
    made = spotted()
    batches = FaceBatches(made, every(made), replace(PLAIN, batch=20), blends=True)
    assert batches.counts == [6, 6, 4, 4]
    for step in range(3):
        batch = batches[step]
        average = ~batch.teacher.any(1)
        assert int(average.sum()) == 4
        assert (batch.persons[average] == -1).all() and batch.ages[average].isnan().all()
        shares = spots_of(batch, len(made))[~average]
        rows = shares.argmax(1)
        np.testing.assert_allclose(shares, np.eye(len(made))[rows], atol=1e-5)
        assert np.bincount(made.sources[rows]).tolist() == [6, 6, 4]
        np.testing.assert_array_equal(batch.persons[~average], made.persons[rows])
        np.testing.assert_array_equal(batch.ages[~average], made.ages[rows])
        np.testing.assert_array_equal(batch.teacher[~average], made.embeddings[rows])


@pytest.mark.parametrize("changed", [True, False])
def test_averages_depend_on_the_seed_and_the_step_alone(changed):
    made = packed()
    settings = replace(PLAIN, augment=changed, batch=8, shares=(0, 0, 0, 1))
    one, two = (FaceBatches(made, every(made), settings, blends=True) for _ in range(2))
    forward = {step: one[step].inputs for step in range(4)}
    for step in (3, 1):
        assert torch.equal(forward[step], two[step].inputs)
    assert not torch.equal(forward[0], forward[1])
    other = FaceBatches(made, every(made), replace(settings, seed=1), blends=True)
    assert not torch.equal(forward[0], other[0].inputs)


def pairs_of(batch, count: int) -> list[set[int]]:
    """The two faces of each average of `spotted` faces."""
    return [set(np.flatnonzero(row > 0.001)) for row in spots_of(batch, count) if (row > 0.001).sum() == 2]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_face_is_averaged_with_its_neighbour_in_drawing_order(world):
    """Not with the one beside it among the packed faces, who is often the same person; in one process or in several."""
    made = spotted()
    settings = replace(PLAIN, batch=20)
    parts = [FaceBatches(made, every(made), settings, rank, world, blends=True) for rank in range(world)]
    order = PoolOrder(parts[0].pools, settings.seed)
    for step in range(5):
        drawn = order.take(3, step, 4).tolist()
        expected = [{drawn[at - 1], drawn[at]} for at in range(4)]
        found = [pair for part in parts for pair in pairs_of(part[step], len(made))]
        assert sorted(map(sorted, found)) == sorted(map(sorted, expected))


def test_processes_share_the_averages():
    made = spotted()
    settings = replace(PLAIN, batch=20)
    parts = [FaceBatches(made, every(made), settings, rank, 2, blends=True)[1] for rank in range(2)]
    assert sum(int((~part.teacher.any(1)).sum()) for part in parts) == 4
    for part in parts:
        np.testing.assert_allclose(spots_of(part, len(made)).sum(1), 1, atol=1e-5)


def test_frontal_faces_are_rotated_before_other_changes():
    made = replace(packed(), yaws=np.zeros(len(packed()), np.float32))
    settings = replace(SETTINGS, batch=32)
    plain, rotated = (FaceBatches(made, every(made), replace(settings, profiles=share))[1] for share in (0.0, 1.0))
    assert plain.inputs.shape == rotated.inputs.shape
    assert (plain.inputs != rotated.inputs).flatten(1).any(dim=1).all()
    aside = replace(made, yaws=made.yaws + 90)
    assert torch.isfinite(FaceBatches(aside, every(made), replace(settings, profiles=1.0))[1].inputs).all()
    with pytest.raises(TrainingError, match="profiles: the yaws of these faces are not known"):
        FaceBatches(packed(), every(made), replace(settings, profiles=0.3))
