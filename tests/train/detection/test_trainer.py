"""Training a network of the detector: resuming, starting from a run, and what makes it stop."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.easy_samples import SETTINGS, samples
from tests.train.runs import Stopped, rows, state, stop_after, tensors, without_time
from train.common.checkpoints import TrainingError
from train.detection.labels import NEGATIVE, PART, POSITIVE
from train.detection.trainer import DetectorRun, check_resumable, train


@pytest.mark.parametrize(
    "changes", [{}, {"family": "paper", "batch_norm": False, "ema_decay": 0.0, "schedule": "constant", "seed": 4}]
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, monkeypatch, changes):
    settings, made = replace(SETTINGS, **changes), samples()
    whole = train(settings, made, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, DetectorRun, 5)
        with pytest.raises(Stopped):
            train(settings, made, tmp_path / "parts")
    assert state(tmp_path / "parts")["step"] == 3
    assert [row["step"] for row in rows(tmp_path / "parts")] == [1, 2, 3, 4, 5]
    resumed = train(settings, made, tmp_path / "parts")

    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    one, two = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(two), strict=True))
    assert without_time(tmp_path / "whole") == without_time(tmp_path / "parts")
    assert [row["step"] for row in rows(tmp_path / "parts")] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows(tmp_path / "parts") if "validation" in row] == [3, 6]
    # and once more, when all is done
    before = (tmp_path / "parts/metrics.jsonl").read_bytes()
    again = train(settings, made, tmp_path / "parts")
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), whole.state_dict().values(), strict=True))
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == before


def test_a_run_that_is_killed_right_after_a_checkpoint_has_its_row(tmp_path, monkeypatch):
    save = DetectorRun.save

    def killed(self):
        save(self)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(DetectorRun, "save", killed)
        with pytest.raises(Stopped):
            train(SETTINGS, samples(), tmp_path)
    train(SETTINGS, samples(), tmp_path)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows(tmp_path) if "validation" in row] == [3, 6]


def test_another_seed_is_another_run(tmp_path):
    made = samples()
    one = train(replace(SETTINGS, steps=2), made, tmp_path / "one")
    two = train(replace(SETTINGS, steps=2, seed=2), made, tmp_path / "two")
    assert not torch.equal(one.blocks[0][0].weight, two.blocks[0][0].weight)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    made = samples()
    check_resumable(SETTINGS, tmp_path)
    train(replace(SETTINGS, steps=3), made, tmp_path)
    check_resumable(replace(SETTINGS, steps=3), tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    for refuse in (check_resumable, lambda settings, out: train(settings, made, out)):
        with pytest.raises(TrainingError, match=r"checkpoint\.pt was made with other settings"):
            refuse(replace(SETTINGS, steps=3, learning_rate=0.1), tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_checkpoint_from_before_a_setting_came_up_is_resumed(tmp_path):
    made = samples()
    train(replace(SETTINGS, steps=3), made, tmp_path)
    old = state(tmp_path)
    del old["settings"]["start"]
    torch.save(old, tmp_path / "checkpoint.pt")
    train(replace(SETTINGS, steps=3), made, tmp_path)
    with pytest.raises(TrainingError, match="other settings"):
        check_resumable(replace(SETTINGS, steps=3, start="x"), tmp_path)


def test_starting_from_an_earlier_run(tmp_path):
    made = samples()
    train(SETTINGS, made, tmp_path / "one")
    settings = replace(SETTINGS, start=str(tmp_path / "one/checkpoint.pt"), learning_rate=1e-3)
    trainer = DetectorRun(settings, made, tmp_path / "two")
    averaged = state(tmp_path / "one")["averaged"]
    for network in (trainer.network, trainer.averaged):
        assert all(torch.equal(averaged[name], tensor) for name, tensor in network.state_dict().items())
    train(settings, made, tmp_path / "two")
    assert [row["step"] for row in rows(tmp_path / "two")] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(FileNotFoundError):
        DetectorRun(replace(SETTINGS, start=str(tmp_path / "none.pt")), made, tmp_path / "three")


def test_checkpoints_between_rows_of_metrics(tmp_path, monkeypatch):
    settings, made = replace(SETTINGS, log_every=4, checkpoint_every=3), samples()
    train(settings, made, tmp_path / "once")
    assert [row["step"] for row in rows(tmp_path / "once")] == [3, 4, 6]
    with monkeypatch.context() as patch:
        stop_after(patch, DetectorRun, 5)
        with pytest.raises(Stopped):
            train(settings, made, tmp_path / "parts")
    assert state(tmp_path / "parts")["step"] == 3
    train(settings, made, tmp_path / "parts")
    assert without_time(tmp_path / "once") == without_time(tmp_path / "parts")


def test_resuming_needs_the_start_no_more(tmp_path):
    made = samples()
    train(SETTINGS, made, tmp_path / "one")
    settings = replace(SETTINGS, start=str(tmp_path / "one/checkpoint.pt"))
    once = train(settings, made, tmp_path / "two")
    (tmp_path / "one/checkpoint.pt").unlink()
    again = train(settings, made, tmp_path / "two")
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), once.state_dict().values(), strict=True))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    made = samples()
    made.targets[np.flatnonzero(made.kinds == PART)[0], 2] = np.inf
    with pytest.raises(TrainingError, match="not finite at step 1"):
        train(replace(SETTINGS, batch=700, augment=False), made, tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()
    assert rows(tmp_path) == []


def test_a_learning_rate_that_explodes_stops_the_run(tmp_path):
    wild = replace(SETTINGS, learning_rate=1e30, schedule="constant", batch_norm=False, family="paper")
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(wild, samples(), tmp_path)


def test_a_network_that_a_family_lacks_is_named(tmp_path):
    with pytest.raises(TrainingError, match="'paper' has pnet, rnet, onet, no lnet"):
        train(replace(SETTINGS, stage="lnet", family="paper"), samples(), tmp_path)


def test_samples_for_another_network_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="crops of 20 pixels, pnet needs 23"):
        train(SETTINGS, samples(side=20), tmp_path)
    paper, ours = ({"size": size, "window": 12} for size in (12, 23))
    for meta, message in (
        ({"settings": {"stage": "rnet"}}, "made for rnet, the stage to train is pnet"),
        ({"settings": {"family": "paper"}, "input": paper}, "made for the family paper, of 12 pixels around a window"),
        (
            {"settings": {"family": "default"}, "input": ours | {"window": 9}},
            "made for the family default, of 23 pixels around a window of 9;",
        ),
        (
            {"settings": {"family": "other"}, "input": ours | {"size": 21}},
            "made for the family other, of 21 pixels around a window of 12;",
        ),
        ({"settings": {"family": "default"}}, "cut by an earlier version"),
    ):
        with pytest.raises(TrainingError, match=f"samples: {message}"):
            train(SETTINGS, replace(samples(), meta=meta), tmp_path)


def test_samples_of_a_network_that_sees_more_around_the_window_give_their_middle(tmp_path):
    cut = {"settings": {"stage": "pnet", "family": "other"}, "input": {"size": 31, "window": 12}}
    larger = replace(samples(side=33), meta=cut)
    middle = replace(larger, crops=larger.crops[:, 4:-4, 4:-4], meta={})
    weights = [train(SETTINGS, given, tmp_path / name).state_dict() for name, given in (("a", larger), ("b", middle))]
    for name, values in weights[0].items():
        assert torch.equal(values, weights[1][name]), name


def test_the_loss_falls_and_the_network_learns(tmp_path):
    settings = replace(SETTINGS, steps=80, log_every=10, checkpoint_every=40, ema_decay=0.9, learning_rate=3e-3)
    network = train(settings, samples(), tmp_path)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == list(range(10, 81, 10))
    assert {"total", "face", "box", "landmarks", "rate", "seconds"} <= set(found[0])
    for name in ("total", "face", "box", "landmarks"):
        assert found[-1][name] < 0.5 * found[0][name], name
    assert found[-1]["validation"]["accuracy"] > 0.95
    assert found[-1]["validation"]["landmarks"] < 0.2
    assert found[-1]["rate"] == pytest.approx(settings.rate(79))
    # what comes back is the average, ready to be used
    assert not network.training
    averaged = state(tmp_path)["averaged"]
    assert all(torch.equal(averaged[name], tensor) for name, tensor in network.state_dict().items())


def test_without_an_average_the_network_itself_comes_back(tmp_path):
    network = train(replace(SETTINGS, ema_decay=0.0), samples(), tmp_path)
    assert not network.training
    kept = state(tmp_path)["network"]
    assert all(torch.equal(kept[name], tensor) for name, tensor in network.state_dict().items())


def test_without_the_landmark_task_its_loss_is_zero(tmp_path):
    train(SETTINGS.without_landmarks(), samples(), tmp_path)
    assert [row["landmarks"] for row in rows(tmp_path)] == [0.0] * 6
    assert all(row["face"] > 0 for row in rows(tmp_path))


def test_validation_without_faces_or_backgrounds(tmp_path):
    """The metrics stay JSON that every reader takes: no NaN."""
    kinds = np.array([NEGATIVE, POSITIVE, PART] * 60 + [PART] * 20)
    train(SETTINGS, samples(kinds=kinds), tmp_path)
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert "accuracy" not in rows(tmp_path)[-1]["validation"]
    train(replace(SETTINGS, validation_share=0.0), samples(kinds=kinds), tmp_path / "none")
    assert not rows(tmp_path / "none")[-1]["validation"]


def test_the_device_is_no_setting(tmp_path):
    """So that a run may go on elsewhere."""
    train(SETTINGS, samples(), tmp_path, device=torch.device("cpu"))
    assert "device" not in state(tmp_path)["settings"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_run_begun_on_a_gpu_goes_on_on_the_cpu(tmp_path, monkeypatch):
    made = samples()
    trainer = DetectorRun(SETTINGS, made, tmp_path / "step", device=torch.device("cuda"))
    inputs, kinds, targets = trainer.next_batch()
    assert (inputs.device.type, kinds.device.type, targets.device.type) == ("cuda", "cpu", "cuda")
    assert math.isfinite(trainer.train_step()["total"].item())
    trainer.batches.close()
    with monkeypatch.context() as patch:
        stop_after(patch, DetectorRun, 4)
        with pytest.raises(Stopped):
            train(SETTINGS, made, tmp_path / "run", device=torch.device("cuda"))
    network = train(SETTINGS, made, tmp_path / "run", device=torch.device("cpu"))
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"cpu"}
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    settings = replace(SETTINGS, steps=300, log_every=50, learning_rate=3e-3, ema_decay=0.9)
    network = train(settings, made, tmp_path / "learns", device=torch.device("cuda"))
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"cpu"}
    assert rows(tmp_path / "learns")[-1]["validation"]["accuracy"] > 0.95


def test_a_loss_that_was_not_finite_is_found_before_anything_is_saved(tmp_path, monkeypatch):
    honest = DetectorRun.train_step

    def train_step(run):
        losses = honest(run)
        return losses | {"total": losses["total"] * math.inf} if run.step == 2 else losses

    monkeypatch.setattr(DetectorRun, "train_step", train_step)
    with pytest.raises(TrainingError, match="not finite at step 3"):
        train(replace(SETTINGS, log_every=3), samples(), tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_no_thread_is_left_behind(tmp_path):
    """Sampling forks later, and a fork takes no threads along."""
    train(SETTINGS, samples(), tmp_path / "a")
    with pytest.raises(TrainingError) as caught:  # whose traceback keeps the trainer alive
        train(replace(SETTINGS, learning_rate=math.inf), samples(), tmp_path / "b")
    assert caught.tb is not None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare")]


def test_metrics_are_means_since_the_last_row(tmp_path):
    train(SETTINGS, samples(), tmp_path / "each")
    train(replace(SETTINGS, log_every=4, checkpoint_every=8), samples(), tmp_path / "some")
    each, some = rows(tmp_path / "each"), rows(tmp_path / "some")
    assert [row["step"] for row in some] == [4, 6]
    for name in ("total", "face", "box", "landmarks"):
        assert some[0][name] == pytest.approx(np.mean([row[name] for row in each[:4]]))
        assert some[1][name] == pytest.approx(np.mean([row[name] for row in each[4:]]))
