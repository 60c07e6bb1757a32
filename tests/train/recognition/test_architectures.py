"""The recognition networks: shapes, sizes, and what training finds in them."""

from __future__ import annotations

import pytest
import torch

from cascade.models.recognizer import OUTPUTS
from tests.train.packed_faces import tiny
from train.recognition.architectures import ARCHITECTURES, RecognitionNetwork, dense, ir50, light
from train.recognition.model import Prediction, RecognitionModel


def skips(architecture: RecognitionNetwork) -> list[tuple[int, int]]:
    shapes = architecture.graph.shapes()
    return [shapes[index] for index in architecture.skips]


def test_networks_are_known_by_the_names_of_their_graphs():
    assert list(ARCHITECTURES) == ["light", "dense", "ir50"]
    assert all(architecture(True).graph.name == name for name, architecture in ARCHITECTURES.items())


def test_light():
    architecture = light()
    assert architecture.graph.input_size == 112
    assert architecture.graph.output_shapes() == {"embedding": (1, 128), "age": (1, 101)}
    assert skips(architecture) == [(28, 64), (14, 128), (7, 128), (7, 320)]
    assert architecture.graph.shapes()[architecture.identity] == (7, architecture.channels) == (7, 320)
    assert 1.1e6 < architecture.graph.weights() < 1.3e6
    assert 2.1e8 < architecture.graph.multiply_adds() < 2.3e8


def test_light_is_made_of_bottlenecks():
    """1×1 to more channels, depthwise 3×3, 1×1 back without activation, beside a shortcut where the shape stays."""
    nodes, shapes = light().graph.nodes, light().graph.shapes()
    backs = [at for at in range(4, light().skips[-1]) if nodes[at].activation == "none"]
    assert len(backs) == 5 + 7 + 3
    for at in backs:
        first, middle, back = nodes[at - 2 : at + 1]
        assert [node.kind for node in (first, middle, back)] == ["conv", "depthwise", "conv"]
        assert [(node.kernel, node.input) for node in (first, middle, back)] == [(1, at - 3), (3, at - 2), (1, at - 1)]
        assert (first.activation, middle.activation) == ("prelu", "prelu")
        assert back.add == (at - 3 if middle.stride == 1 else None)
        assert shapes[at - 2][1] > shapes[at][1]
    assert [shapes[at][0] for at in backs] == [28] * 5 + [14] * 7 + [7] * 3


def test_dense():
    architecture = dense()
    assert architecture.graph.output_shapes() == {"embedding": (1, 128), "age": (1, 101)}
    assert skips(architecture) == [(28, 48), (14, 96), (7, 160), (7, 256)]
    assert architecture.graph.shapes()[architecture.identity] == (7, architecture.channels) == (7, 256)
    assert 0.8e6 < architecture.graph.weights() <= 1.3e6
    assert 0.9e8 < architecture.graph.multiply_adds() < 1.3e8


def test_ir50():
    architecture = ir50()
    assert architecture.graph.output_shapes() == {"embedding": (1, 512), "age": (1, 101)}
    assert skips(architecture) == [(56, 64), (28, 128), (14, 256), (7, 512)]
    assert architecture.graph.shapes()[architecture.identity] == (7, architecture.channels) == (7, 512)
    # two convolutions for each of 24 units, the first one, and the embedding: 50 layers
    convolutions = [node for node in architecture.graph.nodes[: architecture.skips[-1] + 1] if node.kind == "conv"]
    assert sum(node.kernel == 3 for node in convolutions) + 1 == 50
    assert 40e6 < architecture.graph.weights() < 50e6


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_plain_variant_has_the_same_encoder_and_no_age(name):
    whole, plain = ARCHITECTURES[name](True), ARCHITECTURES[name](False)
    assert whole.decomposed and not plain.decomposed
    assert set(whole.graph.outputs) == set(OUTPUTS)
    assert set(plain.graph.outputs) == {"embedding"}
    assert whole.skips == plain.skips
    encoder = slice(0, plain.skips[-1] + 1)
    assert whole.graph.nodes[encoder] == plain.graph.nodes[encoder]
    assert plain.identity == plain.skips[-1]
    assert not {"gate", "spatial_gate", "pyramid_pool"} & {node.kind for node in plain.graph.nodes}


@torch.no_grad()
@pytest.mark.parametrize("decomposed", [True, False])
@pytest.mark.parametrize("name", ["light", "dense"])
def test_a_model(name, decomposed):
    architecture = ARCHITECTURES[name](decomposed)
    model = RecognitionModel(architecture, persons=5, adversarial=decomposed).eval()
    crops = torch.randn(2, 3, 112, 112)
    predicted = model(crops)
    assert predicted.embeddings.shape == (2, 128)
    assert (predicted.age is not None, predicted.adversary is not None) == (decomposed, decomposed)
    if decomposed:
        assert predicted.age.shape == predicted.adversary.shape == (2, 101)
    assert [tuple(found.shape) for found in model.skips(crops)] == [
        (2, c, side, side) for side, c in skips(architecture)
    ]
    alone = model(crops[:1])
    torch.testing.assert_close(alone.embeddings, predicted.embeddings[:1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.slow
def test_an_ir50_model():
    model = RecognitionModel(ir50(), persons=2, adversarial=True).eval()
    predicted = model(torch.randn(1, 3, 112, 112))
    assert predicted.embeddings.shape == (1, 512)
    assert predicted.age.shape == predicted.adversary.shape == (1, 101)
    assert all(torch.isfinite(found).all() for found in (predicted.embeddings, predicted.age, predicted.adversary))


def test_heads_that_only_training_needs_are_there_when_asked_for():
    bare = RecognitionModel(tiny(), persons=0, adversarial=False)
    assert (bare.identity, bare.adversary) == (None, None)
    full = RecognitionModel(tiny(), persons=7, adversarial=True, scale=30.0, margin=0.1)
    assert (full.identity.scale, full.identity.margin, full.identity.centres.shape[0]) == (30.0, 0.1, 7)
    assert full.adversary is not None


def test_embedding_and_age_both_teach_the_encoder():
    """The embedding learns through the identity part and the age through the age part, both down to the crop."""
    model = RecognitionModel(tiny(), persons=0, adversarial=False).eval()
    first = model.network.blocks[0][0].weight
    predicted = model(torch.randn(2, 3, 112, 112))
    for found in (predicted.embeddings, predicted.age):
        (gradient,) = torch.autograd.grad(found.square().sum(), first, retain_graph=True)
        assert gradient.abs().max() > 0


@torch.no_grad()
def test_exposed_maps_are_part_of_the_prediction():
    model = RecognitionModel(tiny(), persons=0, adversarial=True).eval()
    crops = torch.randn(2, 3, 112, 112)
    assert model(crops).maps == ()
    model.exposed = model.architecture.skips[::-1]
    predicted = model(crops)
    assert len(predicted.maps) == 2
    for found, expected in zip(predicted.maps, model.skips(crops)[::-1], strict=True):
        assert torch.equal(found, expected)
    halves = (x.half() for x in (predicted.embeddings, predicted.age, predicted.adversary))
    whole = Prediction(*halves, tuple(x.half() for x in predicted.maps)).in_full_precision()
    assert {x.dtype for x in (whole.embeddings, whole.age, whole.adversary, *whole.maps)} == {torch.float32}
    assert len(whole.maps) == 2
