"""The weights of networks for 68 landmarks: loading, checking and saving them.

One file holds one network: its graph, licence and training data in the metadata, its arrays by the names of
`cascade.nn.graphs.Graph.tensor_shapes`, ``mean_shape`` (68, 2), which the output is added to, in shares of the crop's
side, and ``mean_face`` (68, 3), a face in space for the head pose.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascade.models.files import (
    MALFORMED,
    SHIPPED,
    WeightsError,
    check_tensors,
    find_weights,
    half_precision,
    read_tensors,
    write_tensors,
)
from cascade.nn.graphs import Graph, native_nodes

FORMAT = "cascade-landmarks-1"
FOLDER = SHIPPED / "landmarks"
DEFAULT = "points68"
OUTPUT = "points"
POINTS = 68
EXTRA = {"mean_shape": (POINTS, 2), "mean_face": (POINTS, 3)}


@dataclass(frozen=True)
class LandmarkWeights:
    """One network's weights: float32 arrays by name, and what its file says of it."""

    path: Path
    graph: Graph
    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]
    sha256: str

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes as the native engine takes them."""
        return native_nodes(self.graph, self.tensors)


def load_landmarks(weights: str | os.PathLike[str] | None = None) -> LandmarkWeights:
    """Loads a shipped network by name, the default one for None, or a file.

    Raises `WeightsError` naming the file that is missing or wrong.
    """
    path = find_weights(weights, FOLDER, DEFAULT)
    tensors, metadata, sha256 = read_tensors(path, FORMAT)
    try:
        graph = Graph.from_dict(metadata["graph"])
        _check_output(graph)
    except MALFORMED as error:
        raise WeightsError(f"weights: {path} describes no valid graph ({error})") from error
    check_tensors(path, {**graph.tensor_shapes(), **EXTRA}, tensors)
    return LandmarkWeights(path, graph, tensors, metadata, sha256)


def _check_output(graph: Graph) -> None:
    """Raises ValueError unless the graph gives 68 points."""
    shapes = graph.output_shapes()
    if shapes.get(OUTPUT) != (1, 2 * POINTS):
        raise ValueError(f"outputs {shapes}, expected {OUTPUT!r} of shape (1, {2 * POINTS})")


def save_landmarks(path: str | Path, graph: Graph, tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> str:
    """Writes one network atomically, in half precision, and returns the file's SHA-256.

    Raises `WeightsError` for what `load_landmarks` would not load again.
    """
    path = Path(path)
    stored = half_precision(tensors)
    try:
        _check_output(graph)
    except ValueError as error:
        raise WeightsError(f"weights: {path}: {error}") from error
    check_tensors(path, {**graph.tensor_shapes(), **EXTRA}, stored)
    return write_tensors(path, stored, {**metadata, "format": FORMAT, "graph": graph.to_dict()})
