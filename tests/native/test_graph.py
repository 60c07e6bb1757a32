"""Graphs in C against the same nodes in torch, and in plain loops."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.random_graph import light_graph, random_tensors
from cascade import _native
from cascade.nn.graphs import IMAGE, Graph, GraphBuilder, Node, native_nodes

LEVELS = _native.simd_levels()
TOLERANCE, BETWEEN_LEVELS = 1e-4, 1e-5

Tensors = dict[str, np.ndarray]


def native(graph: Graph, tensors: Tensors, level: str | None = None) -> _native.Graph:
    return _native.Graph(native_nodes(graph, tensors), graph.input_size, list(graph.outputs.values()), level)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def crops_of(graph: Graph, count: int = 2) -> np.ndarray:
    return noise(count, graph.input_size, graph.input_size, 3)


def agree(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float) -> None:
    """Outputs of the same shapes, within a fraction of the largest number of each."""
    for mine, right in zip(found, expected, strict=True):
        assert (mine.dtype, mine.shape) == (np.float32, right.shape)
        assert np.isfinite(right).all()
        np.testing.assert_allclose(mine, right, rtol=0, atol=tolerance * max(1.0, np.abs(right).max(initial=0)))


# References


def in_torch(graph: Graph, tensors: Tensors, crops: np.ndarray) -> list[np.ndarray]:
    """The outputs by torch's own operations."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional

    def weighted(index: int, node: Node, x: Any) -> Any:
        weight, bias = (torch.from_numpy(tensors[f"{index}.{name}"]) for name in ("weight", "bias"))
        if node.kind == "depthwise":
            return functional.conv2d(x, weight[:, None], bias, node.stride, node.padding, groups=len(weight))
        if node.kind == "spatial_gate":
            pair = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
            return functional.conv2d(pair, weight[None], bias, padding=node.kernel // 2)
        return functional.conv2d(x, weight, bias, node.stride, node.padding)

    def pooled(pool: Any, x: Any, bins: tuple[int, ...]) -> list[Any]:
        return [pool(x, b).permute(0, 2, 3, 1).flatten(1) for b in bins]

    def step(index: int, node: Node, maps: dict[int, Any]) -> Any:
        x = maps[node.input]
        if node.kind == "pyramid_pool":
            means = pooled(functional.adaptive_avg_pool2d, x, node.bins)
            return torch.cat([*means, *pooled(functional.adaptive_max_pool2d, x, node.bins)], dim=1)[..., None, None]
        if node.kind == "gate":
            gate = (maps[node.channel_gate] + maps[node.spatial_gate]) / 2
            return x * (1 - gate if node.rest else gate)
        if node.kind == "upsample":
            x = x.repeat_interleave(node.stride, 2).repeat_interleave(node.stride, 3)
            return x if node.add is None else x + maps[node.add]
        x = weighted(index, node, x)
        if node.activation == "prelu":
            x = functional.prelu(x, torch.from_numpy(tensors[f"{index}.slope"]))
        elif node.activation != "none":
            x = getattr(torch, node.activation)(x)
        return x if node.add is None else x + maps[node.add]

    maps = {IMAGE: (torch.from_numpy(crops).permute(0, 3, 1, 2).float() - 127.5) / 128}
    for index, node in enumerate(graph.nodes):
        maps[index] = step(index, node, maps)
    return [maps[index].permute(0, 2, 3, 1).flatten(1).numpy() for index in graph.outputs.values()]


def in_loops(graph: Graph, tensors: Tensors, crop: np.ndarray) -> dict[int, np.ndarray]:
    """Every feature map (row, column, channel) in float64, position by position, as `cascade.nn.graphs` defines it."""
    maps = {IMAGE: (crop - 127.5) / 128}
    for index, node in enumerate(graph.nodes):
        x, arrays = maps[node.input], {name: tensors.get(f"{index}.{name}") for name in ("weight", "bias", "slope")}
        if node.kind == "pyramid_pool":
            maps[index] = pyramid(x, node.bins)
        elif node.kind == "gate":
            gate = (maps[node.channel_gate] + maps[node.spatial_gate]) / 2
            maps[index] = x * (1 - gate) if node.rest else x * gate
        elif node.kind == "upsample":
            y = x.repeat(node.stride, axis=0).repeat(node.stride, axis=1)
            maps[index] = y if node.add is None else y + maps[node.add]
        else:
            y = activated(convolved(x, node, arrays), node.activation, arrays["slope"])
            maps[index] = y if node.add is None else y + maps[node.add]
    return maps


def convolved(x: np.ndarray, node: Node, arrays: dict[str, np.ndarray | None]) -> np.ndarray:
    padding = node.kernel // 2 if node.kind == "spatial_gate" else node.padding
    if node.kind == "spatial_gate":
        x = np.stack([x.mean(axis=2), x.max(axis=2)], axis=2)
    x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    side = (len(x) - node.kernel) // node.stride + 1
    form = {"conv": "oiyx,yxi->o", "depthwise": "iyx,yxi->i", "spatial_gate": "iyx,yxi->"}[node.kind]
    rows = []
    for y in range(side):
        for column in range(side):
            window = x[y * node.stride :, column * node.stride :][: node.kernel, : node.kernel]
            rows.append(np.einsum(form, arrays["weight"], window) + arrays["bias"])
    return np.array(rows).reshape(side, side, -1)


def activated(x: np.ndarray, activation: str, slope: np.ndarray | None) -> np.ndarray:
    return {
        "none": lambda: x,
        "relu": lambda: np.maximum(x, 0),
        "prelu": lambda: np.where(x > 0, x, slope * x),
        "sigmoid": lambda: 1 / (1 + np.exp(-x)),
    }[activation]()


def pyramid(x: np.ndarray, bins: tuple[int, ...]) -> np.ndarray:
    side, found = len(x), []
    for reduce in (np.mean, np.max):
        for b in bins:
            edges = [(i * side // b, -(-(i + 1) * side // b)) for i in range(b)]
            found += [reduce(x[top:bottom, left:right], axis=(0, 1)) for top, bottom in edges for left, right in edges]
    return np.concatenate(found)[None, None]


# The light network


@cache
def light() -> tuple[Graph, Tensors]:
    graph = light_graph()
    return graph, random_tensors(graph)


@pytest.mark.parametrize("level", LEVELS)
def test_the_light_network_is_torchs(level: str) -> None:
    graph, tensors = light()
    crops = crops_of(graph, 3)
    expected = in_torch(graph, tensors, crops)
    assert all(output.std() > 0.1 for output in expected)
    found = native(graph, tensors, level).run(crops)
    assert [output.shape for output in found] == [(3, 128), (3, 101)]
    agree(found, expected, TOLERANCE)


@pytest.mark.parametrize("level", LEVELS)
def test_levels_agree_with_scalar(level: str) -> None:
    graph, tensors = light()
    crops = crops_of(graph, 1)
    agree(native(graph, tensors, level).run(crops), native(graph, tensors, "scalar").run(crops), BETWEEN_LEVELS)


@pytest.mark.parametrize("level", LEVELS)
def test_a_crops_outputs_do_not_depend_on_its_neighbours(level: str) -> None:
    graph, tensors = light()
    network, crops = native(graph, tensors, level), crops_of(graph, 4)
    together = network.run(crops)
    for i in range(4):
        for whole, alone in zip(together, network.run(crops[i : i + 1]), strict=True):
            np.testing.assert_array_equal(whole[i : i + 1], alone)


# Each kind of node

KINDS = {
    "dense over the image": [Node("conv", IMAGE, 3, 2, 1, 5, "prelu")],
    "dense, one position a pixel": [Node("conv", IMAGE, channels=33, activation="relu")],
    "fully connected": [Node("conv", IMAGE, 7, channels=6), Node("conv", 0, channels=40, activation="sigmoid")],
    "depthwise over the image": [Node("depthwise", IMAGE, 3, padding=1, activation="prelu")],
    "global depthwise": [Node("conv", IMAGE, channels=17), Node("depthwise", 0, 7)],
    "depthwise of an even kernel": [Node("conv", IMAGE, channels=17), Node("depthwise", 0, 4, 3, 3, activation="relu")],
    "a sum": [Node("conv", IMAGE, channels=3, activation="relu", add=IMAGE), Node("depthwise", 0, 3, 1, 1, add=IMAGE)],
    "global pooling": [Node("pyramid_pool", IMAGE, bins=(1,))],
    "a pyramid": [Node("conv", IMAGE, channels=5), Node("pyramid_pool", 0, bins=(1, 2, 3, 9))],
    "spatial gate of the image": [Node("spatial_gate", IMAGE, 7, activation="sigmoid")],
    "spatial gate": [Node("conv", IMAGE, channels=37), Node("spatial_gate", 0, 3)],
    "upsample": [Node("conv", IMAGE, 3, 2, 1, 18), Node("upsample", 0, stride=2), Node("conv", 1, 3, 1, 1, 5)],
    "upsample of the image": [Node("upsample", IMAGE, stride=3)],
    "upsample and a skip": [
        Node("conv", IMAGE, channels=6),
        Node("conv", 0, 4, 1, 1, 6),
        Node("conv", 1, 3, 1, 1, 6),
        Node("upsample", 2, stride=1, add=1),
    ],
    "gates": [
        Node("pyramid_pool", IMAGE, bins=(1,)),
        Node("conv", 0, channels=3, activation="sigmoid"),
        Node("spatial_gate", IMAGE, 3, activation="sigmoid"),
        Node("gate", IMAGE, channel_gate=1, spatial_gate=2),
        Node("gate", IMAGE, channel_gate=1, spatial_gate=2, rest=True),
    ],
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("nodes", KINDS.values(), ids=KINDS.keys())
def test_every_kind_is_what_it_says(nodes: list[Node], level: str) -> None:
    graph = Graph("small", 7, tuple(nodes), {str(i): i for i in range(len(nodes))})
    tensors = random_tensors(graph)
    crops = crops_of(graph)
    found = native(graph, tensors, level).run(crops)
    for i, crop in enumerate(crops):
        maps = in_loops(graph, tensors, crop)
        for index, output in enumerate(found):
            assert maps[index].shape == (graph.shapes()[index][0],) * 2 + (graph.shapes()[index][1],)
            np.testing.assert_allclose(output[i], maps[index].ravel(), rtol=1e-5, atol=1e-5)


def test_a_gate_and_its_rest_sum_to_their_input() -> None:
    graph = Graph("gates", 7, tuple(KINDS["gates"]), {"through": 3, "rest": 4})
    crops = crops_of(graph)
    through, rest = native(graph, random_tensors(graph)).run(crops)
    np.testing.assert_allclose(through + rest, (crops.reshape(2, -1) - 127.5) / 128, rtol=0, atol=1e-6)


def test_sigmoids_of_large_numbers_are_finite() -> None:
    graph = Graph("sigmoid", 1, (Node("conv", IMAGE, channels=2, activation="sigmoid"),), {"out": 0})
    weight = np.array([[1e30] * 3, [-1e30] * 3], np.float32)[..., None, None]
    tensors = {"0.weight": weight, "0.bias": np.zeros(2, np.float32)}
    for level in LEVELS:
        found = native(graph, tensors, level).run(np.full((1, 1, 1, 3), 255, np.uint8))[0]
        np.testing.assert_array_equal(found, [[1, 0]])


# Any graph


class Growing:
    """Draws nodes one by one, each fitting what is there."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.size = draw(st.integers(1, 20))
        self.net = GraphBuilder()

    def shapes(self) -> list[tuple[int, int]]:
        """Of the image, then of the nodes."""
        if not self.net.nodes:
            return [(self.size, 3)]
        return [(self.size, 3), *self.net.build("any", self.size, {"out": 0}).shapes()]

    def add(self) -> None:
        shapes = self.shapes()
        after = self.draw(st.integers(-1, len(shapes) - 2))
        side, channels = shapes[after + 1]
        kind = self.draw(st.sampled_from(["conv", "conv", "depthwise", "pool", "gates", "upsample"]))
        if kind == "pool" and channels < 100:
            bins = self.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
            self.net.pyramid_pool(tuple(bins), after)
        elif kind == "gates" and channels < 100:
            self.net.pyramid_pool((1,), after)
            channel = self.net.conv(channels, activation="sigmoid")
            spatial = self.net.spatial_gate(self.draw(st.sampled_from([1, 3, 7])), "none", after)
            self.net.gate(after, channel, spatial, self.draw(st.booleans()))
        elif kind == "upsample" and side <= 12:
            factor = self.draw(st.integers(1, 3))
            equal = [index - 1 for index, shape in enumerate(shapes) if shape == (side * factor, channels)]
            self.net.upsample(factor, self.draw(st.sampled_from([*equal, None])), after)
        else:
            self.convolution(kind, after, side, channels, shapes)

    def convolution(self, kind: str, after: int, side: int, channels: int, shapes: list[tuple[int, int]]) -> None:
        kernel, stride = self.draw(st.integers(1, 5)), self.draw(st.integers(1, 3))
        padding = self.draw(st.integers(0, kernel - 1))
        if side + 2 * padding < kernel or self.draw(st.integers(0, 5)) == 0:
            kernel, padding = min(side, 16), 0
        if kind != "depthwise":
            channels = self.draw(st.one_of(st.integers(1, 40), st.just(channels)))
        made = (side + 2 * padding - kernel) // stride + 1, channels
        equal = [index - 1 for index, shape in enumerate(shapes) if shape == made]
        values: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "activation": self.draw(st.sampled_from(["none", "relu", "prelu", "sigmoid"])),
            "add": self.draw(st.sampled_from([*equal, None])),
            "after": after,
        }
        if kind == "depthwise":
            self.net.depthwise(kernel, **values)
        else:
            self.net.conv(channels, kernel, **values)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    growing = Growing(draw)
    for _ in range(draw(st.integers(1, 7))):
        growing.add()
    last = len(growing.net.nodes) - 1
    outputs = {"last": last, "any": draw(st.integers(0, last)), "again": last}
    return growing.net.build("any", growing.size, outputs)


@given(graphs(), st.sampled_from(LEVELS))
@settings(max_examples=150)
def test_any_graph_is_torchs(graph: Graph, level: str) -> None:
    tensors, crops = random_tensors(graph), crops_of(graph)
    found = native(graph, tensors, level).run(crops)
    agree(found, in_torch(graph, tensors, crops), TOLERANCE)
    agree(found, native(graph, tensors, "scalar").run(crops), BETWEEN_LEVELS)


# Running


def test_no_crops_give_empty_outputs() -> None:
    graph, tensors = light()
    found = native(graph, tensors).run(np.empty((0, 112, 112, 3), np.uint8))
    assert [(output.shape, output.dtype) for output in found] == [((0, 128), np.float32), ((0, 101), np.float32)]


def test_crops_of_any_layout_will_do() -> None:
    graph = Graph("small", 7, tuple(KINDS["gates"]), {"out": 4})
    network, crops = native(graph, random_tensors(graph)), crops_of(graph, 4)
    crops.flags.writeable = False
    for view in (crops[::-1], crops[:, ::-1], crops[:, :, :, ::-1], crops[::2]):
        np.testing.assert_array_equal(network.run(view)[0], network.run(view.copy())[0])


def test_a_graph_keeps_its_own_weights() -> None:
    graph = Graph("small", 7, tuple(KINDS["a sum"]), {"out": 1})
    tensors, crops = random_tensors(graph), crops_of(graph)
    network = native(graph, tensors)
    before = network.run(crops)[0]
    for tensor in tensors.values():
        tensor[:] = np.nan
    np.testing.assert_array_equal(network.run(crops)[0], before)


def test_one_pool_serves_every_graph() -> None:
    pool = _native.ThreadPool()
    networks = []
    for nodes in KINDS.values():
        graph = Graph("small", 7, tuple(nodes), {"out": len(nodes) - 1})
        networks.append(native(graph, random_tensors(graph)))
    crops = noise(3, 7, 7, 3)
    expected = [network.run(crops)[0] for network in networks]
    for network, right in [*zip(networks, expected, strict=True)] * 2:
        np.testing.assert_array_equal(network.run(crops, pool)[0], right)
    held = pool.nbytes
    networks[0].run(noise(50, 7, 7, 3), pool)
    assert pool.nbytes == held  # crops go one by one


def test_threads_share_a_graph() -> None:
    graph, tensors = light()
    network, crops = native(graph, tensors), crops_of(graph, 6)
    expected = network.run(crops)

    def alone(i: int) -> list[np.ndarray]:
        return network.run(crops[i % 6 : i % 6 + 1], _native.ThreadPool())

    with ThreadPoolExecutor(4) as pool:
        for i, found in enumerate(pool.map(alone, range(24))):
            for mine, right in zip(found, expected, strict=True):
                np.testing.assert_array_equal(mine[0], right[i % 6])


@pytest.mark.parametrize("level", LEVELS)
def test_a_graph_knows_itself(level: str) -> None:
    graph, tensors = light()
    network = native(graph, tensors, level)
    assert (network.level, network.input_size, network.outputs) == (level, 112, (128, 101))


# Misuse


def conv(out: int = 4, into: int = 3, kernel: int = 1, **changes: Any) -> dict[str, Any]:
    weight = np.zeros((out, into, kernel, kernel), np.float32)
    return {"kind": "conv", "input": -1, "weight": weight, "bias": np.zeros(out), **changes}


def depthwise(channels: int = 3, kernel: int = 1, **changes: Any) -> dict[str, Any]:
    return conv(channels, kernel=kernel, kind="depthwise", weight=np.zeros((channels, kernel, kernel)), **changes)


def spatial(kernel: int = 3, **changes: Any) -> dict[str, Any]:
    return conv(1, kind="spatial_gate", weight=np.zeros((2, kernel, kernel)), **changes)


def pool(*bins: int, **changes: Any) -> dict[str, Any]:
    return {"kind": "pyramid_pool", "input": -1, "bins": bins, **changes}


def gate(**changes: Any) -> dict[str, Any]:
    return {"kind": "gate", "input": -1, "channel_gate": 0, "spatial_gate": 1, **changes}


GATES = [conv(3, kernel=4), spatial()]

WRONG_NODES: dict[str, tuple[Any, str]] = {
    "none": (None, "expected a list of 1 to 250 nodes, got NoneType"),
    "no nodes": ([], "expected a list of 1 to 250 nodes"),
    "too many": ([pool(1)] * 251, "expected a list of 1 to 250 nodes"),
    "not a node": ([3], "node 0 cannot be read"),
    "an empty one": ([conv(), {}], "node 1 cannot be read"),
    "another kind": ([conv(kind="norm")], "kind of node 0: expected one of conv, .*, got 'norm'"),
    "a list as kind": ([conv(kind=[])], "kind of node 0: expected one of"),
    "itself": ([conv(input=0)], "input of node 0: expected -1 to -1, got 0"),
    "before the image": ([conv(input=-2)], "input of node 0: expected -1 to -1, got -2"),
    "a later node": ([conv(), conv(input=2)], "input of node 1: expected -1 to 0, got 2"),
    "no weight": ([{"kind": "conv", "input": -1, "bias": [0]}], "node 0 cannot be read.*weight"),
    "words": ([conv(weight="abc")], "weight of node 0: expected numbers"),
    "other inputs": ([conv(into=4)], r"node 0 has a weight of shape \(4, 4, 1, 1\), expected \(out, 3, k, k\)"),
    "flat": ([conv(weight=np.zeros(12))], "node 0 has a weight of shape"),
    "one number": ([conv(weight=0.0)], "node 0 has a weight of shape"),
    "oblong": ([conv(weight=np.zeros((4, 3, 2, 1)))], "node 0 has a weight of shape"),
    "no outputs": ([conv(0)], "node 0 has a weight of shape"),
    "no kernel": ([conv(kernel=0)], "node 0 has a weight of shape"),
    "large kernel": ([conv(kernel=17)], "node 0 has a weight of shape"),
    "many outputs": ([conv((1 << 14) + 1)], "node 0 has a weight of shape"),
    "depthwise of others": ([depthwise(4)], r"weight of shape \(4, 1, 1\), expected \(3, k, k\)"),
    "spatial of others": ([conv(1, kind="spatial_gate", weight=np.zeros((3, 3, 3)))], r"expected \(2, k, k\)"),
    "even spatial": ([spatial(2)], "node 0 is a spatial gate with a kernel of 2, expected an odd one"),
    "short bias": ([conv(bias=[0.0])], r"node 0 has bias \(1,\)"),
    "no slope": ([conv(activation="prelu")], "node 0 cannot be read.*slope"),
    "long slope": ([conv(activation="prelu", slope=np.zeros(5))], r"slope \(5,\), expected \(4,\)"),
    "another activation": ([conv(activation="tanh")], "activation of node 0: expected one of none, relu"),
    "stride 0": ([conv(stride=0)], "stride of node 0: expected 1 to 16, got 0"),
    "half a stride": ([conv(stride=1.5)], "stride of node 0: expected a whole number"),
    "negative padding": ([conv(padding=-1)], "padding of node 0: expected 0 to 15, got -1"),
    "padding of a kernel": ([conv(padding=1)], "node 0 does not fit its input: a kernel of 1 with padding 1"),
    "too large": ([conv(kernel=5)], "node 0 does not fit its input: a kernel of 5 with padding 0 over a side of 4"),
    "another shape added": ([conv(), conv(3, 4, input=0, add=0)], r"node 1 adds a map of \(4, 4\).*expected \(4, 3\)"),
    "another size added": ([conv(3, kernel=3, padding=1, stride=2, add=-1)], "node 0 adds a map"),
    "a later one added": ([conv(add=0)], "add of node 0: expected -1 to -1, got 0"),
    "no bins": ([pool()], "bins of node 0: expected 1 to 8 numbers"),
    "bins of 0": ([pool(0)], "bins of node 0: expected 1 to 16, got 0"),
    "bins of 17": ([pool(17)], "bins of node 0: expected 1 to 16, got 17"),
    "nine bins": ([pool(*[1] * 9)], "bins of node 0: expected 1 to 8 numbers"),
    "bins in words": ([pool(1, bins="12")], "bins of node 0: expected 1 to 8 numbers"),
    "too much pooling": ([pool(16, 16, 16), pool(16, 16, input=0)], "node 1 makes .* channels, expected at most"),
    "upsampled to nothing": ([{"kind": "upsample", "input": -1, "stride": 0}], "stride of node 0"),
    "upsampled too far": (
        [
            {"kind": "upsample", "input": -1, "stride": 16},
            *[{"kind": "upsample", "input": n, "stride": 16} for n in (0, 1)],
        ],
        "node 2 has a side of 16384, expected at most 1024",
    ),
    "upsampled and added": ([{"kind": "upsample", "input": -1, "stride": 2, "add": -1}], "node 0 adds a map of"),
    "no channel gate": ([*GATES, gate(channel_gate=None)], "channel_gate of node 2: expected a whole number"),
    "spatial as channel": ([*GATES, gate(channel_gate=1)], r"channel_gate of node 2 is a map of \(4, 1\)"),
    "channel as spatial": ([*GATES, gate(spatial_gate=0)], r"spatial_gate of node 2 is a map of \(1, 3\)"),
}


def refuses(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize(("nodes", "message"), WRONG_NODES.values(), ids=WRONG_NODES.keys())
def test_nodes_that_do_not_fit(nodes: Any, message: str) -> None:
    refuses(lambda: _native.Graph(nodes, 4, [0]), f"^nodes: .*{message}|^nodes: {message}")


@pytest.mark.parametrize("outputs", [None, [], 0, [1], [-1], [0.5], [0] * 17, ["0"]])
def test_wrong_outputs(outputs: Any) -> None:
    refuses(lambda: _native.Graph([conv()], 4, outputs), "^outputs: ")


@pytest.mark.parametrize("size", [0, -1, 1025, "4", None, 1.5])
def test_wrong_input_sizes(size: Any) -> None:
    refuses(lambda: _native.Graph([conv()], size, [0]), "^input_size: ")


def test_another_level() -> None:
    refuses(lambda: _native.Graph([conv()], 4, [0], "altivec"), "^level: expected one of .*, got 'altivec'")


@pytest.mark.parametrize(
    "crops",
    [
        None,
        [],
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((1, 3, 4, 4), np.uint8),
        np.zeros((1, 5, 5, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.float32),
    ],
)
def test_wrong_crops(crops: Any) -> None:
    refuses(lambda: _native.Graph([conv()], 4, [0]).run(crops), r"^crops: expected uint8 \(n, 4, 4, 3\), got ")


def test_a_pool_of_another_type() -> None:
    refuses(lambda: _native.Graph([conv()], 4, [0]).run(np.zeros((1, 4, 4, 3), np.uint8), 3), "pool")


def test_a_graph_cannot_be_had_without_nodes() -> None:
    refuses(lambda: _native.Graph.__new__(_native.Graph), "argument")
