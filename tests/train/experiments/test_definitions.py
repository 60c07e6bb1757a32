"""The arms of the experiments: alike but for what they are named after."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from train.detection.trainer import DetectorRun
from train.experiments.definitions import EXPERIMENTS, landmark_arm, mining_arm


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_arms_start_alike_and_see_the_same_batches(protocol, name):
    experiment = EXPERIMENTS[name]
    assert experiment.reference in [arm.label for arm in experiment.arms]
    assert (
        len({arm.folder for arm in experiment.arms})
        == len({arm.label for arm in experiment.arms})
        == len(experiment.arms)
    )
    trainers = [
        DetectorRun(protocol.settings(arm, 5), protocol.samples, protocol.out / arm.folder) for arm in experiment.arms
    ]
    for one, other in itertools.pairwise(trainers):
        states = one.network.state_dict(), other.network.state_dict()
        assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))
        assert one.validation.tolist() == other.validation.tolist()
        for step in range(6):
            pairs = zip(one.data.prepare(step), other.data.prepare(step), strict=True)
            assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)
    again = DetectorRun(protocol.settings(experiment.arms[0], 6), protocol.samples, protocol.out / "again")
    assert not torch.equal(again.data.prepare(0)[0], trainers[0].data.prepare(0)[0])


def test_arms_differ_in_what_they_are_named_after_alone(protocol):
    mined, all_of_them = (protocol.settings(mining_arm(ratio), 1) for ratio in (0.7, 1.0))
    assert (mined.mining_ratio, all_of_them.mining_ratio) == (0.7, 1.0)
    assert replace(mined, mining_ratio=1.0) == all_of_them
    assert (mined.schedule, mined.ema_decay) == ("constant", 0)
    assert [head.weight for head in mined.heads] == [1, 0, 0]
    joint, alone = (protocol.settings(landmark_arm(weight), 1) for weight in (2.0, 0.0))
    assert [[head.weight for head in arm.heads] for arm in (joint, alone)] == [[1.0, 0.5, 2.0], [1.0, 0.5, 0.0]]
    assert replace(joint, heads=alone.heads) == alone


def test_faces_alone_are_learned_from_negatives_and_positives(protocol):
    trainer = DetectorRun(protocol.settings(mining_arm(0.7), 1), protocol.samples, protocol.out)
    _, kinds, _ = trainer.data.prepare(0)
    assert np.bincount(kinds, minlength=4).tolist() == [21, 7, 0, 0]


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_landmark_weight_switches_the_task(protocol, weight):
    arm = landmark_arm(weight)
    before = DetectorRun(protocol.settings(arm, 1), protocol.samples, protocol.out / "untrained").network.state_dict()
    after = protocol.network(arm, 1).state_dict()
    head = [name for name in before if name.endswith("weight")][-1]
    assert not torch.equal(before[head][:6], after[head][:6])
    assert torch.equal(before[head][6:], after[head][6:]) == (weight == 0)
