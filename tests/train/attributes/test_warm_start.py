"""Beginning from a weight file: the same answers, with batch normalisation back in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import train
from cascade import Detector
from cascade.imaging.alignment import align
from cascade.imaging.reading import read_image
from cascade.models.attributes import DEFAULT, FOLDER, load_attributes, save_attributes
from cascade.models.recognizer import load_recognizer
from cascade.nn.torch_graph import from_tensors
from tests.photos import PORTRAIT
from train.attributes.architectures import small, tail
from train.attributes.features import Trunk
from train.attributes.model import AttributeModel
from train.attributes.settings import AttributeSettings, read_config
from train.attributes.tasks import Task
from train.attributes.warm_start import start_from, trunk_weights
from train.common.checkpoints import TrainingError
from train.detection.augment import normalise
from train.recognition.augment import augment_pixels

SHIPPED = FOLDER / f"{DEFAULT}.safetensors"
TASKS = read_config(Path(train.__file__).parent / "recipes" / "attributes.toml", Path()).tasks
HELMET = Task("helmet", "classification", "", ("no", "yes"))
FROZEN = AttributeSettings().frozen


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """(24, 112, 112, 3) uint8: a face, changed as in training."""
    image = read_image(PORTRAIT)
    crop = align(image, Detector(threads=1).detect(image).landmarks[:1])
    return augment_pixels(np.repeat(crop, 24, axis=0), 1)


def model_of(tasks) -> tuple[AttributeModel, Trunk]:
    weights = trunk_weights(AttributeSettings(start=str(SHIPPED)))
    trunk = Trunk(weights, FROZEN)
    torch.manual_seed(0)
    tensors = {name: torch.from_numpy(array) for name, array in trunk.tensors.items()}
    return AttributeModel(tail(tasks, weights.graph, FROZEN), tensors), trunk


def maps_of(trunk: Trunk, crops: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(trunk.maps(crops)).permute(0, 3, 1, 2).contiguous()


def stored_answers(crops: np.ndarray) -> dict[str, torch.Tensor]:
    stored = load_attributes(SHIPPED)
    network = from_tensors(stored.graph, {name: torch.from_numpy(array) for name, array in stored.tensors.items()})
    maps = network(normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float()))
    return {name: maps[index].flatten(1) for name, index in stored.graph.outputs.items()}


def test_the_trunk_is_that_of_the_weight_file_to_begin_from(tmp_path):
    assert trunk_weights(AttributeSettings(start=str(SHIPPED))).graph == load_attributes(SHIPPED).graph
    assert trunk_weights(AttributeSettings()).graph == load_recognizer().graph
    for start, graph in (("", load_recognizer().graph), (str(SHIPPED), load_attributes(SHIPPED).graph)):
        run = tmp_path / "checkpoint.pt"
        torch.save({"best": {}, "settings": {"trunk": "", "start": start}}, run)
        assert trunk_weights(AttributeSettings(start=str(run))).graph == graph
    with pytest.raises(TrainingError, match="is no checkpoint"):
        trunk_weights(AttributeSettings(start=str(tmp_path / "none.pt")))
    assert trunk_weights(AttributeSettings(start=str(SHIPPED), trunk="light")).graph == load_recognizer().graph
    with pytest.raises(TrainingError, match=r"start: .*missing"):
        trunk_weights(AttributeSettings(start="missing.safetensors"))


@torch.no_grad()
def test_the_answers_are_those_of_the_file(crops):
    model, trunk = model_of(TASKS)
    inputs = maps_of(trunk, crops)
    start_from(model, SHIPPED, TASKS, inputs)
    assert model.training
    expected = stored_answers(crops)
    for found in (model.eval()(inputs), model.train()(inputs)):
        for name, answers in expected.items():
            torch.testing.assert_close(found[name], answers, atol=1e-3, rtol=1e-3)
    for name, array in load_attributes(SHIPPED).tensors.items():
        assert model.tensors()[name].shape == array.shape


@torch.no_grad()
def test_heads_of_other_tasks_start_anew(crops):
    """Common heads are found by their task, wherever they stand; one of other classes is another task."""
    smile = next(task for task in TASKS if task.name == "smile")
    other = Task("gender", "classification", "", ("female", "male"))
    tasks = (HELMET, smile, other)
    model, trunk = model_of(tasks)
    heads = {name: model.network.blocks[at][0].weight for name, at in model.architecture.graph.outputs.items()}
    before = {name: weight.clone() for name, weight in heads.items()}
    inputs = maps_of(trunk, crops)
    start_from(model, SHIPPED, tasks, inputs)
    torch.testing.assert_close(model.eval()(inputs)["smile"], stored_answers(crops)["smile"], atol=1e-3, rtol=1e-3)
    assert torch.equal(before["helmet"], heads["helmet"]) and torch.equal(before["gender"], heads["gender"])


def test_a_file_of_another_network_is_refused(tmp_path, crops):
    model, trunk = model_of(TASKS)
    inputs = maps_of(trunk, crops[:2])
    with pytest.raises(TrainingError, match="start: weights: expected a safetensors file"):
        start_from(model, tmp_path / "none.safetensors", TASKS, inputs)
    with pytest.raises(TrainingError, match=r"start: .*is of another network"):
        start_from(AttributeModel(small(TASKS), {}), SHIPPED, TASKS, torch.zeros(2, 3, 112, 112))
    stored = load_attributes(SHIPPED)
    tensors = {**stored.tensors, "0.weight": stored.tensors["0.weight"] * 2}
    changed = tmp_path / "changed.safetensors"
    save_attributes(changed, stored.graph, stored.tasks, tensors, {})
    with pytest.raises(TrainingError, match="goes on from another trunk"):
        start_from(model, changed, TASKS, inputs)


def test_a_checkpoint_over_another_trunk_is_refused(tmp_path, crops):
    """A checkpoint does not hold its trunk: it is that of its settings, however they name it."""
    model, trunk = model_of(TASKS)
    inputs, file = maps_of(trunk, crops[:2]), tmp_path / "checkpoint.pt"
    for settings, message in (
        ({"trunk": "", "start": ""}, "goes on from another trunk"),
        ({"trunk": "light", "start": str(SHIPPED)}, "goes on from another trunk"),
        ({"start": str(SHIPPED), "frozen": FROZEN - 1}, f"has {FROZEN - 1} for frozen, this run {FROZEN}"),
    ):
        torch.save({"best": model.state_dict(), "settings": settings}, file)
        with pytest.raises(TrainingError, match=message):
            start_from(model, file, TASKS, inputs)
    torch.save({"best": model.state_dict(), "settings": {"trunk": "", "start": str(SHIPPED)}}, file)
    start_from(model, file, TASKS, inputs)
