"""Networks that say several things of a face: a trunk, and a head for each task.

``tail`` goes on from the maps of a recogniser, which knows faces already: from node ``frozen`` on, dense convolutions,
which a CPU trains several times faster than depthwise ones of the same use. ``small`` is a plain network of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cascade.models.recognizer import RecognizerWeights
from cascade.nn.graphs import IMAGE, Graph, GraphBuilder
from train.attributes.tasks import Task

HIDDEN = 48  # between the pooled features and the outputs of a head
SIDE = 112


@dataclass(frozen=True)
class AttributeNetwork:
    """A graph with an output for each task, by its name; nodes up to ``trunk`` are a recogniser's, IMAGE if none."""

    graph: Graph
    trunk: int


def tail(tasks: Sequence[Task], recogniser: RecognizerWeights, last: int) -> AttributeNetwork:
    """Residual blocks over the maps of 14×14 positions of a recogniser's node ``last``; 0.6 million weights."""
    builder = GraphBuilder()
    graph = recogniser.graph
    builder.nodes = list(graph.nodes[: last + 1])
    side, channels = graph.shapes()[last]
    if side != 14 or any(node.input > last or (node.add or 0) > last for node in builder.nodes):
        raise ValueError(f"frozen: node {last} has maps of {side}×{side} positions, expected 14×14")
    _bottleneck(builder, channels, channels // 2)
    _basic_block(builder, 144)
    _bottleneck(builder, 144, 72)
    builder.conv(192, activation="relu")
    return AttributeNetwork(_with_heads(f"attributes over {graph.name}", builder, tasks), last)


def small(tasks: Sequence[Task]) -> AttributeNetwork:
    """Five dense convolutions with strides and a residual end: 0.5 million weights, for comparisons and small sets."""
    builder = GraphBuilder()
    builder.conv(16, 3, 2, 1, "relu", after=IMAGE)
    for channels in (32, 64):
        builder.conv(channels, 3, 2, 1, "relu")
    _bottleneck(builder, 64, 32)
    _basic_block(builder, 128)
    _bottleneck(builder, 128, 64)
    builder.conv(256, activation="relu")
    return AttributeNetwork(_with_heads("small attributes", builder, tasks), IMAGE)


def _with_heads(name: str, builder: GraphBuilder, tasks: Sequence[Task]) -> Graph:
    """Means and maxima over all positions, and two layers for each task."""
    pooled = builder.pyramid_pool((1,))
    outputs = {}
    for task in tasks:
        builder.conv(HIDDEN, activation="relu", after=pooled)
        outputs[task.name] = builder.conv(task.outputs)
    return builder.build(name, SIDE, outputs)


def _bottleneck(builder: GraphBuilder, channels: int, width: int) -> int:
    """1×1 to fewer channels, 3×3, 1×1 back, beside a shortcut."""
    before = len(builder.nodes) - 1
    builder.conv(width, activation="relu", after=before)
    builder.conv(width, 3, 1, 1, "relu")
    return builder.conv(channels, add=before)


def _basic_block(builder: GraphBuilder, channels: int) -> int:
    """Two 3×3 convolutions, the first of stride 2, beside a 1×1 one."""
    before = len(builder.nodes) - 1
    shortcut = builder.conv(channels, 1, 2, after=before)
    builder.conv(channels, 3, 2, 1, "relu", after=before)
    return builder.conv(channels, 3, 1, 1, add=shortcut)
