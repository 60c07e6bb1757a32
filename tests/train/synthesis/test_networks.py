"""The generator and its conditions: the same in torch and in the native engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cascade import _native
from cascade.models.aging import OUTPUT, load_aging, save_aging
from cascade.nn.graphs import native_nodes
from train.detection.augment import normalise
from train.synthesis.frozen import FixedPReLU, as_recognised
from train.synthesis.networks import AnchorConv, Generator, PatchDiscriminator, generator_graph, shared_rows
from train.synthesis.settings import ANCHORS

COUNT = len(ANCHORS)


@pytest.mark.parametrize("condition", ["icb", "onehot"])
def test_the_weight_file_is_the_generator(tmp_path: Path, condition: str) -> None:
    torch.manual_seed(0)
    network = Generator(64, COUNT, condition, 0.1).eval()
    nn.init.normal_(network.network.blocks[-1][0].weight, std=0.02)
    arrays = {name: tensor.numpy() for name, tensor in network.tensors().items()}
    even = (1.0,) * len(ANCHORS)
    save_aging(tmp_path / "a.safetensors", network.graph, ANCHORS, network.conditioned, even, arrays, {})
    weights = load_aging(tmp_path / "a.safetensors")
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    for age, shares in ((25.0, torch.eye(COUNT)[[3, 3]]), (70.0, torch.eye(COUNT)[[7, 8]].mean(0).repeat(2, 1))):
        graph = _native.Graph(native_nodes(weights.graph, weights.at_age(age)), 64, [weights.graph.outputs[OUTPUT]])
        (found,) = graph.run(crops)
        with torch.no_grad():
            expected = network.residual(normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float()), shares)
        expected = expected.permute(0, 2, 3, 1).reshape(2, -1).numpy()
        np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())


def test_neighbours_share_filters_and_others_do_not() -> None:
    rows = shared_rows(5, 20, 0.1)
    for a in range(5):
        for b in range(a + 1, 5):
            assert int((rows[a] == rows[b]).sum()) == (2 if b == a + 1 else 0)
    assert len(rows.unique()) == 5 * 20 - 4 * 2 == int(rows.max()) + 1
    assert len(shared_rows(5, 20, 0.0).unique()) == 100


def test_one_hot_differs_by_the_bias_alone() -> None:
    torch.manual_seed(0)
    blocks = {name: AnchorConv(4, 6, 3, name, 0.1) for name in ("icb", "onehot")}
    x = torch.randn(1, 4, 5, 5)
    for name, block in blocks.items():
        weight, bias = block.by_anchor()
        assert weight.shape == ((3, 6, 4) if name == "icb" else (6, 4)) and bias.shape == (3, 6)
        ages = torch.eye(3)[[0, 2]]
        first, second = block(x.expand(2, -1, -1, -1), ages)
        assert not torch.equal(first, second)


def test_a_run_begins_with_the_photo() -> None:
    network = Generator(64, COUNT, "icb", 0.1)
    crops = torch.rand(3, 3, 64, 64) * 2 - 1
    assert torch.equal(network(crops, torch.eye(COUNT)[:3]), crops)


def test_sides_and_sizes() -> None:
    for size in (64, 112):
        graph, conditioned = generator_graph(size)
        assert graph.output_shapes() == {OUTPUT: (size, 3)} and len(conditioned) == 4
    network = PatchDiscriminator(COUNT)
    scores = network.scores(network(torch.zeros(2, 3, 64, 64)), torch.eye(COUNT)[:2])
    assert scores.shape == (2, 64)


def test_frozen_slopes_have_the_gradient_of_learned_ones() -> None:
    torch.manual_seed(0)
    learned, x = nn.PReLU(5), torch.randn(2, 5, 4, 4, requires_grad=True)
    nn.init.uniform_(learned.weight)
    gradient = torch.randn_like(x)
    pairs = [(block(x), torch.autograd.grad(block(x), x, gradient)[0]) for block in (learned, FixedPReLU(learned))]
    torch.testing.assert_close(*pairs)


def test_crops_are_moved_up_for_the_recogniser() -> None:
    crops = torch.arange(112.0)[None, None, :, None].expand(1, 3, 112, 112)
    found = as_recognised(crops)
    assert found.shape == (1, 3, 112, 112) and found[0, 0, 14:, 0].tolist() == list(range(98))
    for _ in range(10):
        assert as_recognised(torch.rand(1, 3, 64, 64), moved=True).shape == (1, 3, 112, 112)
