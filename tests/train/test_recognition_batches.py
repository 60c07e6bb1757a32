"""Which faces a step learns from, how they are changed, and which are kept out."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from packed_faces import SETTINGS, packed

from train.augment import normalise
from train.loop import TrainingError
from train.recognition.augment import augment
from train.recognition.batches import FaceBatches, split

PLAIN = replace(SETTINGS, augment=False, lambda_distillation=1.0)


def marked(**changes):
    """Faces whose first two pixels tell their row."""
    made = packed(**changes)
    crops = made.crops.copy()
    crops[:, 0, 0, 0] = np.arange(len(made))
    return replace(made, crops=crops)


def rows_of(batch) -> list[int]:
    return (batch.inputs[:, 0, 0, 0] * 128 + 127.5).round().int().tolist()


def every(made) -> np.ndarray:
    return np.arange(len(made))


# --------------------------------------------------------------------------------------------------
# the split


def test_whole_persons_are_kept_out():
    made = packed()
    learned, kept = split(made, 0.2)
    assert sorted([*learned, *kept]) == list(range(len(made)))
    out = set(made.persons[kept]) - {-1}
    assert len(out) == 2
    assert not out & set(made.persons[learned])
    assert np.isin(made.persons, list(out)).sum() == 8


def test_of_faces_without_a_name_a_share_is_kept_out_but_no_blend():
    made = packed(people=0, aged=60, nameless=40, blends=50)
    _, kept = split(made, 0.3)
    assert len(kept) == 30
    assert set(made.sources[kept]) == {1, 2}


def test_the_split_is_the_same_again_and_grows_with_the_share():
    made = packed()
    first, again, more = (split(made, share)[1].tolist() for share in (0.2, 0.2, 0.5))
    assert first == again
    assert set(first) < set(more)


def test_a_share_of_few_may_be_none():
    learned, kept = split(packed(people=2, aged=3, nameless=1, blends=0), 0.05)
    assert (len(learned), len(kept)) == (12, 0)


# --------------------------------------------------------------------------------------------------
# batches


def test_a_batch_says_what_is_known_of_each_face():
    made = marked()
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
    made = marked()
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
    made = marked()
    batches = FaceBatches(made, every(made), replace(PLAIN, batch=20, shares=(3, 3, 2, 2)))
    assert batches.counts == [6, 6, 4, 4]
    for step in range(5):
        assert np.bincount(made.sources[rows_of(batches[step])], minlength=4).tolist() == [6, 6, 4, 4]


@pytest.mark.parametrize(
    ("faces", "changes", "counts"),
    [
        ({}, {"batch": 16}, [6, 4, 3, 3]),  # the largest share takes the rest
        ({"blends": 0}, {"batch": 16}, [6, 6, 4, 0]),
        ({"people": 0}, {"batch": 14}, [0, 6, 4, 4]),
        ({}, {"batch": 16, "lambda_distillation": 0.0}, [8, 8, 0, 0]),
        ({"teacher": False}, {"batch": 16}, [8, 8, 0, 0]),
        ({}, {"batch": 16, "shares": (0, 0, 1, 0)}, [0, 0, 16, 0]),
    ],
)
def test_what_is_missing_leaves_its_share_to_the_others(faces, changes, counts):
    made = packed(**faces)
    assert FaceBatches(made, every(made), replace(PLAIN, **changes)).counts == counts


def test_faces_of_known_person_and_age_count_as_named():
    made = packed()
    made.ages[:40:2] = 30
    batches = FaceBatches(made, every(made), PLAIN)
    assert [len(pool) for pool in batches.pools] == [40, 24, 16, 12]


@pytest.mark.parametrize("changes", [{"nameless": 9, "teacher": False}, {"blends": 9, "teacher": False}, {}])
def test_nothing_to_learn_from(changes):
    made = packed(**{"people": 0, "aged": 0, "nameless": 0, "blends": 0, **changes})
    with pytest.raises(TrainingError, match="nothing to learn from"):
        FaceBatches(made, every(made), PLAIN)


def test_every_face_has_its_turn():
    made = marked()
    batches = FaceBatches(made, every(made), replace(PLAIN, batch=10))
    seen = [row for step in range(40) for row in rows_of(batches[step])]
    named = [row for row in seen if row < 40]
    assert len(named) == 120
    turns = [[row for step in range(at, at + 40) for row in rows_of(batches[step]) if row < 40] for at in (0, 40)]
    assert sorted(turns[0]) == sorted(list(range(40)) * 3) == sorted(turns[1])
    assert turns[0] != turns[1]


def test_fewer_faces_than_a_batch_takes_are_repeated():
    made = marked(people=1, photos=2, aged=0, nameless=0, blends=0)
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
    made = marked(people=1, photos=1, aged=0, nameless=0, blends=0)
    batches = FaceBatches(made, every(made), replace(PLAIN, augment=True, batch=1))
    assert not torch.equal(batches[0].inputs, batches[1].inputs)
    same = FaceBatches(made, every(made), replace(PLAIN, batch=1))
    assert torch.equal(same[0].inputs, same[1].inputs)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_batch(world):
    made = marked()
    whole = FaceBatches(made, every(made), PLAIN)
    parts = [FaceBatches(made, every(made), PLAIN, rank, world) for rank in range(world)]
    for step in range(4):
        shares = [rows_of(part[step]) for part in parts]
        assert sorted(chain.from_iterable(shares)) == sorted(rows_of(whole[step]))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert all(min(share) < 40 for share in shares), "a process without a name to learn"


def test_processes_change_their_crops_differently():
    made = replace(packed(people=1, photos=2, aged=0, nameless=0, blends=0))
    made.crops[1] = made.crops[0]
    changed = replace(PLAIN, augment=True, batch=2)
    first, second = (FaceBatches(made, every(made), changed, rank, 2)[0].inputs for rank in range(2))
    assert not torch.equal(first, second)


# --------------------------------------------------------------------------------------------------
# changes


def smooth(count: int, side: int = 112) -> torch.Tensor:
    """Crops that are dark on the left and bright on the right."""
    return torch.linspace(40, 200, side).expand(count, 3, side, side).clone()


def of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_changed_crops_keep_shape_and_range():
    crops = torch.from_numpy(packed().crops).permute(0, 3, 1, 2).float()
    before = crops.clone()
    changed = augment(crops, of(0))
    assert torch.equal(crops, before)
    assert changed.shape == crops.shape
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() < 20
    assert 235 < changed.max() < 255.001
    assert not any(torch.equal(a, b) for a, b in zip(changed, crops, strict=True))
    assert augment(smooth(3, 64), of(0)).shape == (3, 3, 64, 64)


def test_changes_are_those_of_the_generator():
    crops = smooth(12)
    assert torch.equal(augment(crops, of(5)), augment(crops, of(5)))
    assert not torch.equal(augment(crops, of(5)), augment(crops, of(6)))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    augment(crops, of(5))
    assert torch.equal(torch.get_rng_state(), state)


def test_half_of_the_crops_are_mirrored():
    changed = augment(smooth(400), of(2))
    slope = (changed[:, :, 30:80, 70:80] - changed[:, :, 30:80, 30:40]).mean((1, 2, 3))
    share = float((slope < 0).float().mean())
    assert 0.4 < share < 0.6
    assert float((slope.abs() > 5).float().mean()) > 0.9


def test_normalised_as_the_engines_do():
    pixels = torch.tensor([0.0, 127.5, 255.0])
    assert normalise(pixels).tolist() == [-127.5 / 128, 0.0, 127.5 / 128]
