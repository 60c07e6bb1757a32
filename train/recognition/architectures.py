"""The recognition networks as graphs: two light ones for CPUs, and IR-50 of the paper.

Each is an encoder from a crop of 112 pixels to maps of 7×7 positions, the decomposition of these maps, an embedding of
the identity part and ages 0 to 100 from the age part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cascade.nn.graphs import IMAGE, Graph, GraphBuilder
from train.recognition.age import AGES
from train.recognition.crops import SIDE
from train.recognition.decomposition import decompose

FIELD = 7  # positions of the last maps, across and down


@dataclass(frozen=True)
class RecognitionNetwork:
    """A network, and where in it what training needs is found.

    graph     outputs "embedding" and, if it has an age head, "age"
    skips     nodes of the encoder's maps, largest first, the last being the features: for a decoder
    identity  node of the maps that the embedding is made of
    """

    graph: Graph
    skips: tuple[int, ...]
    identity: int
    channels: int

    @property
    def decomposed(self) -> bool:
        """Whether it takes an age part out of the features."""
        return "age" in self.graph.outputs


Encoder = Callable[[GraphBuilder], tuple[list[int], int]]


def _network(
    name: str, encode: Encoder, dimension: int, depthwise: bool, hidden: int, decomposed: bool
) -> RecognitionNetwork:
    """Encoder, decomposition and the two heads. ``hidden`` is the width of the age head."""
    builder = GraphBuilder()
    skips, channels = encode(builder)
    age, identity = decompose(builder, skips[-1], channels) if decomposed else (None, skips[-1])
    if depthwise:  # MobileFaceNet's global depthwise convolution: weighs positions, where a mean would not
        builder.depthwise(FIELD, after=identity)
        outputs = {"embedding": builder.conv(dimension)}
    else:
        outputs = {"embedding": builder.conv(dimension, FIELD, after=identity)}
    if age is not None:
        builder.pyramid_pool((1,), after=age)
        builder.conv(hidden, activation="relu")
        outputs["age"] = builder.conv(AGES)
    return RecognitionNetwork(Graph(name, SIDE, tuple(builder.nodes), outputs), tuple(skips), identity, channels)


def light(decomposed: bool = True) -> RecognitionNetwork:
    """1.2 million weights and 220 million multiply-adds; an embedding of 128 numbers.

    MobileFaceNet's bottlenecks: 1×1 to more channels, a depthwise 3×3, 1×1 back. It ends on 320 channels where that
    has 512, which leaves room for the gates.
    """

    def encode(builder: GraphBuilder) -> tuple[list[int], int]:
        builder.conv(64, 3, 2, 1, "prelu", after=IMAGE)
        builder.depthwise(3, 1, 1, "prelu")
        skips = []
        for channels, widths in ((64, (128,) * 5), (128, (256,) * 7), (128, (512, 256, 256))):
            for block, width in enumerate(widths):
                last = _bottleneck(builder, channels, width, stride=1 if block else 2)
            skips.append(last)
        skips.append(builder.conv(320, activation="prelu"))
        return skips, 320

    return _network("light", encode, 128, depthwise=True, hidden=128, decomposed=decomposed)


def dense(decomposed: bool = True) -> RecognitionNetwork:
    """A million weights and 110 million multiply-adds, for training on a CPU; an embedding of 128 numbers.

    Residual blocks of dense convolutions in few channels, with MobileFaceNet's end. Depthwise blocks do more with as
    many weights, but a CPU trains them at two fifths of the speed.
    """

    def encode(builder: GraphBuilder) -> tuple[list[int], int]:
        builder.conv(32, 3, 2, 1, "prelu", after=IMAGE)
        skips = []
        for channels, blocks in ((48, 1), (96, 2), (160, 1)):
            for block in range(blocks):
                last = _basic_block(builder, channels, stride=1 if block else 2)
            skips.append(last)
        skips.append(builder.conv(256, activation="prelu"))
        return skips, 256

    return _network("dense", encode, 128, depthwise=True, hidden=128, decomposed=decomposed)


def ir50(decomposed: bool = True) -> RecognitionNetwork:
    """IR-50 of ArcFace: 24 residual units in four stages; an embedding of 512 numbers."""

    def encode(builder: GraphBuilder) -> tuple[list[int], int]:
        builder.conv(64, 3, 1, 1, "prelu", after=IMAGE)
        skips, before = [], 64
        for channels, units in ((64, 3), (128, 4), (256, 14), (512, 3)):
            for unit in range(units):
                last = _improved_unit(builder, channels, stride=1 if unit else 2, before=before)
                before = channels
            skips.append(last)
        return skips, 512

    return _network("ir50", encode, 512, depthwise=False, hidden=512, decomposed=decomposed)


def _bottleneck(builder: GraphBuilder, channels: int, width: int, stride: int) -> int:
    """1×1 to ``width`` channels, depthwise 3×3, 1×1 back; beside a shortcut where the shape stays."""
    before = len(builder.nodes) - 1
    builder.conv(width, activation="prelu", after=before)
    builder.depthwise(3, stride, 1, "prelu")
    return builder.conv(channels, add=before if stride == 1 else None)


def _basic_block(builder: GraphBuilder, channels: int, stride: int) -> int:
    """Two 3×3 convolutions beside a shortcut, which is a convolution where the shape changes."""
    before = len(builder.nodes) - 1
    shortcut = before if stride == 1 else builder.conv(channels, 1, stride, after=before)
    builder.conv(channels, 3, stride, 1, "prelu", after=before)
    return builder.conv(channels, 3, 1, 1, add=shortcut)


def _improved_unit(builder: GraphBuilder, channels: int, stride: int, before: int) -> int:
    """The same with a normalisation, here a depthwise convolution of one tap, in front."""
    start = len(builder.nodes) - 1
    same = stride == 1 and channels == before
    shortcut = start if same else builder.conv(channels, 1, stride, after=start)
    builder.depthwise(1, after=start)
    builder.conv(channels, 3, 1, 1, "prelu")
    return builder.conv(channels, 3, stride, 1, add=shortcut)


ARCHITECTURES: dict[str, Callable[[bool], RecognitionNetwork]] = {"light": light, "dense": dense, "ir50": ir50}
