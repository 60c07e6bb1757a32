"""The network for 68 landmarks: a small residual one of dense convolutions, on crops of 96 pixels."""

from __future__ import annotations

from cascade.models.landmarks import OUTPUT, POINTS
from cascade.nn.graphs import IMAGE, Graph, GraphBuilder

SIDE = 96


def points68() -> Graph:
    """0.31 million weights and 32 million multiply-adds; the output is the points' distances from the mean shape."""
    builder = GraphBuilder()
    builder.conv(16, 3, 2, 1, "relu", after=IMAGE)
    builder.conv(32, 3, 2, 1, "relu")
    _residual(builder, 32, 32)
    builder.conv(64, 3, 2, 1, "relu")
    _residual(builder, 64, 64)
    builder.conv(96, 3, 2, 1, "relu")
    _residual(builder, 96, 32)
    builder.conv(16, activation="relu")
    last = builder.conv(2 * POINTS, 6)  # every position has its own weights: where something is seen is what counts
    return builder.build("points68", SIDE, {OUTPUT: last})


def _residual(builder: GraphBuilder, channels: int, width: int) -> None:
    """Two 3×3 convolutions beside a shortcut."""
    before = len(builder.nodes) - 1
    builder.conv(width, 3, 1, 1, "relu", after=before)
    builder.conv(channels, 3, 1, 1, add=before)
