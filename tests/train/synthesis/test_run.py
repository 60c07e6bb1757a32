"""Faces, losses, and a short run that is resumed and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cascade.aging import AgeSynthesizer
from cascade.datasets import FAIRFACE_AGES
from cascade.models.aging import load_aging
from cascade.models.recognizer import load_recognizer
from tests.photos import portrait
from train.__main__ import parser
from train.attributes.store import LabelledCrops
from train.common.checkpoints import TrainingError
from train.synthesis import losses
from train.synthesis.export import export_synthesis
from train.synthesis.faces import AgedFaces, asked_ages, resized, shares, years
from train.synthesis.frozen import anchor_matrix
from train.synthesis.prototypes import Prototypes, bands, blurred, mean_faces
from train.synthesis.settings import ANCHORS, SynthesisSettings
from train.synthesis.trainer import SynthesisRun

SHORT = {
    "classifier": 2,
    "steps": 4,
    "prototypes": 1,
    "batch": 3,
    "examined": 2,
    "sheet_every": 4,
    "precision": "float32",
}


def packed(count: int = 27, groups: int = 9) -> LabelledCrops:
    """Moved crops of the portrait, of every age group in turn."""
    crops = np.stack([portrait()[40 + n : 152 + n, 170:282] for n in range(count)])
    labels = (np.arange(count) % groups)[:, None].astype(np.int16)
    texts = {"age": [*FAIRFACE_AGES]}
    return LabelledCrops(
        crops, labels, np.ones(count, bool), texts, [f"{n}.jpg" for n in range(count)], {"source": "x"}
    )


def test_ages_are_those_of_labels_and_groups() -> None:
    texts = {"age": ["37", "70+", "0-2"]}
    labels = np.array([[0], [1], [2], [-1]], np.int16)
    set_ = LabelledCrops(np.zeros((4, 112, 112, 3), np.uint8), labels, np.ones(4, bool), texts, list("abcd"), {})
    np.testing.assert_array_equal(years(set_), [37, ANCHORS[-1], ANCHORS[0], np.nan])


def test_batches_hold_every_group_and_depend_on_the_step_alone() -> None:
    settings = SynthesisSettings(**{**SHORT, "batch": 9})
    faces = AgedFaces([packed()], settings)
    first, again = faces.batch(5), AgedFaces([packed()], settings).batch(5)
    assert torch.equal(first.crops, again.crops) and torch.equal(first.targets, again.targets)
    assert sorted(first.ages.tolist()) == sorted(ANCHORS) and first.crops.shape == (9, 3, 64, 64)
    other = AgedFaces([packed()], settings, rank=1, world=2).batch(5)
    assert not torch.equal(first.targets, other.targets)
    with pytest.raises(TrainingError, match="none in the age group 70"):
        AgedFaces([packed(groups=8)], settings)


def test_asked_ages_cover_all_anchors_and_some_are_the_faces_own() -> None:
    ages = np.full(5000, 33.0)
    found = asked_ages(ages, 0.2, np.random.default_rng(0))
    assert found.min() >= ANCHORS[0] and found.max() <= ANCHORS[-1]
    assert 0.15 < (found == 33).mean() < 0.25
    nearest = np.abs(found[found != 33, None] - np.array(ANCHORS)).argmin(1)
    counts = np.bincount(nearest, minlength=len(ANCHORS))
    assert counts.min() > 200 and counts[0] > 1.5 * counts[3] < counts[-1]


def test_losses_are_least_for_what_is_asked() -> None:
    groups, asked = anchor_matrix(101, ANCHORS), shares(torch.tensor([25.0]))
    right, wrong = torch.eye(101)[[25]], torch.eye(101)[[60]]
    target = torch.tensor([25.0])
    assert losses.age_loss(right, target, groups, asked) < 0.01 < losses.age_loss(wrong, target, groups, asked)
    a, b, gap = torch.eye(4)[[0]], torch.eye(4)[[1]], torch.tensor([30.0])
    assert losses.identity_loss(a, a, gap) == 0 < losses.identity_loss(a, b, gap)
    crops = torch.zeros(2, 3, 8, 8)
    changed = crops.clone()
    changed[0] += 1
    assert losses.own_loss(changed, crops, torch.tensor([20.0, 0.0])) == 0
    assert losses.own_loss(changed, crops, torch.tensor([0.0, 20.0])) == 1
    edge, middle = crops.clone(), crops.clone()
    edge[:, :, 0] = middle[:, :, 4] = 1
    assert losses.change_loss(edge, crops) > losses.change_loss(middle, crops)
    assert losses.smooth_loss(crops + 1, crops) == 0 < losses.smooth_loss(middle, crops)


def test_the_mean_face_changes_between_ages_and_not_at_the_same() -> None:
    faces = AgedFaces([packed()], SynthesisSettings(**SHORT))
    found = mean_faces(faces)
    assert found.means.shape == (3, 9, 3, 64, 64) and found.detail.shape == (3, 9, 3, 64, 64)
    assert torch.equal(found.means[0], found.means[1])  # no gender is known
    assert torch.allclose(found.means, found.means.flip(4), atol=1e-5) and (found.detail >= 0).all()
    genders, ages = torch.tensor([0, -1]), torch.tensor([25.0, 25.0])
    crops = torch.zeros(2, 3, 64, 64)  # without detail
    change = found.change(crops, genders, ages, torch.tensor([25.0, 65.0]))
    assert change[0].abs().max() == 0 < change[1].abs().max()
    torch.testing.assert_close(change[1], found.means[2, 7] - found.means[2, 3], atol=1e-5, rtol=0)
    assert losses.prototype_loss(crops + change, crops, change) < 1e-6 < losses.prototype_loss(crops, crops, change)


def test_detail_becomes_as_strong_as_it_is_at_the_age() -> None:
    means, detail = torch.zeros(3, 9, 3, 64, 64), torch.full((3, 9, 3, 64, 64), 0.1)
    detail[:, 8] *= 2.25
    crops = torch.rand(1, 3, 64, 64)
    change = Prototypes(means, detail).change(crops, torch.tensor([1]), torch.tensor([25.0]), torch.tensor([75.0]))
    fine = crops - blurred(crops, 4.0)
    torch.testing.assert_close(change, 0.5 * fine, atol=0.01, rtol=0)
    torch.testing.assert_close(sum(bands(crops)), fine)
    assert blurred(torch.ones(1, 2, 64, 64), 2.0).allclose(torch.ones(1, 2, 64, 64))


@pytest.mark.parametrize("changes", [{"size": 100}, {"condition": "two"}, {"share": 0.6}, {"lambda_age": -1}])
def test_wrong_settings(changes: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        SynthesisSettings(**changes)


@pytest.mark.slow
def test_a_run_is_resumed_and_what_it_exports_runs(tmp_path: Path) -> None:
    settings = SynthesisSettings(**SHORT, joint=True)
    faces = AgedFaces([packed()], settings)
    run = SynthesisRun(settings, faces, tmp_path)
    before = {name: tensor.clone() for name, tensor in run.generator.state_dict().items()}
    run.train()
    assert (tmp_path / "sheets" / "000004.png").exists()
    assert any(not torch.equal(before[name], tensor) for name, tensor in run.generator.state_dict().items())
    again = SynthesisRun(settings, faces, tmp_path)
    again.resume()
    assert again.step == 4
    again.batches.close()
    for name, tensor in run.averaged.state_dict().items():
        assert torch.equal(tensor, again.averaged.state_dict()[name])
    export_synthesis(run, tmp_path / "face.safetensors", "python -m train synthesis")
    found = AgeSynthesizer(tmp_path / "face.safetensors").synthesize(portrait(), ages=[70])
    assert found.images[0].shape == portrait().shape and "Not for" in (tmp_path / "face.md").read_text()
    ours, shipped = load_recognizer(tmp_path / "recognizer.safetensors"), load_recognizer(None)
    changed = [name for name in shipped.tensors if not np.array_equal(ours.tensors[name], shipped.tensors[name])]
    assert changed and all(int(name.split(".")[0]) >= run.frozen.trunk for name in changed)


def test_a_resumed_run_learns_what_an_uninterrupted_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SynthesisSettings(**{**SHORT, "sheet_every": 100})

    def run_in(name: str) -> SynthesisRun:
        run = SynthesisRun(settings, AgedFaces([packed()], settings), tmp_path / name)
        run.every = (1, 2)
        return run

    monkeypatch.setattr(SynthesisRun, "validate", lambda run: {})
    whole, stopped = run_in("whole"), run_in("parts")
    whole.train()
    monkeypatch.setattr(SynthesisRun, "ended", property(lambda run: run.step == 2))
    stopped.train()
    monkeypatch.undo()
    monkeypatch.setattr(SynthesisRun, "validate", lambda run: {})
    resumed = run_in("parts")
    resumed.train()
    assert (stopped.step, resumed.step) == (2, 4)
    for part in ("network", "averaged", "discriminator"):
        expected = whole.parts[part].state_dict()
        for name, tensor in resumed.parts[part].state_dict().items():
            assert torch.equal(tensor, expected[name]), f"{part}.{name}"


def test_a_run_begins_from_a_weight_file(tmp_path: Path) -> None:
    shipped = load_aging(None)
    settings = SynthesisSettings(**SHORT, start=str(shipped.path))
    run = SynthesisRun(settings, AgedFaces([packed()], settings), tmp_path)
    run.batches.close()
    for name, tensor in run.generator.tensors().items():
        np.testing.assert_allclose(tensor.numpy(), shipped.tensors[name], atol=1e-4)
    other = SynthesisSettings(**SHORT, condition="onehot", start=str(shipped.path))
    with pytest.raises(TrainingError, match="other networks"):
        SynthesisRun(other, AgedFaces([packed()], other), tmp_path / "b")
    assert not (tmp_path / "b/classifier.pt").exists()  # which would take long
    other = SynthesisSettings(**SHORT, start=str(tmp_path / "none.safetensors"))
    with pytest.raises(TrainingError, match=r"none\.safetensors"):
        SynthesisRun(other, AgedFaces([packed()], other), tmp_path / "c")


@pytest.mark.slow
def test_another_run_can_begin_from_it_at_another_size(tmp_path: Path) -> None:
    settings = SynthesisSettings(**SHORT)
    SynthesisRun(settings, AgedFaces([packed()], settings), tmp_path / "a").train()
    larger = SynthesisSettings(**SHORT, size=112, start=str(tmp_path / "a/checkpoint.pt"))
    run = SynthesisRun(larger, AgedFaces([packed()], larger), tmp_path / "b")
    state = torch.load(tmp_path / "a/checkpoint.pt", weights_only=True)["averaged"]
    for name, tensor in run.generator.state_dict().items():
        assert torch.equal(tensor, state[name])
    run.batches.close()
    other = SynthesisSettings(**SHORT, condition="onehot", start=str(tmp_path / "a/checkpoint.pt"))
    with pytest.raises(TrainingError, match="other networks"):
        SynthesisRun(other, AgedFaces([packed()], other), tmp_path / "c")


@pytest.mark.parametrize("given", ["age", "age=x", "beauty=1", "=1"])
def test_weights_of_losses_have_names(given: str, capsys) -> None:
    command = ["synthesis", "--data", "a.toml", "--root", ".", "--out", "out", "--weigh"]
    arguments = parser().parse_args([*command, "age=1.5", "--weigh", "smooth=0"])
    assert dict(arguments.weigh) == {"lambda_age": 1.5, "lambda_smooth": 0.0}
    with pytest.raises(SystemExit):
        parser().parse_args([*command, given])
    assert "expected LOSS=W with one of adversary" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["75", "74=1", "75=x", "75=0", "75=11", "75=nan", "=1"])
def test_strengths_are_given_by_anchor_age(given: str, capsys) -> None:
    command = ["synthesis", "--data", "a.toml", "--root", ".", "--out", "out", "--strength"]
    assert dict(parser().parse_args([*command, "75=1.15", "1=0.9"]).strength) == {75.0: 1.15, 1.0: 0.9}
    with pytest.raises(SystemExit):
        parser().parse_args([*command, given])
    assert "expected AGE=S with one of 1, 6, 15" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--weigh", "age=1", "age=2"], "--weigh: expected each name once, got age again"),
        (["--weigh", "age=1", "--weigh", "age=2"], "--weigh: expected each name once, got age again"),
        (["--strength", "75=1", "75.0=1.2"], "--strength: expected each name once, got 75 again"),
    ],
)
def test_a_name_is_given_once(given: list[str], message: str) -> None:
    arguments = parser().parse_args(["synthesis", "--data", "a.toml", "--root", ".", "--out", "out", *given])
    with pytest.raises(ValueError, match=message):
        arguments.run(arguments, "synthesis")


def test_the_group_loss_is_zero_for_what_is_asked() -> None:
    asked = shares(torch.tensor([30.0, 75.0]))
    assert losses.group_loss(asked.clamp_min(1e-9).log(), asked).abs() < 1e-5
    assert losses.group_loss(asked.flip(0).clamp_min(1e-9).log(), asked) > 1


def test_adults_keep_their_gender_more_than_children() -> None:
    same, other = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.1, 0.9]])
    adult, child = torch.tensor([30.0]), torch.tensor([4.0])
    assert losses.gender_loss(same, same, adult) < losses.gender_loss(other, same, adult)
    assert losses.gender_loss(other, same, child) < 0.2 * losses.gender_loss(other, same, adult)


def test_crops_are_averaged_when_smaller() -> None:
    crops = packed(2).crops
    assert resized(crops, 112) is crops and resized(crops, 64).shape == (2, 64, 64, 3)
