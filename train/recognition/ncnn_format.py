"""Reads a network in ncnn's format into a `cascade.nn.graphs.Graph`, as far as graphs go: convolutions, PReLU and sums.

A ``.param`` file lists layers, one a line: kind, name, numbers of inputs and outputs, their names, and parameters as
``key=value``. The ``.bin`` file beside it holds the weights in the order of the layers, in float32. Batch normalisation
is merged into the convolution before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.nn.graphs import IMAGE, Graph, Node

MAGIC = "7767517"
INPUT_SIDE = 112
ADD = 0  # BinaryOp's operation
# The inputs of graphs are normalised as (pixel - 127.5) / 128 already: operations 1 and 2 with these numbers.
NORMALISATION = {1: 127.5, 2: 0.0078125}

Tensors = dict[str, NDArray[np.float32]]


class NcnnError(ValueError):
    """A file that is not of ncnn's format, or has a layer that no graph has."""


@dataclass(frozen=True)
class _Layer:
    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: dict[int, float]

    def number(self, key: int, default: int = 0) -> int:
        return int(self.parameters.get(key, default))


@dataclass
class _Weights:
    """Takes arrays from a file one after the other."""

    values: NDArray[np.uint8]
    at: int = 0

    def take(self, count: int) -> NDArray[np.float32]:
        stop = self.at + 4 * count
        if stop > len(self.values):
            raise NcnnError("the weights end too early")
        found = self.values[self.at : stop].view(np.float32)
        self.at = stop
        return found

    def take_matrix(self, count: int) -> NDArray[np.float32]:
        """The same behind a tag that says how the numbers are stored."""
        if self.take(1).view(np.uint32)[0] != 0:
            raise NcnnError("weights in another precision than float32")
        return self.take(count)


