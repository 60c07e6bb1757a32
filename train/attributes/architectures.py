"""Networks that say several things of a face: a trunk, and a head for each task.

``tail`` goes on from the maps of a recogniser, which knows faces already: from node ``frozen`` on, dense convolutions,
which a CPU trains several times faster than depthwise ones of the same use. ``small`` is a plain network of its own,
``mobilenet`` and ``mobilenet_v2`` are those of Howard et al. (2017) and Sandler et al. (2018). All are graphs, which
the native engine runs; `train.attributes.networks` has networks for torch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cascade.nn.graphs import IMAGE, Graph, GraphBuilder
from train.attributes.tasks import Task

HIDDEN = 48  # between the pooled features and the outputs of a head
SIDE = 112
TAIL = "attributes over "  # the name of a tail begins so


@dataclass(frozen=True)
class AttributeNetwork:
    """A graph with an output for each task, by its name; nodes up to ``trunk`` are a recogniser's, IMAGE if none."""

    graph: Graph
    trunk: int


def tail(tasks: Sequence[Task], graph: Graph, last: int) -> AttributeNetwork:
    """Residual blocks over the maps of 14×14 positions of a recogniser's node ``last``; 0.6 million weights.

    ``graph`` is the recogniser's, or that of another tail over it.
    """
    builder = GraphBuilder()
    builder.nodes = list(graph.nodes[: last + 1])
    side, channels = graph.shapes()[last]
    if side != 14 or any(node.input > last or (node.add or 0) > last for node in builder.nodes):
        raise ValueError(f"frozen: node {last} has maps of {side}×{side} positions, expected 14×14")
    _bottleneck(builder, channels, channels // 2)
    _basic_block(builder, 144)
    _bottleneck(builder, 144, 72)
    builder.conv(192, activation="relu")
    return AttributeNetwork(_with_heads(TAIL + graph.name.removeprefix(TAIL), builder, tasks), last)


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


# Of MobileNet: channels and stride of each pair of a depthwise and a 1×1 convolution.
PAIRS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))

# Of MobileNetV2: expansion, channels, blocks and stride of the first of them.
INVERTED = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet(tasks: Sequence[Task]) -> AttributeNetwork:
    """MobileNet of width 1: 3.2 million weights before the heads; all of it learned."""
    builder = GraphBuilder()
    builder.conv(32, 3, 2, 1, "relu", after=IMAGE)
    for channels, stride in PAIRS:
        builder.depthwise(3, stride, 1, "relu")
        builder.conv(channels, activation="relu")
    return AttributeNetwork(_with_heads("mobilenet attributes", builder, tasks), IMAGE)


def mobilenet_v2(tasks: Sequence[Task]) -> AttributeNetwork:
    """MobileNetV2 of width 1, with ReLU in place of ReLU6: 2.2 million weights before the heads; all of it learned."""
    builder = GraphBuilder()
    builder.conv(32, 3, 2, 1, "relu", after=IMAGE)
    before = 32
    for expansion, channels, blocks, first in INVERTED:
        for stride in (first, *(1,) * (blocks - 1)):
            _inverted_residual(builder, before, expansion, channels, stride)
            before = channels
    builder.conv(1280, activation="relu")
    return AttributeNetwork(_with_heads("mobilenet v2 attributes", builder, tasks), IMAGE)


def _inverted_residual(builder: GraphBuilder, before: int, expansion: int, channels: int, stride: int) -> None:
    """1×1 to more channels, depthwise, 1×1 to fewer without activation; beside a shortcut where shapes allow it."""
    start = len(builder.nodes) - 1
    if expansion > 1:
        builder.conv(expansion * before, activation="relu")
    builder.depthwise(3, stride, 1, "relu")
    builder.conv(channels, add=start if stride == 1 and before == channels else None)


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
