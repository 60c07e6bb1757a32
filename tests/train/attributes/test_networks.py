"""Architectures of a user's choice: those that the native engine runs, and those for torch alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cascade.attributes import AttributeEstimator
from cascade.models.attributes import save_attributes
from train.attributes.architectures import mobilenet, mobilenet_v2
from train.attributes.export import ExportError, export_attributes, exported
from train.attributes.model import AttributeModel
from train.attributes.networks import IMAGENET_BASES, TORCH_NETWORKS, BKNet, ImageNetBase
from train.attributes.settings import IMAGENET, TORCH_ONLY, AttributeSettings
from train.attributes.tasks import Task
from train.attributes.torch_file import load_torch_network, save_torch_network
from train.common.checkpoints import TrainingError
from train.detection.augment import normalise

TASKS = (Task("helmet", "classification", "", ("no", "yes")), Task("age", "ordinal"))


def test_settings_know_the_networks() -> None:
    assert tuple(TORCH_NETWORKS) == TORCH_ONLY and tuple(IMAGENET_BASES) == IMAGENET


@pytest.mark.parametrize(("build", "millions"), [(mobilenet, 3.2), (mobilenet_v2, 2.2)])
def test_mobilenets_run_in_the_native_engine(build, millions: float, tmp_path: Path) -> None:
    architecture = build(TASKS)
    torch.manual_seed(0)
    model = AttributeModel(architecture, {})
    crops = np.random.default_rng(0).integers(0, 255, (4, 112, 112, 3)).astype(np.uint8)
    inputs = normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
    model(inputs)  # statistics of batch normalisation that are not those of nothing
    heads = sum(array.numel() for name, array in model.tensors().items() if int(name.split(".")[0]) >= _pooled(model))
    assert (architecture.graph.weights() - heads) / 1e6 == pytest.approx(millions, abs=0.05)
    tensors = {name: tensor.numpy().astype(np.float16).astype(np.float32) for name, tensor in model.tensors().items()}
    file = tmp_path / "mobilenet.safetensors"
    save_attributes(file, architecture.graph, [exported(task) for task in TASKS], tensors, {})
    found = AttributeEstimator(file, threads=1).predict_crops(crops)
    with torch.no_grad():
        expected = model.eval()(inputs)["helmet"].softmax(1).numpy()
    np.testing.assert_allclose(found.probabilities["helmet"], expected, atol=0.02)  # half precision of the file


def _pooled(model: AttributeModel) -> int:
    return min(model.architecture.graph.outputs.values()) - 2


@pytest.mark.parametrize("name", TORCH_ONLY)
def test_networks_for_torch_have_files_of_their_own(name: str, tmp_path: Path) -> None:
    network = TORCH_NETWORKS[name](TASKS).eval()
    save_torch_network(tmp_path / "mine.safetensors", network, name, {})
    again = load_torch_network(tmp_path / "mine.safetensors")
    crops = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        for task, outputs in network(crops).items():
            torch.testing.assert_close(again(crops)[task], outputs)
    assert network.shared.requires_grad and network.shared.ndim > 1


def test_a_network_for_torch_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="BKNet is for torch alone"):
        export_attributes(BKNet(TASKS), AttributeSettings("bknet"), None, tmp_path / "x.safetensors", "")  # type: ignore[arg-type]
    (tmp_path / "x.safetensors").write_bytes(b"none")
    with pytest.raises(TrainingError, match="is no network for torch"):
        load_torch_network(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "vgg"}, "architecture: expected one of tail, small, mobilenet"),
        ({"architecture": "imagenet_inception_v3"}, "base_weights: expected a file with ImageNet weights"),
        ({"base_weights": "a.pth"}, "base_weights: expected none for tail, got 'a.pth'"),
        ({"architecture": "bknet", "start": "a.safetensors"}, "start: expected none for bknet"),
    ],
)
def test_wrong_settings_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(AttributeSettings(), **changes)


def test_without_torchvision_its_bases_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(TrainingError, match="imagenet_mobilenet_v2 needs torchvision: pip install torchvision"):
        ImageNetBase(TASKS, "imagenet_mobilenet_v2", tmp_path / "none.pth")


@pytest.mark.parametrize("architecture", IMAGENET)
def test_a_base_of_torchvision_stays_as_its_file_has_it(architecture: str, tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    file = tmp_path / "base.pth"
    base = getattr(models, IMAGENET_BASES[architecture][0])(weights=None)
    torch.save(base.state_dict(), file)
    network = ImageNetBase(TASKS, architecture, file).train()
    torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    sum(rows.square().sum() for rows in network(torch.randn(2, 3, 112, 112)).values()).backward()
    assert all(p.grad is None for p in network.base.parameters()) and network.shared.grad is not None
    own = {f"base.{name}": value for name, value in base.state_dict().items()}
    for name, value in network.state_dict().items():
        assert not name.startswith("base.") or torch.equal(value, own[name])
    save_torch_network(tmp_path / "mine.safetensors", network, architecture, {})
    crops = torch.rand(1, 3, 112, 112)
    with torch.no_grad():
        expected = network.eval()(crops)["helmet"]
        torch.testing.assert_close(load_torch_network(tmp_path / "mine.safetensors")(crops)["helmet"], expected)
    file.write_bytes(b"none")
    with pytest.raises(TrainingError, match="holds no weights of torchvision"):
        ImageNetBase(TASKS, architecture, file)
