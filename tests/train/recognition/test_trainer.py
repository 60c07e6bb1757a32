"""Training a recogniser: resuming, metrics, and what makes it stop."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.packed_faces import ALONE, PLAIN, SETTINGS, packed, tiny
from tests.train.runs import Stopped, rows, state, stop_after, tensors, without_time
from train.common.checkpoints import TrainingError
from train.recognition import trainer as loop
from train.recognition.batches import split
from train.recognition.curves import plot_recognition
from train.recognition.losses import LOSSES
from train.recognition.measures import measure
from train.recognition.model import RecognitionModel
from train.recognition.trainer import RecognitionRun, train_recognition


def test_losses_fall_and_held_out_faces_are_known_better(tiny_architecture, monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "LOG_EVERY", 10)
    monkeypatch.setattr(loop, "SAVE_EVERY", 20)
    settings = replace(SETTINGS, steps=40, batch=24, learning_rate=1e-2, augment=False, lambda_age=0.003)
    model = train_recognition(settings, packed(), tmp_path, ALONE)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == [10, 20, 30, 40]
    assert {"total", *LOSSES, "step", "rate", "seconds"} <= set(found[0])
    assert all(found[-1][name] < 0.7 * found[0][name] for name in ("total", "distillation", "identity", "age"))
    assert found[-1]["rate"] == pytest.approx(settings.rate(39))
    checked = [row["validation"] for row in found if "validation" in row]
    assert len(checked) == 2
    torch.manual_seed(settings.seed)
    untrained = RecognitionModel(tiny(), model.identity.centres.shape[0], True)
    before = measure(untrained, packed(), split(packed(), settings.validation)[1])
    assert checked[-1]["eer"] <= 0.1
    assert checked[-1]["age_mae"] < 0.7 * before["age_mae"]
    # what comes back is the average
    assert not model.training
    averaged = state(tmp_path)["averaged"]
    assert all(torch.equal(averaged[name], tensor) for name, tensor in model.state_dict().items())
    plot_recognition(tmp_path / "metrics.jsonl", tmp_path / "losses.png")
    assert (tmp_path / "losses.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "changes",
    [{}, {**PLAIN, "optimiser": "sgd", "schedule": "steps", "milestones": (0.5,), "augment": False, "seed": 3}],
    ids=["light", "plain by SGD"],
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(often, tmp_path, monkeypatch, changes):
    settings, faces = replace(SETTINGS, **changes), packed()
    whole = train_recognition(settings, faces, tmp_path / "whole", ALONE)
    with monkeypatch.context() as patch:
        stop_after(patch, RecognitionRun, 5)
        with pytest.raises(Stopped):
            train_recognition(settings, faces, tmp_path / "parts", ALONE)
    assert state(tmp_path / "parts")["step"] == 3
    assert [row["step"] for row in rows(tmp_path / "parts")] == [1, 2, 3, 4, 5]
    torch.randn(5)  # whatever else happens to the generator of all
    resumed = train_recognition(settings, faces, tmp_path / "parts", ALONE)

    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    one, two = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(two), strict=True))
    assert without_time(tmp_path / "whole") == without_time(tmp_path / "parts")
    assert [row["step"] for row in rows(tmp_path / "parts") if "validation" in row] == [3, 6]
    # and once more, when all is done
    before = (tmp_path / "parts/metrics.jsonl").read_bytes()
    again = train_recognition(settings, faces, tmp_path / "parts", ALONE)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), whole.state_dict().values(), strict=True))
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == before


def test_another_seed_is_another_run(often, tmp_path):
    one, two = (
        train_recognition(replace(SETTINGS, steps=1, seed=seed), packed(), tmp_path / str(seed), ALONE)
        for seed in (0, 1)
    )
    assert not torch.equal(one.network.blocks[0][0].weight, two.network.blocks[0][0].weight)


def test_a_checkpoint_of_other_settings_is_refused(often, tmp_path):
    train_recognition(SETTINGS, packed(), tmp_path, ALONE)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(TrainingError, match=r"checkpoint\.pt was made with other settings"):
        train_recognition(replace(SETTINGS, learning_rate=0.1), packed(), tmp_path, ALONE)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_checkpoint_of_other_people_is_refused(often, tmp_path):
    train_recognition(SETTINGS, packed(), tmp_path, ALONE)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt was made with other data"):
        train_recognition(SETTINGS, packed(people=20), tmp_path, ALONE)


def test_a_loss_that_is_not_finite_stops_the_run(often, tmp_path):
    faces = packed()
    faces.embeddings[:] = np.nan
    with pytest.raises(TrainingError, match="not finite at step 1; lower the learning rate"):
        train_recognition(SETTINGS, faces, tmp_path, ALONE)
    assert not (tmp_path / "checkpoint.pt").exists()
    assert rows(tmp_path) == []


def test_no_thread_is_left_behind(often, tmp_path):
    with pytest.raises(TrainingError) as caught:  # whose traceback keeps the trainer alive
        train_recognition(replace(SETTINGS, learning_rate=math.inf), packed(), tmp_path, ALONE)
    assert caught.tb is not None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare")]


@pytest.mark.parametrize(
    ("faces", "changes", "message"),
    [
        ({"teacher": False}, {}, "a teacher's embeddings are missing; run `embeddings` first"),
        ({"people": 0, "aged": 0, "teacher": False}, {"lambda_distillation": 0.0}, "nothing to learn from"),
        ({"people": 0}, {**PLAIN, "lambda_distillation": 0.0}, "nothing to learn from with these losses"),
        ({"aged": 0}, {"lambda_distillation": 0.0, "lambda_identity": 0.0}, "nothing to learn from with these losses"),
    ],
)
def test_faces_that_do_not_fit_the_losses(often, tmp_path, faces, changes, message):
    with pytest.raises(TrainingError, match=f"faces: .*{message}"):
        train_recognition(replace(SETTINGS, **changes), packed(**faces), tmp_path, ALONE)


def test_a_teacher_of_other_dimensions_is_refused(often, tmp_path):
    faces = packed()
    faces = replace(faces, embeddings=np.ones((len(faces), 5), np.float32))
    with pytest.raises(TrainingError, match="the teacher's embeddings have 5 numbers, tiny has 8"):
        train_recognition(SETTINGS, faces, tmp_path, ALONE)


@pytest.mark.parametrize(
    ("faces", "changes", "absent"),
    [
        ({"people": 0}, {}, {"identity"}),
        ({"aged": 0}, {}, {"age", "adversary"}),
        ({}, {"lambda_identity": 0.0}, {"identity"}),
        ({}, {"lambda_adversary": 0.0}, {"adversary"}),
        ({"teacher": False}, {"lambda_distillation": 0.0}, {"distillation"}),
        ({}, PLAIN, {"age", "adversary"}),
        ({"people": 5, "nameless": 0, "aged": 0}, {"validation": 0.05}, {"age", "adversary"}),
    ],
)
def test_runs_with_less(often, tmp_path, faces, changes, absent):
    """Without some labels, losses or faces to measure on: metrics stay JSON that every reader takes."""
    train_recognition(replace(SETTINGS, steps=1, **changes), packed(**faces), tmp_path, ALONE)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    row = json.loads(line, parse_constant=pytest.fail)
    assert {name for name in LOSSES if row[name] == 0} == {"maps", *absent}


def test_bfloat16_on_a_cpu_is_near_float32_and_not_the_same(often, tmp_path):
    losses = {}
    for precision in ("float32", "bfloat16"):
        settings = replace(SETTINGS, steps=1, precision=precision)
        train_recognition(settings, packed(), tmp_path / precision, ALONE)
        (line,) = (tmp_path / precision / "metrics.jsonl").read_text().splitlines()
        losses[precision] = json.loads(line)["distillation"]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.05)


def test_metrics_are_means_since_the_last_row(often, tmp_path, monkeypatch):
    train_recognition(SETTINGS, packed(), tmp_path / "each", ALONE)
    monkeypatch.setattr(loop, "LOG_EVERY", 4)
    monkeypatch.setattr(loop, "SAVE_EVERY", 8)
    train_recognition(SETTINGS, packed(), tmp_path / "some", ALONE)
    each, some = rows(tmp_path / "each"), rows(tmp_path / "some")
    assert [row["step"] for row in some] == [4, 6]
    for name in ("total", *LOSSES):
        assert some[0][name] == pytest.approx(np.mean([row[name] for row in each[:4]]))
        assert some[1][name] == pytest.approx(np.mean([row[name] for row in each[4:]]))


def test_the_total_is_the_weighted_sum(often, tmp_path):
    train_recognition(SETTINGS, packed(), tmp_path, ALONE)
    for row in rows(tmp_path):
        weighed = sum(row[name] * weight for name, weight in SETTINGS.weights().items())
        assert row["total"] == pytest.approx(weighed, rel=1e-5)


def test_the_average_follows_the_weights(often, tmp_path):
    trainer = RecognitionRun(SETTINGS, packed(), tmp_path, ALONE)
    before = trainer.averaged.network.blocks[0][0].weight.clone()
    trainer.train_step()
    trainer.batches.close()
    now = trainer.model.network.blocks[0][0].weight.detach()
    expected = before + (now - before) * 10 / 11  # of the first step a decay of 1 / 11
    torch.testing.assert_close(trainer.averaged.network.blocks[0][0].weight, expected)
    batches = trainer.averaged.network.blocks[0][1].num_batches_tracked
    assert int(batches) == 1


def test_decay_falls_on_matrices_and_filters(often, tmp_path):
    trainer = RecognitionRun(SETTINGS, packed(), tmp_path, ALONE)
    decayed, others = trainer.optimiser.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (SETTINGS.weight_decay, 0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in others["params"]} == {1}
    assert len(decayed["params"]) + len(others["params"]) == len(list(trainer.model.parameters()))
    trainer.batches.close()
