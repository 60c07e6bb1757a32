"""Training a recogniser with a teacher at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.train.packed_faces import ALONE, PLAIN, SETTINGS, embedded, packed, tiny, tiny_teacher, wider
from tests.train.runs import Stopped, rows, stop_after, without_time
from train.common.checkpoints import TrainingError
from train.recognition.architectures import ARCHITECTURES
from train.recognition.teacher import Teacher
from train.recognition.trainer import RecognitionRun, train_recognition

# What a teacher says alone.
TAUGHT = replace(SETTINGS, **PLAIN, lambda_identity=0.0, lambda_maps=2.0, learning_rate=1e-2)


@pytest.fixture
def teacher(tmp_path) -> Teacher:
    return Teacher(*tiny_teacher(tmp_path))


def trainer_of(settings, faces, out, teacher=None, **changes) -> RecognitionRun:
    return RecognitionRun(replace(settings, **changes), faces, out, ALONE, teacher)


def test_steps_with_a_teacher_lead_towards_it(often, tmp_path, teacher):
    faces = embedded(packed(), teacher)
    out = tmp_path / "run"
    settings = replace(TAUGHT, steps=24)
    model = train_recognition(settings, faces, out, ALONE, teacher)
    found = rows(out)
    for name in ("maps", "distillation", "total"):
        means = [np.mean([row[name] for row in part]) for part in (found[:4], found[-4:])]
        assert means[1] < 0.6 * means[0], name
    assert all(row["total"] == pytest.approx(2 * row["maps"] + 10 * row["distillation"], rel=1e-4) for row in found)
    assert model.exposed == ()  # which is only needed to learn


def test_a_teacher_stays_as_it_is(tmp_path, often, teacher):
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    trainer = trainer_of(TAUGHT, embedded(packed(), teacher), tmp_path / "run", teacher)
    trainer.train_step()
    trainer.batches.close()
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    learning = {id(p) for group in trainer.optimiser.param_groups for p in group["params"]}
    assert not learning & {id(p) for p in teacher.parameters()}


def test_what_a_teacher_is_asked(often, tmp_path, teacher):
    """The mean direction of what it says of the changed faces and of the faces as they are; of averages the first."""
    trainer = trainer_of(TAUGHT, embedded(packed(), teacher), tmp_path / "run", teacher)
    batch = trainer.next_batch()
    trainer.batches.close()
    labels = trainer.labels(batch)
    goal, (first, second) = labels.teacher, labels.teacher_maps
    now, maps = teacher(batch.inputs, (0,))
    average = ~batch.teacher.any(1)
    assert 0 < int(average.sum()) < len(average)
    torch.testing.assert_close(goal[average], now[average])
    both = functional.normalize((now + batch.teacher) / 2)
    torch.testing.assert_close(goal[~average], both[~average])
    assert not torch.allclose(goal[~average], now[~average], atol=1e-3)  # augmentation shows
    assert torch.equal(first, maps[0]) and torch.equal(second, maps[0])
    # a batch without embeddings has maps to match and nothing to repeat
    again = trainer.labels(replace(batch, teacher=None))
    assert again.teacher is None
    assert [torch.equal(one, two) for one, two in zip(again.teacher_maps, (first, second), strict=True)] == [True] * 2


def test_without_a_teacher_at_hand_its_embeddings_are_repeated(often, tmp_path):
    trainer = trainer_of(SETTINGS, packed(), tmp_path)
    batch = trainer.next_batch()
    trainer.batches.close()
    labels = trainer.labels(batch)
    assert labels.teacher is batch.teacher and list(labels.teacher_maps) == []
    assert trainer.model.exposed == ()


def test_maps_alone_can_be_learned(often, tmp_path, teacher):
    settings = replace(TAUGHT, lambda_distillation=0.0, lambda_identity=0.02, steps=1)
    train_recognition(settings, embedded(packed(), teacher), tmp_path / "run", ALONE, teacher)
    (row,) = rows(tmp_path / "run")
    assert row["maps"] > 0 and row["distillation"] == 0


@pytest.mark.parametrize("about", [{"network": "tiny_teacher", "sha256": "0" * 64}, {"network": "tiny_teacher"}, None])
def test_a_teacher_other_than_that_of_the_embeddings_is_refused(often, tmp_path, teacher, about):
    faces = replace(embedded(packed(), teacher), teacher=about)
    message = "teacher: the embeddings of the faces are of another network; run `embeddings` with this one"
    for settings in (TAUGHT, replace(TAUGHT, lambda_distillation=0.0)):
        with pytest.raises(TrainingError, match=message):
            train_recognition(settings, faces, tmp_path / "run", ALONE, teacher)
    train_recognition(replace(TAUGHT, lambda_maps=0.0, steps=1), faces, tmp_path / "run", ALONE)


@pytest.mark.parametrize("weight", [0.0, 10.0])
def test_a_teacher_needs_faces_with_embeddings(often, tmp_path, teacher, weight):
    settings = replace(TAUGHT, lambda_distillation=weight, lambda_identity=0.02)
    with pytest.raises(TrainingError, match="faces: a teacher's embeddings are missing; run `embeddings` first"):
        train_recognition(settings, packed(teacher=False), tmp_path / "run", ALONE, teacher)


def test_maps_of_the_same_shape_are_matched(often, tmp_path, teacher):
    faces = embedded(packed(), teacher)
    trainer = trainer_of(TAUGHT, faces, tmp_path / "one", teacher)
    assert trainer.matched == tuple((own, 0) for own in tiny(False).skips)
    assert trainer.model.exposed == tiny(False).skips
    without = trainer_of(TAUGHT, faces, tmp_path / "two", teacher, lambda_maps=0.0)
    assert without.matched == without.model.exposed == ()
    for each in (trainer, without):
        each.batches.close()


def test_averages_need_a_teacher_at_hand(often, tmp_path, teacher):
    faces = embedded(packed(), teacher)
    assert trainer_of(TAUGHT, faces, tmp_path / "one", teacher).data.counts[3] > 0
    assert trainer_of(TAUGHT, faces, tmp_path / "two", lambda_maps=0.0).data.counts[3] == 0


def test_maps_without_a_teacher_are_refused(often, tmp_path):
    with pytest.raises(TrainingError, match="lambda_maps: needs the teacher's network, not its embeddings alone"):
        train_recognition(replace(SETTINGS, lambda_maps=1.0), packed(), tmp_path, ALONE)


def test_a_teacher_of_other_maps_is_refused(often, tmp_path, monkeypatch, teacher):
    monkeypatch.setitem(ARCHITECTURES, "light", wider)
    with pytest.raises(TrainingError, match="lambda_maps: no map of wider has the shape of one of tiny_teacher"):
        train_recognition(TAUGHT, embedded(packed(), teacher), tmp_path / "run", ALONE, teacher)
    # its embeddings are of use all the same
    settings = replace(TAUGHT, lambda_maps=0.0, steps=1)
    train_recognition(settings, embedded(packed(), teacher), tmp_path / "run", ALONE, teacher)


def test_a_resumed_run_with_a_teacher_equals_an_uninterrupted_one(often, tmp_path, monkeypatch, teacher):
    faces = embedded(packed(), teacher)
    whole = train_recognition(TAUGHT, faces, tmp_path / "whole", ALONE, teacher)
    with monkeypatch.context() as patch:
        stop_after(patch, RecognitionRun, 4)
        with pytest.raises(Stopped):
            train_recognition(TAUGHT, faces, tmp_path / "parts", ALONE, teacher)
    resumed = train_recognition(TAUGHT, faces, tmp_path / "parts", ALONE, teacher)
    pairs = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert without_time(tmp_path / "whole") == without_time(tmp_path / "parts")


def test_what_is_compiled(often, tmp_path, monkeypatch, teacher):
    """The networks that training runs, and not the averaged one that is measured now and then."""
    compiled: list[torch.nn.Module] = []

    def compile_(module: torch.nn.Module) -> None:
        compiled.append(module)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_)
    faces = embedded(packed(), teacher)
    trainer_of(TAUGHT, faces, tmp_path / "none", teacher)
    assert compiled == []
    trainer = trainer_of(TAUGHT, faces, tmp_path / "both", teacher, compiled=True)
    assert compiled == [trainer.model.network, teacher.network]
    alone = trainer_of(TAUGHT, faces, tmp_path / "one", lambda_maps=0.0, compiled=True)
    assert compiled[2:] == [alone.model.network]
