"""The layers of `cascade.nn` as ONNX operators: a detector's list of layers, and the graphs of all other networks.

Feature maps are (n, channels, rows, columns), as ONNX has them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cascade.exporting.writer import GraphWriter
from cascade.nn.architectures import Architecture
from cascade.nn.graphs import IMAGE, Graph, Node

Tensors = Mapping[str, np.ndarray]


def write_layers(writer: GraphWriter, architecture: Architecture, tensors: Tensors, x: str) -> str:
    """A detector's network over the map ``x``; returns its last map, which holds all heads."""
    for index, layer in enumerate(architecture.layers):
        if layer.kind == "pool":  # a last, partial window counts
            kernel, stride = [layer.kernel] * 2, [layer.stride] * 2
            x = writer.add("MaxPool", x, ceil_mode=1, kernel_shape=kernel, strides=stride)
            continue
        weight, bias = tensors[f"{index}.weight"], tensors[f"{index}.bias"]
        x = writer.convolution(x, str(index), weight, bias, layer.stride)
        x = writer.activation(x, layer.activation, tensors.get(f"{index}.slope"), str(index))
    return x


def write_graph(writer: GraphWriter, graph: Graph, tensors: Tensors, x: str) -> dict[str, str]:
    """A graph over the crops ``x``; returns the map of each of its outputs by name."""
    sides = {IMAGE: graph.input_size, **{index: side for index, (side, _) in enumerate(graph.shapes())}}
    maps = {IMAGE: x}
    for index, node in enumerate(graph.nodes):
        if node.kind == "pyramid_pool":
            maps[index] = _pyramid_pool(writer, maps[node.input], sides[node.input], node.bins)
        elif node.kind == "gate":
            maps[index] = _gate(writer, node, maps)
        else:
            maps[index] = _weighted(writer, index, node, tensors, maps)
    return {name: maps[index] for name, index in graph.outputs.items()}


def _weighted(writer: GraphWriter, index: int, node: Node, tensors: Tensors, maps: Mapping[int, str]) -> str:
    """A node with weights: the convolution, its activation, and the map that is added."""
    name, x = str(index), maps[node.input]
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if node.kind == "conv":
        x = writer.convolution(x, name, weight, bias, node.stride, node.padding)
    elif node.kind == "depthwise":
        x = writer.convolution(x, name, weight[:, None], bias, node.stride, node.padding, groups=len(weight))
    else:
        pair = [writer.add(operator, x, axes=[1], keepdims=1) for operator in ("ReduceMean", "ReduceMax")]
        x = writer.convolution(writer.add("Concat", *pair, axis=1), name, weight[None], bias, padding=node.kernel // 2)
    x = writer.activation(x, node.activation, tensors.get(f"{name}.slope"), name)
    return x if node.add is None else writer.add("Add", x, maps[node.add])


def _gate(writer: GraphWriter, node: Node, maps: Mapping[int, str]) -> str:
    assert node.channel_gate is not None and node.spatial_gate is not None
    both = writer.add("Add", maps[node.channel_gate], maps[node.spatial_gate])
    gate = writer.add("Mul", both, writer.constant("half", 0.5))
    if node.rest:
        gate = writer.add("Sub", writer.constant("one", 1.0), gate)
    return writer.add("Mul", maps[node.input], gate)


def _pyramid_pool(writer: GraphWriter, x: str, side: int, bins: tuple[int, ...]) -> str:
    """Means of windows, then maxima: bins in order, windows row by row, channels innermost."""
    found = []
    for operator in ("ReduceMean", "ReduceMax"):
        for count in bins:
            rows = _windows(writer, operator, x, side, count, axis=2)
            pooled = _windows(writer, operator, rows, side, count, axis=3)
            found.append(writer.reshape(writer.add("Transpose", pooled, perm=[0, 2, 3, 1]), 0, -1))
    joined = writer.add("Concat", *found, axis=1)
    return writer.reshape(joined, 0, -1, 1, 1)


def _windows(writer: GraphWriter, operator: str, x: str, side: int, count: int, axis: int) -> str:
    """One axis reduced to ``count`` windows, which may overlap by a pixel."""
    if count == 1:
        return writer.add(operator, x, axes=[axis], keepdims=1)
    limits = [(i * side // count, -(-(i + 1) * side // count)) for i in range(count)]
    parts = [writer.add(operator, writer.part(x, axis, *ends), axes=[axis], keepdims=1) for ends in limits]
    return writer.add("Concat", *parts, axis=axis)
