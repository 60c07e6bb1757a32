"""The training loop: batches, schedule, resuming, and what makes it stop."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from cascade.nn.architectures import ARCHITECTURES
from tests.train.runs import Stopped, rows, state, stop_after, tensors, without_time
from train.common.checkpoints import TrainingError
from train.common.device import chosen_device
from train.common.settings import save_settings, with_changes
from train.detection.batches import Batches, split
from train.detection.labels import LANDMARK, NEGATIVE, PART, POSITIVE
from train.detection.sample_store import Samples
from train.detection.settings import TrainSettings, paper_preset
from train.detection.trainer import DetectorRun, check_resumable, train

SETTINGS = TrainSettings("pnet", steps=6, batch=70, log_every=1, checkpoint_every=3, validation_share=0.1)


def samples(n: int = 420, side: int = 25, seed: int = 0, kinds: np.ndarray | None = None) -> Samples:
    """Crops that are easy to tell apart: what has a face is bright in the middle, more to the left for small boxes."""
    rng = np.random.default_rng(seed)
    if kinds is None:
        kinds = rng.choice(4, n, p=[0.4, 0.2, 0.2, 0.2])
    n = len(kinds)
    crops = rng.integers(40, 90, (n, side, side, 3))
    faces = kinds != NEGATIVE
    crops[faces, 6:-6, 6:-6] += 120
    targets = np.full((n, 14), np.nan, np.float32)
    targets[faces, :4] = np.array([0.1, 0.0, 0.9, 1.0]) + rng.normal(0, 0.02, (faces.sum(), 4))
    targets[faces, 4:] = np.tile((0.3, 0.4, 0.7, 0.4, 0.5, 0.6, 0.35, 0.8, 0.65, 0.8), (faces.sum(), 1))
    return Samples(crops.astype(np.uint8), kinds.astype(np.uint8), targets, {})


def batches_of(made: Samples, **changes) -> Batches:
    settings = replace(SETTINGS, **changes)
    architecture = ARCHITECTURES[settings.family][settings.stage]
    return Batches(made, np.arange(len(made)), settings, architecture, torch.device("cpu"))


# --------------------------------------------------------------------------------------------------
# batches


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


def test_every_sample_has_its_turn():
    made = samples()
    # the first bytes of a crop tell which one it is
    marked = made.crops.copy()
    marked[:, 0, 0, 0], marked[:, 0, 0, 1] = np.arange(len(made)) // 256, np.arange(len(made)) % 256
    made = replace(made, crops=marked)
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
    assert counts((NEGATIVE, POSITIVE, PART, LANDMARK), ratio=(3, 1, 1, 0)) == [42, 14, 14, 0]
    with pytest.raises(TrainingError, match="nothing to learn"):
        counts(())
    with pytest.raises(TrainingError, match="nothing to learn"):
        counts((LANDMARK,), ratio=(3, 1, 1, 0))


def test_fewer_samples_than_a_batch_takes_are_repeated():
    made = samples(kinds=np.array([NEGATIVE] * 7 + [POSITIVE] * 2 + [LANDMARK]))
    _, kinds, _ = batches_of(made).read(3)
    assert np.bincount(kinds, minlength=4).tolist() == [35, 11, 0, 23]


def test_validation_samples_are_the_last_ones():
    learned, kept = split(samples(), 0.1)
    assert learned.tolist() == list(range(378))
    assert kept.tolist() == list(range(378, 420))


# --------------------------------------------------------------------------------------------------
# schedule and settings


def test_the_one_cycle_schedule():
    settings = TrainSettings("pnet", steps=200, learning_rate=0.5)
    rates = [settings.rate(step) for step in range(200)]
    np.testing.assert_allclose(rates[:10], 0.05 * np.arange(1, 11))  # a twentieth of the run, in even steps
    assert rates[10] == pytest.approx(0.5)
    assert rates[105] == pytest.approx(0.5 * (0.001 + 0.999 / 2))  # half of the cosine
    assert settings.rate(200) == pytest.approx(0.0005)
    assert all(a > b > 0 for a, b in pairwise(rates[10:]))
    short = TrainSettings("pnet", steps=1, learning_rate=0.5)
    assert short.rate(0) == 0.5


def test_the_papers_recipe_is_constant():
    settings = paper_preset("rnet", 3200)
    assert [settings.rate(step) for step in (0, 5, 9999)] == [1e-3] * 3
    assert (settings.steps, settings.batch, settings.family) == (10_000, 32, "paper")
    assert (settings.batch_norm, settings.augment, settings.average, settings.weight_decay) == (False, False, 0, 0)
    assert settings.mining_ratio == 0.7


def test_settings_are_written_with_the_revision(tmp_path):
    save_settings(SETTINGS, tmp_path / "deep", samples={"photos": 3}, command="x")
    record = json.loads((tmp_path / "deep/settings.json").read_text())
    assert record["settings"] == json.loads(json.dumps(asdict(SETTINGS)))
    assert record["revision"]
    assert (record["samples"], record["command"]) == ({"photos": 3}, "x")


def test_with_changes_takes_what_is_said():
    changed = with_changes(SETTINGS, {"batch": 7, "augment": False, "steps": None, "seed": 0})
    assert changed == replace(SETTINGS, batch=7, augment=False, seed=0)


# --------------------------------------------------------------------------------------------------
# training


def test_augmentation_depends_on_the_step_and_on_nothing_else(tmp_path):
    # as many samples as a batch takes: each batch holds all of them, in an order of its own
    kinds = np.repeat([NEGATIVE, POSITIVE, PART, LANDMARK], [30, 10, 10, 20])
    alike = samples(kinds=kinds)
    alike.crops[:] = alike.crops[0]
    trainer = DetectorRun(replace(SETTINGS, validation_share=0.0), alike, tmp_path)
    first, again, second = (trainer.data.ahead(step)[0] for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    plain = DetectorRun(replace(SETTINGS, validation_share=0.0, augment=False), alike, tmp_path)
    assert torch.equal(plain.data.ahead(0)[0], plain.data.ahead(1)[0])


@pytest.mark.parametrize(
    "changes", [{}, {"family": "paper", "batch_norm": False, "average": 0.0, "schedule": "constant", "seed": 4}]
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
    for name, value in (("stage", "rnet"), ("family", "paper")):
        made = replace(samples(), meta={"settings": {name: value}})
        with pytest.raises(TrainingError, match=f"samples: made for {value}"):
            train(SETTINGS, made, tmp_path)


def test_the_loss_falls_and_the_network_learns(tmp_path):
    settings = replace(SETTINGS, steps=80, log_every=10, checkpoint_every=40, average=0.9, learning_rate=3e-3)
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
    network = train(replace(SETTINGS, average=0.0), samples(), tmp_path)
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


def test_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device().type == chosen_device("cpu").type == "cpu"
    with pytest.raises(TrainingError, match="device: torch finds no GPU"):
        chosen_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_device().type == chosen_device("cuda").type == "cuda"
    assert chosen_device("cpu").type == "cpu"


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
    settings = replace(SETTINGS, steps=300, log_every=50, learning_rate=3e-3, average=0.9)
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
    train(replace(SETTINGS, log_every=4), samples(), tmp_path / "some")
    each, some = rows(tmp_path / "each"), rows(tmp_path / "some")
    assert [row["step"] for row in some] == [4, 6]
    for name in ("total", "face", "box", "landmarks"):
        assert some[0][name] == pytest.approx(np.mean([row[name] for row in each[:4]]))
        assert some[1][name] == pytest.approx(np.mean([row[name] for row in each[4:]]))
