"""Starting a recogniser from an earlier run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cascade.models.recognizer import load_recognizer
from cascade.nn.torch_graph import from_tensors
from tests.random_recognizer import save_random_recognizer
from tests.train.packed_faces import ALONE, PLAIN, SETTINGS, packed, tiny, wider
from train.common.checkpoints import TrainingError
from train.recognition.architectures import ARCHITECTURES, RecognitionNetwork, dense
from train.recognition.export import export_recognizer
from train.recognition.model import RecognitionModel
from train.recognition.trainer import RecognitionRun, train_recognition
from train.recognition.transfer import shared_nodes, start_from, start_from_weights


def test_starting_from_a_run_of_the_same_kind(often, tmp_path):
    faces = packed()
    trained = train_recognition(SETTINGS, faces, tmp_path / "one", ALONE)
    settings = replace(SETTINGS, start=str(tmp_path / "one/checkpoint.pt"))
    trainer = RecognitionRun(settings, faces, tmp_path / "two", ALONE)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], tensor), name
    other = RecognitionModel(tiny(), persons=99, adversarial=False)  # other people, and no adversary
    start_from(other, tmp_path / "one/checkpoint.pt")
    assert torch.equal(other.network.blocks[0][0].weight, trained.network.blocks[0][0].weight)
    assert other.identity.centres.shape[0] == 99


def test_starting_from_a_run_without_decomposition(often, tmp_path):
    faces = packed()
    trained = train_recognition(replace(SETTINGS, **PLAIN), faces, tmp_path / "plain", ALONE)
    model = RecognitionRun(
        replace(SETTINGS, start=str(tmp_path / "plain/checkpoint.pt")), faces, tmp_path / "two", ALONE
    ).model.eval()
    places = list(zip(shared_nodes(tiny(False)), shared_nodes(tiny(True)), strict=True))
    assert len(places) == len(tiny(False).graph.nodes)
    for before, after in places:
        assert tiny(False).graph.nodes[before].kind == tiny(True).graph.nodes[after].kind
        for name, tensor in trained.network.blocks[before].state_dict().items():
            assert torch.equal(model.network.blocks[after].state_dict()[name], tensor)
    assert torch.equal(model.identity.centres, trained.identity.centres)
    # with gates that let all of the features through to identity, the embedding is that of the run
    x = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        for index, node in enumerate(model.architecture.graph.nodes):
            if node.kind == "spatial_gate" or node.activation == "sigmoid":
                for weights in model.network.blocks[index].parameters():
                    weights.zero_()
                model.network.blocks[index].get_submodule("0").bias.fill_(-100)
                for module in model.network.blocks[index]:
                    if isinstance(module, torch.nn.BatchNorm2d):
                        module.bias.fill_(-100)
        torch.testing.assert_close(model(x).embeddings, trained(x).embeddings)


def test_what_is_no_checkpoint_to_start_from(often, tmp_path, monkeypatch):
    model = RecognitionModel(tiny(), persons=0, adversarial=False)
    with pytest.raises(TrainingError, match=r"start: .*none\.pt is no checkpoint of a recognition run"):
        start_from(model, tmp_path / "none.pt")
    torch.save({"step": 3}, tmp_path / "odd.pt")
    with pytest.raises(TrainingError, match=r"start: .*odd\.pt is no checkpoint"):
        start_from(model, tmp_path / "odd.pt")
    (tmp_path / "text.pt").write_text("nothing")
    with pytest.raises(TrainingError, match=r"start: .*text\.pt is no checkpoint"):
        start_from(model, tmp_path / "text.pt")
    train_recognition(replace(SETTINGS, steps=1), packed(), tmp_path, ALONE)
    monkeypatch.setitem(ARCHITECTURES, "light", dense)
    with pytest.raises(TrainingError, match=r"is of dense, expected tiny"):
        start_from(model, tmp_path / "checkpoint.pt")


def test_a_run_of_another_network_of_the_same_name_is_no_start(often, tmp_path, monkeypatch):
    """As when an architecture was changed after the run."""
    train_recognition(replace(SETTINGS, steps=1, **PLAIN), packed(), tmp_path, ALONE)

    def changed(decomposed: bool = True) -> RecognitionNetwork:
        return wider(decomposed, "tiny")

    monkeypatch.setitem(ARCHITECTURES, "light", changed)
    model = RecognitionModel(changed(False), persons=0, adversarial=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"start: .*checkpoint\.pt is of another network that was called tiny too"):
        start_from(model, tmp_path / "checkpoint.pt")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_starting_from_a_weight_file(often, tmp_path):
    faces = packed()
    trained = train_recognition(SETTINGS, faces, tmp_path / "one", ALONE).eval()
    export_recognizer(trained, SETTINGS, faces, tmp_path, "a command")
    file = tmp_path / "light.safetensors"
    model = RecognitionModel(tiny(), persons=2, adversarial=False)
    crops = torch.randn(32, 3, 112, 112)
    start_from_weights(model, file, crops)
    weights = load_recognizer(file)
    plain = from_tensors(weights.graph, {name: torch.from_numpy(array) for name, array in weights.tensors.items()})
    with torch.no_grad():
        expected = plain(crops)[model.embedding].flatten(1)
        torch.testing.assert_close(model.eval()(crops).embeddings, expected, rtol=1e-3, atol=1e-3)
        maps = model.network.blocks[0][0](crops)
    norm = model.network.blocks[0][1]
    torch.testing.assert_close(norm.running_mean, maps.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(norm.running_var, maps.var((0, 2, 3)), rtol=1e-3, atol=1e-4)


def test_a_run_begins_from_a_weight_file(often, tmp_path):
    faces = packed()
    trained = train_recognition(SETTINGS, faces, tmp_path / "one", ALONE)
    export_recognizer(trained, SETTINGS, faces, tmp_path, "a command")
    settings = replace(SETTINGS, start=str(tmp_path / "light.safetensors"))
    run = RecognitionRun(settings, faces, tmp_path / "two", ALONE)
    torch.testing.assert_close(
        run.model.network.blocks[0][2].weight, trained.network.blocks[0][2].weight, rtol=1e-3, atol=1e-3
    )


def test_weight_files_that_are_no_start(often, tmp_path):
    model = RecognitionModel(tiny(), persons=0, adversarial=False)
    crops = torch.zeros(2, 3, 112, 112)
    (tmp_path / "text.safetensors").write_text("nothing")
    for name in ("none.safetensors", "text.safetensors"):
        with pytest.raises(TrainingError, match=f"start: .*{name}"):
            start_from_weights(model, tmp_path / name, crops)
    save_random_recognizer(tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match=r"other\.safetensors is of small, expected tiny"):
        start_from_weights(model, tmp_path / "other.safetensors", crops)
