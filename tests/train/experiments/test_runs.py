"""Runs of experiments: shared, resumed, refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.train.experiment_runs import make, tree
from train.common.checkpoints import TrainingError
from train.detection.trainer import DetectorRun
from train.experiments import runs
from train.experiments.definitions import EXPERIMENTS, mining_arm
from train.experiments.onet import run_arms
from train.experiments.runs import open_samples


def test_runs_are_shared_and_complete_ones_are_left_alone(protocol, monkeypatch):
    trained = []
    honest = runs.train

    def counting(settings, samples, folder, architecture):
        trained.append(folder.parent.name)
        return honest(settings, samples, folder, architecture)

    monkeypatch.setattr(runs, "train", counting)
    run_arms(EXPERIMENTS["mining"], protocol, [1, 2], None)
    assert trained == ["mining-1", "mining-0.7"] * 2
    before = tree(protocol.out / "runs")
    trained.clear()
    run_arms(EXPERIMENTS["ratio"], protocol, [1], None)
    assert trained == ["mining-0.5", "mining-0.6", "mining-0.8"]
    run_arms(EXPERIMENTS["mining"], protocol, [2, 1], None)
    assert len(trained) == 3
    assert {path: time for path, time in tree(protocol.out / "runs").items() if path in before} == before


def test_a_run_that_was_stopped_ends_as_if_it_was_not(protocol, monkeypatch):
    arm = mining_arm(0.7)
    whole = replace(protocol, out=protocol.out / "whole").run(arm, 1)
    honest = DetectorRun.train_step
    with monkeypatch.context() as patch:
        patch.setattr(DetectorRun, "train_step", lambda self: honest(self) if self.step < 4 else 1 / 0)
        with pytest.raises(ZeroDivisionError):  # the power goes off
            protocol.run(arm, 1)
    resumed = protocol.run(arm, 1)
    assert resumed.figures == whole.figures
    assert resumed.curve(("validation", "face")) == whole.curve(("validation", "face"))
    steps, losses = resumed.curve(("validation", "face"))
    assert steps == [1, 2, 3, 4, 5, 6]
    assert resumed.figures["late_cross_entropy"] == pytest.approx((losses[4] + losses[5]) / 2)
    assert resumed.figures["cross_entropy"] == pytest.approx(losses[5])


def test_a_run_of_other_settings_or_samples_is_refused(protocol, tmp_path):
    arm = mining_arm(1.0)
    protocol.run(arm, 1)
    with pytest.raises(TrainingError, match="other settings"):
        replace(protocol, steps=7).run(arm, 1)
    with pytest.raises(TrainingError, match="other samples"):
        replace(protocol, samples=make(tmp_path / "others", "pnet", seed=3)).run(arm, 1)


def test_samples_of_another_family_or_stage_are_refused(tmp_path):
    make(tmp_path / "default", "onet", "default", n=4)
    make(tmp_path / "pnet", "pnet", n=4)
    with pytest.raises(TrainingError, match="made for family 'default', expected 'paper'"):
        open_samples(tmp_path / "default", "onet")
    with pytest.raises(TrainingError, match="made for stage 'pnet', expected 'onet'"):
        open_samples(tmp_path / "pnet", "onet")
    assert len(open_samples(tmp_path / "pnet", "pnet")) == 4
