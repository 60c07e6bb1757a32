"""Graphs: what fits and what does not, shapes, counts, and JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.random_graph import light_graph, random_tensors
from cascade.nn.graphs import IMAGE, MOST_NODES, Graph, GraphBuilder, Node, native_nodes


def graph(*nodes: Node, size: int = 8, **outputs: int) -> Graph:
    return Graph("test", size, nodes, outputs or {"out": len(nodes) - 1})


STEM = Node("conv", IMAGE, 3, 2, 1, 16, "prelu")
GATES = (
    Node("pyramid_pool", IMAGE, bins=(1,)),
    Node("conv", 0, channels=3, activation="sigmoid"),
    Node("spatial_gate", IMAGE, 7, activation="sigmoid"),
)
GATE = Node("gate", IMAGE, channel_gate=1, spatial_gate=2)


# Shapes and counts


def test_shapes_follow_the_nodes() -> None:
    nodes = (
        STEM,
        Node("depthwise", 0, 3, padding=1, add=0),
        Node("conv", 1, kernel=4, channels=10),
        Node("pyramid_pool", 1, bins=(1, 2, 3)),
        Node("spatial_gate", 0, 7),
    )
    assert graph(*nodes).shapes() == [(4, 16), (4, 16), (1, 10), (1, 2 * 16 * 14), (4, 1)]
    assert graph(*GATES, GATE).shapes()[-1] == (8, 3)


def test_upsampling_multiplies_sides_and_adds_a_map_of_that_size() -> None:
    nodes = (STEM, Node("upsample", 0, stride=2), Node("upsample", 1, stride=1, add=1))
    whole = graph(*nodes)
    assert whole.shapes() == [(4, 16), (8, 16), (8, 16)]
    assert whole.weights() == graph(STEM).weights() and Graph.from_dict(whole.to_dict()) == whole
    with pytest.raises(ValueError, match=r"node 1 \(upsample\) adds a map of 4 × 4 × 16 to one of 8 × 8 × 16"):
        graph(STEM, Node("upsample", 0, stride=2, add=0))
    with pytest.raises(ValueError, match="has a side of 2048, expected at most 1024"):
        graph(STEM, Node("upsample", 0, stride=16), Node("upsample", 1, stride=16), size=16)


def test_odd_sides_round_down() -> None:
    for size in range(1, 20):
        assert graph(STEM, size=size).shapes() == [((size + 1) // 2, 16)]


def test_counts_are_those_of_the_weights() -> None:
    nodes = (STEM, Node("depthwise", 0, 3, padding=1), Node("spatial_gate", 1, 5), Node("pyramid_pool", 0, bins=(1,)))
    whole = graph(*nodes)
    assert whole.tensor_shapes() == {
        "0.weight": (16, 3, 3, 3),
        "0.bias": (16,),
        "0.slope": (16,),
        "1.weight": (16, 3, 3),
        "1.bias": (16,),
        "2.weight": (2, 5, 5),
        "2.bias": (1,),
    }
    assert whole.weights() == 16 * 27 + 32 + 16 * 9 + 16 + 50 + 1
    assert whole.multiply_adds() == 16 * (16 * 27 + 16 * 9 + 50)


def test_the_light_network_is_light() -> None:
    light = light_graph()
    assert light.output_shapes() == {"embedding": (1, 128), "age": (1, 101)}
    assert 100e6 < light.multiply_adds() < 130e6
    assert light.weights() == sum(tensor.size for tensor in random_tensors(light).values()) < 1.5e6


def test_an_output_may_be_any_node_and_have_many_positions() -> None:
    assert graph(STEM, Node("conv", 0, channels=5), stem=0, last=1).output_shapes() == {"stem": (4, 16), "last": (4, 5)}


# JSON


@pytest.mark.parametrize("whole", [light_graph(), graph(*GATES, GATE), graph(STEM)], ids=["light", "gates", "stem"])
def test_a_graph_survives_json(whole: Graph) -> None:
    assert Graph.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


def test_defaults_are_left_out() -> None:
    assert graph(Node("conv", IMAGE, channels=4)).to_dict()["nodes"] == [{"kind": "conv", "input": -1, "channels": 4}]


@pytest.mark.parametrize(
    "changes",
    [
        {"nodes": 3},
        {"nodes": [3]},
        {"nodes": [{"kind": "conv"}]},
        {"nodes": [{"kind": "conv", "input": -1, "channels": 4, "size": 3}]},
        {"nodes": [{"kind": "pyramid_pool", "input": -1, "bins": 3}]},
        {"nodes": []},
        {"outputs": 3},
        {"outputs": {"out": "0"}},
        {"input_size": "8"},
        {"input_size": True},
    ],
)
def test_other_values_are_no_graph(changes: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Graph.from_dict({**graph(STEM).to_dict(), **changes})
    with pytest.raises(KeyError):
        Graph.from_dict({})


# What does not fit

WRONG_NODES: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": "norm"}, "a node of kind 'norm'"),
    "activation": ({"activation": "tanh"}, "with activation 'tanh'"),
    "input": ({"input": -2}, "a conv with input -2, expected -1"),
    "no input": ({"input": None}, "a conv with input None"),
    "kernel": ({"kernel": 0}, "a conv with kernel 0, expected 1 to 16"),
    "large kernel": ({"kernel": 17}, "a conv with kernel 17, expected 1 to 16"),
    "stride": ({"stride": 0}, "a conv with stride 0"),
    "half": ({"stride": 1.5}, "a conv with stride 1.5"),
    "true": ({"stride": True}, "a conv with stride True"),
    "channels": ({"channels": 0}, "a conv with channels 0, expected 1 to 16384"),
    "many channels": ({"channels": 16385}, "a conv with channels 16385"),
    "padding": ({"padding": -1}, "a conv with padding -1, expected 0 to 0"),
    "large padding": ({"kernel": 3, "padding": 3}, "a conv with padding 3, expected 0 to 2"),
    "bins": ({"bins": (1,)}, r"a conv with bins \(1,\), which that kind does not use"),
    "rest": ({"rest": True}, "a conv with rest True, which that kind does not use"),
    "rest in words": ({"rest": "no"}, "a conv with rest 'no', expected True or False"),
    "gate": ({"channel_gate": 0}, "a conv with channel_gate 0, which that kind does not use"),
    "depthwise channels": ({"kind": "depthwise"}, "a depthwise with channels 4, which that kind does not use"),
    "no bins": ({"kind": "pyramid_pool", "channels": 0}, "a pyramid_pool without bins"),
    "a list": ({"kind": "pyramid_pool", "channels": 0, "bins": [1]}, r"bins \[1\], expected a tuple"),
    "a bin of 0": ({"kind": "pyramid_pool", "channels": 0, "bins": (1, 0)}, "with a bin of 0, expected 1 to 16"),
    "many bins": ({"kind": "pyramid_pool", "channels": 0, "bins": (1,) * 9}, "a tuple of at most 8"),
    "even": ({"kind": "spatial_gate", "channels": 0, "kernel": 4}, "a spatial_gate with kernel 4, expected an odd one"),
    "half a gate": ({"kind": "gate", "channels": 0, "channel_gate": 0}, "a gate without its channel_gate or"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG_NODES.values(), ids=WRONG_NODES.keys())
def test_nodes_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Node(**{"kind": "conv", "input": IMAGE, "channels": 4, **changes})


WRONG_GRAPHS: dict[str, tuple[tuple[Node, ...], str]] = {
    "none": ((), "expected a tuple of 1 to 250 nodes"),
    "many": ((Node("pyramid_pool", IMAGE, bins=(1,)),) * (MOST_NODES + 1), "expected a tuple of 1 to 250 nodes"),
    "itself": ((Node("conv", 0, channels=1),), "node 0 with input 0, expected -1 to -1"),
    "later": ((STEM, Node("conv", 2, channels=1)), "node 1 with input 2, expected -1 to 0"),
    "adds later": ((Node("conv", IMAGE, channels=1, add=0),), "node 0 with add 0"),
    "larger": ((Node("conv", IMAGE, 9, channels=1),), r"node 0 \(conv\) has a kernel of 9 over a padded side of 8"),
    "another sum": ((STEM, Node("conv", 0, channels=15, add=0)), "adds a map of 4 × 4 × 16 to one of 4 × 4 × 15"),
    "swapped gates": (
        (*GATES, Node("gate", IMAGE, channel_gate=2, spatial_gate=1)),
        r"node 3 \(gate\) has a gate of 8 × 8 × 1, expected 1 × 1 × 3",
    ),
    "another spatial gate": (
        (*GATES, Node("gate", IMAGE, channel_gate=1, spatial_gate=1)),
        "has a gate of 1 × 1 × 3, expected 8 × 8 × 1",
    ),
    "too much pooling": (
        (Node("pyramid_pool", IMAGE, bins=(16,) * 3), Node("pyramid_pool", 0, bins=(16,) * 2)),
        "has 4718592 channels, expected at most 131072",
    ),
}


@pytest.mark.parametrize(("nodes", "message"), WRONG_GRAPHS.values(), ids=WRONG_GRAPHS.keys())
def test_nodes_that_do_not_fit_each_other(nodes: tuple[Node, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Graph("test", 8, nodes, {"out": 0})


@pytest.mark.parametrize(
    "outputs", [{}, {"out": 1}, {"out": -1}, {"out": None}, ["out"], dict.fromkeys("abcdefghijklmnopq", 0)]
)
def test_outputs_that_are_not_there(outputs: Any) -> None:
    with pytest.raises(ValueError, match="output"):
        Graph("test", 8, (STEM,), outputs)


@pytest.mark.parametrize("size", [0, 1025, 1.5, "8"])
def test_inputs_of_no_size(size: Any) -> None:
    with pytest.raises(ValueError, match="an input of"):
        Graph("test", size, (STEM,), {"out": 0})


# Building


def test_a_builder_chains_its_nodes() -> None:
    net = GraphBuilder()
    stem = net.conv(16, 3, 2, 1, "prelu")
    net.depthwise(3, padding=1)
    last = net.conv(16, add=stem)
    pooled = net.pyramid_pool((1, 2), after=stem)
    assert [node.input for node in net.nodes] == [IMAGE, 0, 1, 0]
    built = net.build("built", 8, {"last": last, "pooled": pooled})
    assert built.output_shapes() == {"last": (4, 16), "pooled": (1, 160)}
    net.gate(last, stem, pooled)
    with pytest.raises(ValueError, match="node 4"):
        net.build("built", 8, {"last": last})


def test_native_nodes_carry_their_arrays() -> None:
    whole = graph(*GATES, GATE)
    tensors = random_tensors(whole)
    nodes = native_nodes(whole, tensors)
    assert [node["kind"] for node in nodes] == ["pyramid_pool", "conv", "spatial_gate", "gate"]
    assert nodes[1]["weight"] is tensors["1.weight"] and nodes[2]["bias"] is tensors["2.bias"]
    assert "slope" not in nodes[1] and "weight" not in nodes[0]


def test_a_part_of_a_graph_has_the_nodes_that_its_outputs_need():
    builder = GraphBuilder()
    builder.conv(8, 3, 2, 1, "relu", after=IMAGE)
    trunk = builder.conv(8, 3, 1, 1, add=0)
    first = builder.conv(2, 4, after=trunk)
    builder.conv(5, 4, after=trunk)
    second = builder.conv(3)
    graph = builder.build("two heads", 8, {"first": first, "second": second})
    part, kept = graph.part(["second"])
    assert kept == (0, 1, 3, 4)
    assert part.outputs == {"second": 3} and part.nodes[1].add == 0 and part.nodes[2].input == 1
    assert graph.part(["first", "second"])[0].nodes == graph.nodes
    with pytest.raises(KeyError):
        graph.part(["third"])
