"""Differentially private heads: what the noise promises, what is exported, and bad settings."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from cascade.attributes import AttributeEstimator
from cascade.models.attributes import load_attributes
from cascade.models.recognizer import load_recognizer
from tests.train.attributes.drawn import HELMET, RUN, draw_folders
from train.__main__ import main
from train.attributes.batches import LabelledFaces, LabelledSet
from train.attributes.private import PrivateHeads, PrivateRun, PrivateSettings, noise_for
from train.attributes.sources import AttributeSource
from train.attributes.store import LabelledCrops, load_labelled_crops
from train.attributes.tasks import Task

SETTINGS = {"epsilon": 3.0, "delta": 1e-5, "steps": 100, "batch": 64}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0}, "epsilon: expected more than 0"),
        ({"epsilon": float("nan")}, "epsilon: expected more than 0"),
        ({"delta": 0.6}, "delta: expected more than 0 and less than 0.5"),
        ({"clip": 0}, "clip: expected more than 0"),
        ({"batch": 0}, "batch: expected at least 1"),
    ],
)
def test_wrong_settings_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrivateSettings(**{**SETTINGS, **change})


def test_less_may_be_told_with_more_noise() -> None:
    pytest.importorskip("opacus")
    strict, loose = (noise_for(PrivateSettings(**{**SETTINGS, "epsilon": epsilon}), 5000) for epsilon in (1, 8))
    assert strict > loose > 0
    longer = noise_for(PrivateSettings(**{**SETTINGS, "steps": 1000}), 5000)
    assert longer > noise_for(PrivateSettings(**SETTINGS), 5000)


@pytest.mark.filterwarnings("ignore")  # of Opacus and its hooks
@pytest.mark.parametrize("rows", [[], [0]])
def test_a_step_of_no_faces_or_of_a_task_without_labels_adds_its_noise(tmp_path, rows) -> None:
    pytest.importorskip("opacus")
    tasks = [Task(name, "classification", "", ("no", "yes")) for name in ("helmet", "mask")]
    numbers = np.array([[0, -1], [1, 1], [-1, 0]], np.int16)
    texts = {task.name: ["no", "yes"] for task in tasks}
    crops = LabelledCrops(np.zeros((3, 1, 1, 3), np.uint8), numbers, np.ones(3, bool), texts, ["a", "b", "c"], {})
    source = AttributeSource("mine", "folders", tmp_path, attribute="helmet")
    faces = LabelledFaces([LabelledSet(source, crops, None, np.arange(3), np.arange(0))], tasks)
    faces.inputs = lambda rows, views: torch.ones(len(rows), 8)
    heads = PrivateHeads.__new__(PrivateHeads)
    torch.nn.Module.__init__(heads)
    heads.heads = torch.nn.ModuleDict({task.name: torch.nn.Linear(8, 2) for task in tasks})
    run = PrivateRun(PrivateSettings(3.0, 1e-5, batch=1, noise_multiplier=1.0), faces, heads, tmp_path)
    run.batches._prepare = lambda step: np.array(rows, np.int64)
    before = {name: value.clone() for name, value in heads.state_dict().items()}
    losses = run.train_step()
    run.batches.close()
    assert torch.isfinite(losses["total"]) and set(losses) == {"total", *["helmet"][: len(rows)]}
    for name, value in heads.state_dict().items():
        assert torch.isfinite(value).all() and (value != before[name]).all(), name
    assert run.spent() > 0


@pytest.fixture
def trained(tmp_path, monkeypatch, capsys):
    """The folder of a run on drawn crops."""
    pytest.importorskip("opacus")
    from cascade.imaging.reading import read_image
    from cascade.single_face import SingleFace

    def whole(photos, source, workers, cut):
        for photo in photos:
            yield photo, SingleFace(read_image(photo.path), np.full((5, 2), 0.5, np.float32))

    monkeypatch.setattr("train.attributes.pack._cut", whole)
    monkeypatch.setattr("train.attributes.private.PrivateRun.every", (10, 25))
    draw_folders(tmp_path, 60)
    config = tmp_path / "mine.toml"
    config.write_text(RUN + HELMET)
    options = ["--root", str(tmp_path), "--out", str(tmp_path / "run"), "--workers", "1", "--name", "private"]
    size = ["--steps", "80", "--batch", "30", "--dp-epsilon", "900", "--dp-delta", "0.01"]
    assert main(["attributes", "--config", str(config), *options, *size]) == 0
    assert "spent" in capsys.readouterr().out
    return tmp_path / "run"


@pytest.mark.slow
def test_what_was_spent_is_in_the_model_card(trained) -> None:
    weights = load_attributes(trained / "private.safetensors")
    privacy = weights.metadata["privacy"]
    assert 400 < privacy["epsilon"] <= 900 and privacy["delta"] == 0.01 and privacy["noise_multiplier"] > 0
    assert "**Differential privacy**: ε = " in (trained / "private.md").read_text()
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["validation"]["epsilon"] == pytest.approx(privacy["epsilon"])
    assert rows[-1]["validation"]["helmet_accuracy"] > 0.9  # dark and bright crops are easy


@pytest.mark.slow
def test_the_base_is_the_recognisers_and_the_engine_answers_as_torch_does(trained) -> None:
    weights, recogniser = load_attributes(trained / "private.safetensors"), load_recognizer()
    heads = set(weights.graph.outputs.values())
    for name, tensor in weights.tensors.items():
        if int(name.partition(".")[0]) not in heads:
            np.testing.assert_allclose(tensor, recogniser.tensors[name], rtol=2e-3, atol=2e-3)
    crops = load_labelled_crops(trained / "faces" / "mine")
    found = AttributeEstimator(weights, threads=1).predict_crops(np.array(crops.crops))
    labels = crops.label_texts("helmet")
    assert np.mean([one == other for one, other in zip(found.labels("helmet"), labels, strict=True)]) > 0.9
    from cascade.nn.torch_graph import from_tensors
    from train.detection.augment import normalise

    tensors = {name: torch.from_numpy(array) for name, array in weights.tensors.items()}
    inputs = normalise(torch.from_numpy(np.array(crops.crops[:4])).permute(0, 3, 1, 2).float())
    logits = from_tensors(weights.graph, tensors)(inputs)[weights.graph.outputs["helmet"]].flatten(1)
    expected = logits.softmax(1).detach().numpy()
    assert np.abs(found.probabilities["helmet"][:4] - expected).max() < 1e-4
