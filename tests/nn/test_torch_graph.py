"""Graphs in torch: batch normalisation merged away, weight files read back, and the native engine's agreement."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import _native
from cascade.nn.graphs import IMAGE, Graph, GraphBuilder, native_nodes
from cascade.nn.torch_graph import (
    DepthwiseConv2d,
    GraphNetwork,
    export_tensors,
    from_tensors,
    gated,
    pyramid_pool,
)
from train.recognition.architectures import light

TOLERANCE = 1e-4


def small() -> Graph:
    """Every kind of node, a shortcut, and each activation."""
    builder = GraphBuilder()
    stem = builder.conv(8, 3, 2, 1, "prelu", after=IMAGE)
    builder.depthwise(3, 1, 1, "relu")
    features = builder.conv(8, 1, add=stem)
    pooled = builder.pyramid_pool((1, 2), after=features)
    squeezed = builder.conv(4, activation="relu", after=pooled)
    channels = builder.conv(8, activation="sigmoid", after=squeezed)
    positions = builder.spatial_gate(3, after=features)
    builder.gate(features, channels, positions)
    age = builder.conv(5, 6)
    builder.gate(features, channels, positions, rest=True)
    builder.depthwise(6, activation="prelu")
    embedding = builder.conv(7)
    return builder.build("small", 12, {"embedding": embedding, "age": age})


def lived_in(graph: Graph, seed: int = 0) -> GraphNetwork:
    """A network in training whose batch normalisation has seen something."""
    torch.manual_seed(seed)
    network = GraphNetwork(graph, batch_norm=True, normalised=(graph.outputs["embedding"],))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
        if isinstance(module, torch.nn.PReLU):
            torch.nn.init.uniform_(module.weight, -0.2, 0.5)
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return network.eval().requires_grad_(False)


def crops_of(graph: Graph, count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, graph.input_size, graph.input_size, 3), np.uint8)


def inputs(crops: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(crops).permute(0, 3, 1, 2).float() - 127.5) / 128


def test_normalisation_stands_where_it_is_said_to():
    graph = small()
    normalised = {
        index
        for index, block in enumerate(lived_in(graph).blocks)
        if any(isinstance(module, torch.nn.BatchNorm2d) for module in block.modules())
    }
    shapes = graph.shapes()
    several = {
        index
        for index, node in enumerate(graph.nodes)
        if node.kind in ("conv", "depthwise", "spatial_gate") and (node.input == IMAGE or shapes[node.input][0] > 1)
    }
    assert normalised == several | {graph.outputs["embedding"]}
    assert not [module for module in GraphNetwork(graph).modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_exported_weights_are_those_that_the_graph_asks_for():
    graph = small()
    tensors = export_tensors(lived_in(graph))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == graph.tensor_shapes()
    assert not any(tensor.requires_grad for tensor in tensors.values())


@pytest.mark.parametrize("seed", range(3))
def test_exported_weights_compute_the_same(seed):
    graph = small()
    network = lived_in(graph, seed)
    read = from_tensors(graph, export_tensors(network))
    assert not read.training
    assert not any(weights.requires_grad for weights in read.parameters())
    x = inputs(crops_of(graph, 4))
    every = tuple(range(len(graph.nodes)))
    expected, found = network(x, keep=every), read(x, keep=every)
    for index in every:
        torch.testing.assert_close(found[index], expected[index], rtol=TOLERANCE, atol=TOLERANCE)


def test_export_leaves_the_network_alone():
    graph = small()
    network = lived_in(graph)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for tensor in export_tensors(network).values():
        tensor.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_what_is_kept_does_not_depend_on_what_else_is():
    graph = small()
    network = lived_in(graph)
    x = inputs(crops_of(graph, 2))
    assert set(network(x)) == set(graph.outputs.values())
    every = network(x, keep=tuple(range(len(graph.nodes))))
    for index in range(len(graph.nodes)):
        found = network(x, keep=(index,))
        assert set(found) == {index, *graph.outputs.values()}
        assert all(torch.equal(found[at], every[at]) for at in found)
    shapes = [(2, channels, side, side) for side, channels in graph.shapes()]
    assert [tuple(every[index].shape) for index in range(len(graph.nodes))] == shapes


def test_a_part_makes_the_maps_of_the_whole():
    """From each node to each behind it, where nothing between them reads a map before."""
    graph = small()
    network = lived_in(graph)
    x = inputs(crops_of(graph, 2))
    maps = {IMAGE: x, **network(x, keep=tuple(range(len(graph.nodes))))}
    found = set()
    for first in range(len(graph.nodes)):
        for last in range(first, len(graph.nodes)):
            node = graph.nodes[last]
            reads = [node.input, node.add, node.channel_gate, node.spatial_gate]
            if any(read is not None and read < first - 1 for read in reads):
                break
            assert torch.equal(network.part(maps[first - 1], first, last), maps[last])
            found.add((first, last))
    # the whole, a shortcut, and gates with what is behind them
    assert {(0, len(graph.nodes) - 1), (1, 2), (3, len(graph.nodes) - 1)} <= found


@given(st.integers(3, 12), st.sampled_from([1, 3, 5]), st.integers(1, 3), st.integers(0, 2), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_strided_depthwise_convolution_in_bfloat16_is_a_part_of_that_of_stride_1(side, kernel, stride, padding, seed):
    if side + 2 * padding < kernel:
        return
    torch.manual_seed(seed)
    layer = DepthwiseConv2d(4, 4, kernel, stride, padding, groups=4)
    x = torch.randn(2, 4, side, side).bfloat16().float()
    with torch.no_grad():
        layer.weight.copy_(layer.weight.bfloat16())
        layer.bias.copy_(layer.bias.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        found = layer.train()(x)
    expected = torch.nn.functional.conv2d(x, layer.weight, layer.bias, stride, padding, 1, 4)
    assert found.shape == expected.shape
    assert torch.allclose(found.float(), expected, rtol=0.02, atol=0.02)
    assert torch.equal(layer.eval()(x), expected)


def test_every_weight_gets_a_gradient():
    graph = small()
    network = GraphNetwork(graph, batch_norm=True)
    found = network(inputs(crops_of(graph, 4)))
    sum(output.square().sum() for output in found.values()).backward()
    assert all(weights.grad is not None for weights in network.parameters())


def in_loops(x: np.ndarray, bins: tuple[int, ...]) -> np.ndarray:
    """A pyramid of windows of one map (channels, side, side), the slow and plain way."""
    side, found = x.shape[1], []
    for reduce in (np.mean, np.max):
        for b in bins:
            edges = [(i * side // b, -(-(i + 1) * side // b)) for i in range(b)]
            for top, bottom in edges:
                for left, right in edges:
                    found += [float(reduce(channel[top:bottom, left:right])) for channel in x]
    return np.array(found)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 99))
def test_the_order_of_a_pyramid(side, channels, bins, seed):
    x = np.random.default_rng(seed).normal(size=(2, channels, side, side)).astype(np.float32)
    found = pyramid_pool(torch.from_numpy(x), tuple(bins))
    assert found.shape == (2, 2 * channels * sum(b * b for b in bins), 1, 1)
    for one, row in zip(x, found[:, :, 0, 0].numpy(), strict=True):
        np.testing.assert_allclose(row, in_loops(one, tuple(bins)), rtol=1e-5, atol=1e-6)


@given(st.floats(-9, 9), st.floats(0, 1), st.floats(0, 1))
def test_a_gates_two_sides_sum_to_the_input(x, channel, spatial):
    value, c, s = (torch.full((1, 1, 1, 1), number, dtype=torch.float64) for number in (x, channel, spatial))
    through, rest = gated(value, c, s, False), gated(value, c, s, True)
    assert float(through) == pytest.approx(x * (channel + spatial) / 2)
    assert float(through + rest) == pytest.approx(x)


def agrees_with_the_native_engine(graph: Graph, network: GraphNetwork) -> None:
    tensors = {name: tensor.numpy() for name, tensor in export_tensors(network).items()}
    crops = crops_of(graph, 3)
    engine = _native.Graph(native_nodes(graph, tensors), graph.input_size, list(graph.outputs.values()))
    maps = network(inputs(crops))
    for index, found in zip(graph.outputs.values(), engine.run(crops), strict=True):
        expected = maps[index].permute(0, 2, 3, 1).flatten(1).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * max(1, np.abs(expected).max()))


def test_the_native_engine_agrees():
    agrees_with_the_native_engine(small(), lived_in(small()))


def test_the_native_engine_agrees_on_the_light_network():
    for decomposed in (True, False):
        graph = light(decomposed).graph
        agrees_with_the_native_engine(graph, lived_in(graph))
