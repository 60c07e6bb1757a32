"""Starting a recogniser from an earlier run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.train.packed_faces import ALONE, PLAIN, SETTINGS, packed, tiny, wider
from train.common.checkpoints import TrainingError
from train.recognition.architectures import ARCHITECTURES, RecognitionNetwork, dense
from train.recognition.model import RecognitionModel
from train.recognition.trainer import RecognitionRun, train_recognition
from train.recognition.transfer import shared_nodes, start_from


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
