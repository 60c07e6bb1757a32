"""Recognition networks as graphs, without any framework.

A graph is a list of nodes, each of which reads feature maps of earlier nodes. The torch modules and the native engine
are built from it, and a weight file holds its own graph. A feature map is square: (side, side, channels).

- ``conv``: a dense convolution with bias and zero padding. In a fully connected layer the kernel covers the input.
- ``depthwise``: a convolution with one filter per channel.
- ``pyramid_pool``: for every b of ``bins`` the means of b × b windows, window i from floor(i n / b) to
  ceil((i + 1) n / b) as in torch's adaptive pooling; then their maxima. The result is one position of 2 C Σb²
  channels: all means first, bins in order, windows row by row, channels innermost; then the maxima in that order.
  Bins of (1,) are global pooling.
- ``spatial_gate``: mean and maximum over the channels of each position, and a k × k convolution of the two to one
  channel, with zero padding that keeps the side.
- ``gate``: the input times g = (c + s) / 2, for a channel gate c of one position and a spatial gate s of one channel.
  With ``rest`` it is the input times 1 - g, so that the two sum to the input.
- ``upsample``: every position repeated ``stride`` times along both sides.

A node applies its activation after the bias, and then adds the map ``add``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from cascade.nn.architectures import LARGEST_CHANNELS, LARGEST_INPUT, LARGEST_KERNEL

Kind = Literal["conv", "depthwise", "pyramid_pool", "spatial_gate", "gate", "upsample"]
Activation = Literal["none", "relu", "prelu", "sigmoid"]
Shape = tuple[int, int]  # side and channels of a feature map

KINDS = ("conv", "depthwise", "pyramid_pool", "spatial_gate", "gate", "upsample")
ACTIVATIONS = ("none", "relu", "prelu", "sigmoid")
# The input of a node that reads the crop.
IMAGE = -1

# Limits of the native engine; a pyramid pool multiplies channels.
LARGEST_POOLED, MOST_NODES, MOST_BINS, MOST_OUTPUTS = 1 << 17, 250, 8, 16


@dataclass(frozen=True)
class Node:
    """One node of a graph. Fields that its kind does not use keep their defaults."""

    kind: Kind
    input: int  # index of an earlier node, IMAGE for the crop
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    channels: int = 0  # outputs of a conv; 0 for all others
    activation: Activation = "none"
    add: int | None = None
    bins: tuple[int, ...] = ()
    channel_gate: int | None = None
    spatial_gate: int | None = None
    rest: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for an invalid node."""
        if self.kind not in KINDS or self.activation not in ACTIVATIONS:
            raise ValueError(f"a node of kind {self.kind!r} with activation {self.activation!r}")
        for name, value, low, high in (
            ("input", self.input, IMAGE, MOST_NODES),
            ("kernel", self.kernel, 1, LARGEST_KERNEL),
            ("stride", self.stride, 1, LARGEST_KERNEL),
            ("channels", self.channels, int(self.kind == "conv"), LARGEST_CHANNELS),
        ):
            _check_number(f"a {self.kind} with {name}", value, low, high)
        _check_number(f"a {self.kind} with padding", self.padding, 0, self.kernel - 1)
        if not isinstance(self.bins, tuple) or len(self.bins) > MOST_BINS:
            raise ValueError(f"a {self.kind} with bins {self.bins!r}, expected a tuple of at most {MOST_BINS}")
        for each in self.bins:
            _check_number(f"a {self.kind} with a bin of", each, 1, LARGEST_KERNEL)
        if not isinstance(self.rest, bool):
            raise ValueError(f"a {self.kind} with rest {self.rest!r}, expected True or False")
        self._check_kind()

    def _check_kind(self) -> None:
        """Checks that the fields of its kind are set, and no others."""
        used = {
            "conv": {"kernel", "stride", "padding", "channels", "activation", "add"},
            "depthwise": {"kernel", "stride", "padding", "activation", "add"},
            "pyramid_pool": {"bins"},
            "spatial_gate": {"kernel", "activation"},
            "gate": {"channel_gate", "spatial_gate", "rest"},
            "upsample": {"stride", "add"},
        }[self.kind]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in {"kind", "input", *used} and value != field.default:
                raise ValueError(f"a {self.kind} with {field.name} {value!r}, which that kind does not use")
        if self.kind == "pyramid_pool" and not self.bins:
            raise ValueError("a pyramid_pool without bins")
        if self.kind == "gate" and (self.channel_gate is None or self.spatial_gate is None):
            raise ValueError("a gate without its channel_gate or spatial_gate")
        if self.kind == "spatial_gate" and self.kernel % 2 == 0:
            raise ValueError(f"a spatial_gate with kernel {self.kernel}, expected an odd one")

    def reads(self) -> tuple[int | None, ...]:
        """The nodes whose maps it reads; None for those it does without."""
        return self.input, self.add, self.channel_gate, self.spatial_gate

    def moved(self, places: Mapping[int, int]) -> Node:
        """The same node over other indices of those it reads."""
        names = ("input", "add", "channel_gate", "spatial_gate")
        read = {name: getattr(self, name) for name in names}
        moved: dict[str, Any] = {name: places[index] for name, index in read.items() if index is not None}
        return replace(self, **moved)

    def shape(self, shapes: Mapping[int, Shape]) -> Shape:
        """Side and channels of its map, from those of the maps before. Raises ValueError if they do not fit."""
        side, channels = shapes[self.input]
        if self.kind in ("conv", "depthwise"):
            side, channels = self._window_side(side), self.channels or channels
        elif self.kind == "upsample":
            side *= self.stride
            if side > LARGEST_INPUT:
                raise ValueError(f"has a side of {side}, expected at most {LARGEST_INPUT}")
        elif self.kind == "pyramid_pool":
            side, channels = 1, 2 * channels * sum(b * b for b in self.bins)
            if channels > LARGEST_POOLED:
                raise ValueError(f"has {channels} channels, expected at most {LARGEST_POOLED}")
        elif self.kind == "spatial_gate":
            channels = 1
        elif self.channel_gate is not None and self.spatial_gate is not None:
            for index, expected in ((self.channel_gate, (1, channels)), (self.spatial_gate, (side, 1))):
                if shapes[index] != expected:
                    raise ValueError(f"has a gate of {_text(shapes[index])}, expected {_text(expected)}")
        if self.add is not None and shapes[self.add] != (side, channels):
            raise ValueError(f"adds a map of {_text(shapes[self.add])} to one of {_text((side, channels))}")
        return side, channels

    def _window_side(self, side: int) -> int:
        padded = side + 2 * self.padding
        if padded < self.kernel:
            raise ValueError(f"has a kernel of {self.kernel} over a padded side of {padded}")
        return (padded - self.kernel) // self.stride + 1

    def weight_shape(self, before: int) -> tuple[int, ...] | None:
        """Shape of its weight over an input of ``before`` channels; None for a node without weights."""
        window = (self.kernel, self.kernel)
        if self.kind == "conv":
            return (self.channels, before, *window)
        if self.kind == "depthwise":
            return (before, *window)
        return (2, *window) if self.kind == "spatial_gate" else None


