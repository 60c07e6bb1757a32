"""A small recognition network of random weights, for tests that need one but not a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cascade.models.recognizer import save_recognizer
from cascade.nn.graphs import Graph, GraphBuilder

DIMENSION = 24

FIGURES = {"threshold": 0.5, "false_accept_rate": 0.01, "true_accept_rate": 0.9, "measured_on": "nothing at all"}
"""What random weights say of their verification, which is not true."""


def small_graph(dimension: int = DIMENSION, input_size: int = 112, ages: int = 101) -> Graph:
    """A graph of three convolutions with the outputs "embedding" and "age"."""
    builder = GraphBuilder()
    builder.conv(8, kernel=7, stride=7, activation="prelu")
    common = builder.conv(12, kernel=4, stride=4, activation="relu")
    side = input_size // 28
    embedding = builder.conv(dimension, kernel=side, after=common)
    age = builder.conv(ages, kernel=side, after=common)
    return builder.build("small", input_size, {"embedding": embedding, "age": age})


def random_tensors(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that keep the size of what goes through, so that embeddings differ from face to face."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in graph.tensor_shapes().items():
        spread = np.sqrt(2 / np.prod(shape[1:])) if name.endswith("weight") else 0.1
        tensors[name] = (rng.normal(size=shape) * spread).astype(np.float32)
    return tensors


def save_random_recognizer(path: Path, seed: int = 0, graph: Graph | None = None, **metadata: Any) -> Path:
    """Write a weight file that says what ``metadata`` says."""
    graph = graph or small_graph()
    about = {"licence": "CC0", "data": "nothing at all", "verification": FIGURES, **metadata}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_recognizer(path, graph, random_tensors(graph, seed), about)
    return path
