"""Learning from a larger network: what is compared with it, what both see, and which networks can teach."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import cascade.models
from cascade.models.detector import load_stage, save_stage, stage_file
from cascade.nn.architectures import ARCHITECTURES
from cascade.nn.heads import DETECTION_HEADS, Head, head_slices
from cascade.nn.torch_network import from_tensors
from tests.train.easy_samples import SETTINGS, samples
from tests.train.runs import Stopped, rows, stop_after
from train.common.checkpoints import TrainingError
from train.detection.labels import LANDMARK, NEGATIVE, PART, POSITIVE
from train.detection.settings import TrainSettings
from train.detection.teacher import Teacher, distillation_loss
from train.detection.trainer import DetectorRun, train

SETS = Path(cascade.models.__file__).parent / "weights/detection"
LARGE = stage_file(SETS / "accurate", "onet")
SMALL = stage_file(SETS / "default", "onet")
FACE, BOX, LANDMARKS = head_slices(DETECTION_HEADS).values()
KINDS = torch.tensor([NEGATIVE, POSITIVE, PART, LANDMARK])


def outputs_of(*places: tuple[int, slice]) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs that want a gradient and a teacher's, the same but for these rows and heads."""
    outputs = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    taught = outputs.clone()
    for row, place in places:
        taught[row, place] += torch.arange(1, place.stop - place.start + 1)
    return outputs.requires_grad_(), taught


def test_who_says_the_same_as_the_teacher_has_nothing_to_learn():
    outputs, taught = outputs_of()
    loss = distillation_loss(outputs, taught, KINDS, TrainSettings("onet").heads, DETECTION_HEADS)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert outputs.grad.abs().max() < 1e-6


@pytest.mark.parametrize("row", range(4))
def test_faces_are_compared_in_all_samples(row):
    outputs, taught = outputs_of((row, FACE))
    distillation_loss(outputs, taught, KINDS, DETECTION_HEADS, DETECTION_HEADS, 1.0).backward()
    given = torch.softmax(outputs[row, FACE].detach(), 0) - torch.softmax(taught[row, FACE], 0)
    torch.testing.assert_close(outputs.grad[row, FACE], given / 4)  # of the mean over four samples
    outputs.grad[row] = 0
    assert outputs.grad.abs().max() < 1e-6


@pytest.mark.parametrize("place", [BOX, LANDMARKS])
def test_boxes_and_landmarks_are_compared_where_there_is_a_face(place):
    outputs, taught = outputs_of(*((row, place) for row in range(4)))
    distillation_loss(outputs, taught, KINDS, DETECTION_HEADS, DETECTION_HEADS).backward()
    moved = outputs.grad[:, place].abs().sum(dim=1) > 0
    assert moved.tolist() == [False, True, True, True]


def test_a_teacher_without_landmarks_teaches_the_rest():
    outputs, taught = outputs_of((1, FACE), (2, BOX))
    distillation_loss(outputs, taught[:, :6], KINDS, DETECTION_HEADS, DETECTION_HEADS[:2]).backward()
    assert outputs.grad[:, :6].abs().max() > 0
    assert outputs.grad[:, LANDMARKS].abs().max() == 0


def test_heads_are_compared_by_name_and_classes_of_other_things_not_at_all():
    hat = Head("hat", 2, "cross_entropy")
    outputs, taught = outputs_of((1, FACE), (1, BOX), (1, LANDMARKS))
    heads = (*DETECTION_HEADS[:2], hat)
    distillation_loss(outputs[:, :8], taught[:, :8], KINDS, heads, heads).backward()
    assert outputs.grad[:, :6].abs().max() > 0
    assert outputs.grad[:, 6:].abs().max() == 0
    swapped = torch.cat([outputs[:, BOX], outputs[:, FACE]], dim=1).detach()  # a teacher with its box before its face
    same = distillation_loss(outputs, swapped, KINDS, DETECTION_HEADS, (DETECTION_HEADS[1], DETECTION_HEADS[0]))
    assert same.item() == pytest.approx(0, abs=1e-6)


def test_the_teacher_sees_more_around_the_same_window():
    small = ARCHITECTURES["default"]["onet"]
    teacher = Teacher(LARGE, small, torch.device("cpu"))
    inputs = torch.rand(2, 3, 72, 72)
    torch.testing.assert_close(teacher.middle(inputs), inputs[:, :, 8:64, 8:64])
    stored = load_stage(LARGE, "onet")
    tensors = {name: torch.from_numpy(values) for name, values in stored.tensors.items()}
    torch.testing.assert_close(teacher.outputs(inputs), from_tensors(stored.architecture, tensors)(inputs).flatten(1))


def test_a_network_learns_from_a_larger_one(tmp_path):
    made = samples(60, side=80)
    made = replace(made, meta={"settings": {"stage": "onet"}, "input": {"size": 72, "window": 32}})
    changes = {"stage": "onet", "steps": 20, "batch": 35, "teacher": str(LARGE), "teacher_share": 1.0, "heads": ()}
    settings = replace(SETTINGS, **changes, ema_decay=0.0, learning_rate=3e-3)
    before = distance(DetectorRun(replace(settings, steps=1), made, tmp_path / "none").network)
    assert distance(train(settings, made, tmp_path / "run")) < 0.7 * before


def test_a_resumed_run_has_the_teacher_that_it_began_with(tmp_path, monkeypatch):
    teacher = tmp_path / "teacher.safetensors"
    teacher.write_bytes(LARGE.read_bytes())
    made = replace(samples(60, side=80), meta={"input": {"size": 72, "window": 32}})
    changes = {"stage": "onet", "steps": 4, "batch": 35, "teacher": str(teacher), "heads": (), "checkpoint_every": 2}
    settings = replace(SETTINGS, **changes)
    whole = train(settings, made, tmp_path / "whole")
    stop_after(monkeypatch, DetectorRun, 3)
    with pytest.raises(Stopped):
        train(settings, made, tmp_path / "run")
    monkeypatch.undo()
    stored = load_stage(LARGE, "onet")
    tensors = {name: np.zeros_like(values) for name, values in stored.tensors.items()}
    save_stage(teacher, stored.architecture, tensors, stored.metadata)
    resumed = train(settings, made, tmp_path / "run")
    assert rows(tmp_path / "run")[-1]["teacher"] > 0
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def distance(network: torch.nn.Module) -> float:
    """How far what a network says of some crops is from what the large one says of them, on average."""
    inputs = torch.from_numpy(samples(60, side=72).crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    teacher = Teacher(LARGE, ARCHITECTURES["default"]["onet"], torch.device("cpu"))
    with torch.no_grad():
        return (network.eval()(teacher.middle(inputs)).flatten(1) - teacher.outputs(inputs)).abs().mean().item()


@pytest.mark.parametrize(
    ("file", "family", "message"),
    [
        (SMALL, "accurate", "sees 56 pixels around a window of 32, the network to train 72 around 32"),
        (LARGE, "paper", "sees 72 pixels around a window of 32, the network to train 48 around 48"),
        (stage_file(SETS / "default", "rnet"), "default", "rnet"),
        (Path("none.safetensors"), "default", "none.safetensors"),
    ],
)
def test_networks_that_cannot_teach_are_refused(file, family, message):
    with pytest.raises(TrainingError, match=f"teacher: .*{re.escape(message)}"):
        Teacher(file, ARCHITECTURES[family]["onet"], torch.device("cpu"))


def test_the_share_is_checked():
    with pytest.raises(ValueError, match="teacher_share: expected 0 to 1, got 2"):
        TrainSettings("onet", teacher_share=2)