@dataclass
class _Reader:
    """What has been read so far: nodes, their arrays and shapes, and the node that each blob comes from."""

    weights: _Weights
    nodes: list[Node] = field(default_factory=list)
    tensors: Tensors = field(default_factory=dict)
    sides: dict[int, int] = field(default_factory=lambda: {IMAGE: INPUT_SIDE})
    channels: dict[int, int] = field(default_factory=lambda: {IMAGE: 3})
    sources: dict[str, int] = field(default_factory=dict)
    shared: set[int] = field(default_factory=set)  # nodes whose maps several layers read: nothing may change them
    normalised: list[int] = field(default_factory=list)  # operations on the image, in their order

    def read(self, layer: _Layer) -> None:
        """Adds a layer. Raises NcnnError for one that a graph does not have."""
        readers: dict[str, Callable[[_Layer], int]] = {
            "Input": lambda _: IMAGE,
            "Split": self._split,
            "BinaryOp": self._binary,
            "Convolution": self._convolution,
            "ConvolutionDepthWise": self._convolution,
            "InnerProduct": self._inner_product,
            "BatchNorm": self._batch_norm,
            "PReLU": self._prelu,
        }
        if layer.kind not in readers:
            raise NcnnError(f"layer {layer.name} is a {layer.kind}, expected one of {', '.join(readers)}")
        try:
            at = readers[layer.kind](layer)
        except (KeyError, IndexError) as error:
            raise NcnnError(f"layer {layer.name} reads {error}, which no layer before it computes") from error
        self.sources.update(dict.fromkeys(layer.outputs, at))

    def _split(self, layer: _Layer) -> int:
        at = self.sources[layer.inputs[0]]
        self.shared.add(at)
        return at

    def _append(self, node: Node, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> int:
        index = len(self.nodes)
        self.nodes.append(node)
        self.tensors[f"{index}.weight"], self.tensors[f"{index}.bias"] = weight.copy(), bias.copy()
        self.sides[index] = (self.sides[node.input] + 2 * node.padding - node.kernel) // node.stride + 1
        self.channels[index] = len(bias)
        return index

    def _arrays(self, layer: _Layer, shape: tuple[int, ...], stored: int, biased: bool) -> Any:
        """Weight of that shape and bias of a layer that says it has ``stored`` weights."""
        if stored != int(np.prod(shape)):
            raise NcnnError(f"layer {layer.name} has {stored} weights, which do not fit its shape")
        weight = self.weights.take_matrix(stored).reshape(shape)
        return weight, self.weights.take(shape[0]) if biased else np.zeros(shape[0], np.float32)

    def _convolution(self, layer: _Layer) -> int:
        """Parameters: 0 channels, 1 kernel, 3 stride, 4 padding, 5 with bias, 6 weights, 7 groups."""
        at = self.sources[layer.inputs[0]]
        outputs, kernel = layer.number(0), layer.number(1)
        pairs = ((11, 1), (13, 3), (14, 4), (15, 4), (16, 4))
        alike = all(layer.number(key, layer.number(of)) == layer.number(of) for key, of in pairs)
        if not alike or not layer.number(2, 1) == layer.number(12, 1) == 1 or layer.number(9) or layer.number(18):
            raise NcnnError(f"layer {layer.name} is not square, is dilated or has an activation of its own")
        sizes: dict[str, Any] = {"kernel": kernel, "stride": layer.number(3, 1), "padding": layer.number(4)}
        if layer.kind == "ConvolutionDepthWise":
            if not outputs == layer.number(7) == self.channels[at]:
                raise NcnnError(f"layer {layer.name} is in groups of several channels")
            shape: tuple[int, ...] = (outputs, kernel, kernel)
            node = Node("depthwise", at, **sizes)
        else:
            shape = (outputs, self.channels[at], kernel, kernel)
            node = Node("conv", at, channels=outputs, **sizes)
        return self._append(node, *self._arrays(layer, shape, layer.number(6), bool(layer.number(5))))

    def _inner_product(self, layer: _Layer) -> int:
        """Parameters: 0 outputs, 1 with bias, 2 weights; a convolution over the complete map."""
        if layer.number(9):
            raise NcnnError(f"layer {layer.name} has an activation of its own")
        at = self.sources[layer.inputs[0]]
        outputs, side = layer.number(0), self.sides[at]
        shape = (outputs, self.channels[at], side, side)
        arrays = self._arrays(layer, shape, layer.number(2), bool(layer.number(1)))
        return self._append(Node("conv", at, kernel=side, channels=outputs), *arrays)

    def _bare(self, layer: _Layer) -> int:
        """The node a layer changes, which must have neither activation nor sum yet."""
        at = self.sources[layer.inputs[0]]
        if at == IMAGE or at in self.shared or self.nodes[at].activation != "none" or self.nodes[at].add is not None:
            raise NcnnError(f"layer {layer.name} does not come behind a convolution")
        return at

    def _one_each(self, layer: _Layer, at: int) -> int:
        """The channels of node ``at``, which the layer must have numbers for."""
        if layer.number(0) != self.channels[at]:
            raise NcnnError(f"layer {layer.name} is for {layer.number(0)} channels, expected {self.channels[at]}")
        return self.channels[at]

    def _batch_norm(self, layer: _Layer) -> int:
        """Parameters: 0 channels, 1 epsilon; arrays slope, mean, variance, bias."""
        at = self._bare(layer)
        slope, mean, variance, bias = (self.weights.take(self._one_each(layer, at)) for _ in range(4))
        scale = slope / np.sqrt(variance + np.float32(layer.parameters.get(1, 0.0)))
        weight = self.tensors[f"{at}.weight"]
        self.tensors[f"{at}.weight"] = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        self.tensors[f"{at}.bias"] = (self.tensors[f"{at}.bias"] - mean) * scale + bias
        return at

    def _prelu(self, layer: _Layer) -> int:
        """Parameter: 0 channels."""
        at = self._bare(layer)
        self.nodes[at] = replace(self.nodes[at], activation="prelu")
        self.tensors[f"{at}.slope"] = self.weights.take(self._one_each(layer, at)).copy()
        return at

    def _binary(self, layer: _Layer) -> int:
        """The sum of two maps, or the normalisation of the image; parameters: 0 operation, 2 the number."""
        operation = layer.number(0)
        if len(layer.inputs) == 2 and operation == ADD:
            at = self._bare(layer)
            self.nodes[at] = replace(self.nodes[at], add=self.sources[layer.inputs[1]])
            return at
        at, value = self.sources[layer.inputs[0]], layer.parameters.get(2, 0.0)
        if at != IMAGE or abs(value / NORMALISATION.get(operation, np.inf) - 1) > 1e-3:
            raise NcnnError(f"layer {layer.name} is neither the sum of two maps nor the usual normalisation")
        self.normalised.append(operation)
        return at


def read_ncnn(param: Path, weights: Path, output: str) -> tuple[Graph, Tensors]:
    """The graph of a network over crops of 112 pixels and its arrays by the names of `Graph.tensor_shapes`.

    ``output`` is the blob that becomes the graph's output "embedding". Raises NcnnError, and OSError for files that
    cannot be read.
    """
    reader = _Reader(_Weights(np.frombuffer(weights.read_bytes(), np.uint8)))
    try:
        for layer in _layers(param):
            reader.read(layer)
        if output not in reader.sources:
            raise NcnnError(f"expected a blob {output!r}")
        if reader.normalised != list(NORMALISATION):
            raise NcnnError("expected the normalisation (pixel - 127.5) / 128 of the image")
        graph = Graph(param.stem, INPUT_SIDE, tuple(reader.nodes), {"embedding": reader.sources[output]})
    except ValueError as error:
        raise NcnnError(f"{param}: {error}") from error
    if reader.weights.at != len(reader.weights.values):
        raise NcnnError(f"{weights}: longer than the layers of {param.name} need")
    return graph, reader.tensors


def _layers(param: Path) -> Iterator[_Layer]:
    """The layers of a .param file."""
    lines = param.read_text(errors="replace").splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise NcnnError("not of ncnn's format")
    for line in lines[2:]:
        words = line.split()
        if not words:
            continue
        try:
            inputs, outputs = int(words[2]), int(words[3])
            blobs, rest = words[4 : 4 + inputs + outputs], words[4 + inputs + outputs :]
            parameters = {int(key): float(value) for key, value in (word.split("=") for word in rest)}
            if not all(map(math.isfinite, parameters.values())):
                raise ValueError("a number without end")
        except (IndexError, ValueError) as error:
            raise NcnnError(f"a line that is no layer: {line!r}") from error
        yield _Layer(words[0], words[1], tuple(blobs[:inputs]), tuple(blobs[inputs:]), parameters)
