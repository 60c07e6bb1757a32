"""A small generator of random weights that shows faces at other ages, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cascade.models.aging import OUTPUT, save_aging
from cascade.nn.graphs import Graph, GraphBuilder
from tests.random_recognizer import random_tensors

ANCHORS = (0.0, 20.0, 60.0)


def small_graph(size: int = 32) -> tuple[Graph, tuple[int, ...]]:
    """A generator with one conditioned node."""
    net = GraphBuilder()
    top = net.conv(4, 3, padding=1, activation="prelu")
    net.conv(6, 3, 2, 1, "prelu")
    conditioned = net.conv(6, activation="prelu")
    net.conv(4)
    net.upsample(2, add=top)
    last = net.conv(3, 3, padding=1)
    return net.build("small", size, {OUTPUT: last}), (conditioned,)


def save_random_aging(
    path: Path, seed: int = 0, own_filters: bool = True, strengths: tuple[float, ...] = (1.0,) * len(ANCHORS)
) -> Path:
    """Write a weight file; with ``own_filters`` the filters differ by age, otherwise the bias alone."""
    graph, conditioned = small_graph()
    tensors = {name: np.asarray(array) for name, array in random_tensors(graph, seed).items()}
    rng = np.random.default_rng(seed)
    for node in conditioned:
        for name in (f"{node}.weight", f"{node}.bias"):
            if own_filters or name.endswith("bias"):
                each = [tensors[name] + rng.normal(size=tensors[name].shape) for _ in ANCHORS]
                tensors[name] = np.stack(each).astype(np.float32)
    tensors[f"{graph.outputs[OUTPUT]}.weight"] *= 0.2
    path.parent.mkdir(parents=True, exist_ok=True)
    save_aging(path, graph, ANCHORS, conditioned, strengths, tensors, {"licence": "CC0", "data": "nothing"})
    return path