@dataclass(frozen=True)
class Graph:
    """A network for crops of ``input_size`` pixels. ``outputs`` are the nodes of its results, by name."""

    name: str
    input_size: int
    nodes: tuple[Node, ...]
    outputs: dict[str, int]

    def __post_init__(self) -> None:
        """Raises ValueError for an invalid graph."""
        _check_number("an input of", self.input_size, 1, LARGEST_INPUT)
        if not isinstance(self.nodes, tuple) or not 0 < len(self.nodes) <= MOST_NODES:
            raise ValueError(f"expected a tuple of 1 to {MOST_NODES} nodes")
        if not isinstance(self.outputs, dict) or not 0 < len(self.outputs) <= MOST_OUTPUTS:
            raise ValueError(f"expected a dict of 1 to {MOST_OUTPUTS} outputs, got {self.outputs!r}")
        for name, index in self.outputs.items():
            _check_number(f"output {name!r} of node", index, 0, len(self.nodes) - 1)
        self.shapes()

    def shapes(self) -> list[Shape]:
        """Side and channels of the map of each node."""
        found: dict[int, Shape] = {IMAGE: (self.input_size, 3)}
        for index, node in enumerate(self.nodes):
            for name in ("input", "add", "channel_gate", "spatial_gate"):
                value = getattr(node, name)
                if value is not None:
                    _check_number(f"node {index} with {name}", value, IMAGE, index - 1)
            try:
                found[index] = node.shape(found)
            except ValueError as error:
                raise ValueError(f"node {index} ({node.kind}) {error}") from None
        return [found[index] for index in range(len(self.nodes))]

    def output_shapes(self) -> dict[str, Shape]:
        """Side and channels of the map of each output."""
        shapes = self.shapes()
        return {name: shapes[index] for name, index in self.outputs.items()}

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all weights by name: ``3.weight``, ``3.bias`` and, for a PReLU, ``3.slope`` of node 3."""
        found: dict[str, tuple[int, ...]] = {}
        for index, (node, before, (_, after)) in enumerate(self._steps()):
            shape = node.weight_shape(before)
            if shape is not None:
                found[f"{index}.weight"] = shape
                found[f"{index}.bias"] = (after,)
                if node.activation == "prelu":
                    found[f"{index}.slope"] = (after,)
        return found

    def weights(self) -> int:
        """Weights, biases and PReLU slopes."""
        return sum(_product(shape) for shape in self.tensor_shapes().values())

    def multiply_adds(self) -> int:
        """Multiply-adds of all convolutions for one crop, without biases, activations, pools and gates."""
        found = 0
        for node, before, (side, _) in self._steps():
            found += side * side * _product(node.weight_shape(before) or (0,))
        return found

    def _steps(self) -> list[tuple[Node, int, Shape]]:
        """Each node with the channels of its input and the shape of its map."""
        shapes = self.shapes()
        return [
            (node, 3 if node.input == IMAGE else shapes[node.input][1], shape)
            for node, shape in zip(self.nodes, shapes, strict=True)
        ]

    def part(self, names: Sequence[str]) -> tuple[Graph, tuple[int, ...]]:
        """The graph of some outputs alone, and the index that each of its nodes has here. Raises KeyError."""
        needed: set[int] = set()
        waiting = [self.outputs[name] for name in names]
        while waiting:
            index = waiting.pop()
            if index != IMAGE and index not in needed:
                needed.add(index)
                waiting += [read for read in self.nodes[index].reads() if read is not None]
        kept = tuple(sorted(needed))
        places = {IMAGE: IMAGE, **{index: place for place, index in enumerate(kept)}}
        nodes = tuple(self.nodes[index].moved(places) for index in kept)
        return Graph(self.name, self.input_size, nodes, {name: places[self.outputs[name]] for name in names}), kept

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without defaults; `from_dict` reads them."""
        defaults = {field.name: field.default for field in fields(Node)}
        nodes = [
            {name: value for name, value in asdict(node).items() if value != defaults[name]} for node in self.nodes
        ]
        return {"name": self.name, "input_size": self.input_size, "nodes": nodes, "outputs": dict(self.outputs)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Graph:
        """The graph of such values. Raises KeyError, TypeError or ValueError for anything else."""
        nodes = tuple(Node(**{**node, "bins": tuple(node.get("bins", ()))}) for node in values["nodes"])
        return cls(str(values["name"]), values["input_size"], nodes, dict(values["outputs"]))


class GraphBuilder:
    """Builds a graph node by node: each method adds a node and returns its index.

    ``after`` is the node that it reads, by default the last one. Wrong numbers raise ValueError at once; nodes that do
    not fit together raise it when the graph is built.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def _append(self, kind: Kind, after: int | None, **values: Any) -> int:
        self.nodes.append(Node(kind, len(self.nodes) - 1 if after is None else after, **values))
        return len(self.nodes) - 1

    def conv(
        self,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        activation: Activation = "none",
        add: int | None = None,
        after: int | None = None,
    ) -> int:
        """A dense convolution to ``channels`` channels."""
        values = {"kernel": kernel, "stride": stride, "padding": padding, "activation": activation, "add": add}
        return self._append("conv", after, channels=channels, **values)

    def depthwise(
        self,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        activation: Activation = "none",
        add: int | None = None,
        after: int | None = None,
    ) -> int:
        """A convolution with one filter per channel."""
        values = {"kernel": kernel, "stride": stride, "padding": padding, "activation": activation, "add": add}
        return self._append("depthwise", after, **values)

    def pyramid_pool(self, bins: tuple[int, ...], after: int | None = None) -> int:
        """Means and maxima of windows, as the channels of one position."""
        return self._append("pyramid_pool", after, bins=bins)

    def spatial_gate(self, kernel: int, activation: Activation = "sigmoid", after: int | None = None) -> int:
        """A gate with one value for each position of a map."""
        return self._append("spatial_gate", after, kernel=kernel, activation=activation)

    def gate(self, after: int, channel_gate: int, spatial_gate: int, rest: bool = False) -> int:
        """The map times the mean of its gates, or the rest of it."""
        return self._append("gate", after, channel_gate=channel_gate, spatial_gate=spatial_gate, rest=rest)

    def upsample(self, factor: int, add: int | None = None, after: int | None = None) -> int:
        """The map with every position repeated ``factor`` times along both sides."""
        return self._append("upsample", after, stride=factor, add=add)

    def build(self, name: str, input_size: int, outputs: dict[str, int]) -> Graph:
        """The graph. Raises ValueError if its nodes do not fit together."""
        return Graph(name, input_size, tuple(self.nodes), outputs)


def native_nodes(graph: Graph, tensors: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes as `_native.Graph` takes them, with their arrays from ``tensors``, named as in `tensor_shapes`."""
    found = []
    for index, node in enumerate(graph.nodes):
        arrays = {name: tensors.get(f"{index}.{name}") for name in ("weight", "bias", "slope")}
        found.append({**asdict(node), **{name: array for name, array in arrays.items() if array is not None}})
    return found


def _check_number(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} {value!r}, expected {low} to {high}")


def _text(shape: Shape) -> str:
    return f"{shape[0]} × {shape[0]} × {shape[1]}"


def _product(shape: tuple[int, ...]) -> int:
    found = 1
    for each in shape:
        found *= each
    return found
