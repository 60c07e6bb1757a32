"""Batches of samples: their ratio, their order, the validation part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.easy_samples import SETTINGS, batches_of, samples
from train.common.checkpoints import TrainingError
from train.detection.batches import split
from train.detection.labels import LANDMARK, NEGATIVE, PART, POSITIVE
from train.detection.trainer import DetectorRun


def test_batches_keep_the_ratio():
    made = samples()
    batches = batches_of(made)
    for step in range(30):
        crops, kinds, targets = batches.read(step)
        assert np.bincount(kinds, minlength=4).tolist() == [30, 10, 10, 20]
        assert crops.shape == (70, 25, 25, 3)
        assert crops.dtype == torch.uint8
        assert targets.shape == (70, 14)
        assert torch.isnan(targets[kinds == NEGATIVE]).all()
        assert torch.isfinite(targets[kinds != NEGATIVE]).all()


def test_the_kinds_of_a_batch_are_mixed():
    """Augmentation zooms quarters of a batch alike."""
    batches = batches_of(samples())
    first, second = (batches.read(step)[1] for step in (0, 1))
    for kinds in (first, second):
        assert all(len(quarter.unique()) == 4 for quarter in kinds.chunk(4))
    assert not torch.equal(first, second)


def test_every_sample_has_its_turn():
    made = samples()
    # the first bytes of a crop tell which one it is
    numbered = made.crops.copy()
    numbered[:, 0, 0, 0], numbered[:, 0, 0, 1] = np.arange(len(made)) // 256, np.arange(len(made)) % 256
    made = replace(made, crops=numbered)
    batches = batches_of(made)
    seen: list[list[int]] = [[] for _ in range(4)]
    for step in range(40):
        crops, kinds, _ = batches.read(step)
        numbers = crops[:, 0, 0, 0].long() * 256 + crops[:, 0, 0, 1].long()
        for number, kind in zip(numbers.tolist(), kinds.tolist(), strict=True):
            assert made.kinds[number] == kind, "crop and kind belong to different samples"
            seen[kind].append(number)
    for kind in range(4):
        pool = np.flatnonzero(made.kinds == kind).tolist()
        turns = [seen[kind][k : k + len(pool)] for k in range(0, len(seen[kind]) - len(pool) + 1, len(pool))]
        assert len(turns) > 1
        assert all(sorted(turn) == pool for turn in turns)
        assert turns[0] != turns[1]


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    made = samples()
    one, two = (batches_of(made) for _ in range(2))
    forward = {step: one.read(step) for step in range(12)}
    for step in (7, 0, 11, 3):
        assert all(
            torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(forward[step], two.read(step), strict=True)
        )
    other = batches_of(made, seed=2)
    assert not torch.equal(forward[0][0], other.read(0)[0])


def test_kinds_that_are_missing_leave_their_share_to_the_others():
    def counts(kinds: tuple[int, ...], **changes) -> list[int]:
        made = samples(kinds=np.repeat(kinds, 5))
        return batches_of(made, **changes).counts

    assert counts((NEGATIVE, POSITIVE, PART, LANDMARK)) == [30, 10, 10, 20]
    assert counts((NEGATIVE, POSITIVE, PART)) == [42, 14, 14, 0]
    assert counts((NEGATIVE,)) == [70, 0, 0, 0]
    # the largest share takes what division leaves over, so that a batch is as large as the settings say
    assert counts((NEGATIVE, POSITIVE, PART, LANDMARK), batch=32) == [15, 4, 4, 9]
    assert counts((NEGATIVE, POSITIVE, PART, LANDMARK), batch=2) == [2, 0, 0, 0]
    assert counts((NEGATIVE, POSITIVE, PART, LANDMARK), ratio=(3, 1, 1, 0)) == [42, 14, 14, 0]
    with pytest.raises(TrainingError, match="nothing to learn"):
        counts(())
    with pytest.raises(TrainingError, match="nothing to learn"):
        counts((LANDMARK,), ratio=(3, 1, 1, 0))


def test_fewer_samples_than_a_batch_takes_are_repeated():
    made = samples(kinds=np.array([NEGATIVE] * 7 + [POSITIVE] * 2 + [LANDMARK]))
    _, kinds, _ = batches_of(made).read(3)
    assert np.bincount(kinds, minlength=4).tolist() == [36, 11, 0, 23]


def test_validation_samples_are_the_last_ones():
    learned, held_out = split(samples(), 0.1)
    assert learned.tolist() == list(range(378))
    assert held_out.tolist() == list(range(378, 420))


def test_augmentation_depends_on_the_step_and_on_nothing_else(tmp_path):
    # as many samples as a batch takes: each batch holds all of them, in an order of its own
    kinds = np.repeat([NEGATIVE, POSITIVE, PART, LANDMARK], [30, 10, 10, 20])
    alike = samples(kinds=kinds)
    alike.crops[:] = alike.crops[0]
    trainer = DetectorRun(replace(SETTINGS, validation_share=0.0), alike, tmp_path)
    first, again, second = (trainer.data.prepare(step)[0] for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    plain = DetectorRun(replace(SETTINGS, validation_share=0.0, augment=False), alike, tmp_path)
    assert torch.equal(plain.data.prepare(0)[0], plain.data.prepare(1)[0])
