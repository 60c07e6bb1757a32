"""The weights of age synthesis: finding, loading, checking and saving them.

One file holds one generator: its graph, its anchor ages, licence and training data in the metadata, and its arrays by
the names of `cascade.nn.graphs.Graph.tensor_shapes`. Some nodes are conditioned: their bias, and with identity
conditional blocks their weight too, has one more axis in front, an entry for each anchor age.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
from cascade.nn.graphs import Graph

FORMAT = "cascade-aging-1"
FOLDER = SHIPPED / "aging"
DEFAULT = "face"
OUTPUT = "residual"
MOST_STRENGTH = 10.0


@dataclass(frozen=True)
class AgingWeights:
    """One generator's weights: float32 arrays by name, and what its file says of it.

    anchors      ages in years, rising, that conditioned nodes have weights for
    conditioned  numbers of those nodes
    strengths    what the residual is multiplied by at each anchor
    """

    path: Path
    name: str
    graph: Graph
    anchors: tuple[float, ...]
    conditioned: tuple[int, ...]
    strengths: tuple[float, ...]
    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]
    sha256: str

    def at_age(self, age: float) -> dict[str, np.ndarray]:
        """The arrays of the graph for an age in years.

        Those of conditioned nodes are mixed from the nearest anchors, and so is the strength of the last layer.
        """
        shares = anchor_shares(np.array([age]), self.anchors)[0]
        found = dict(self.tensors)
        for name in self.mixed():
            found[name] = np.tensordot(shares, self.tensors[name], axes=1).astype(np.float32)
        strength = np.float32(shares @ np.array(self.strengths))
        for kind in ("weight", "bias"):
            last = f"{self.graph.outputs[OUTPUT]}.{kind}"
            found[last] = found[last] * strength
        return found

    def nearest_age(self, age: float) -> float:
        """The age in years that is shown for another: itself, or the nearest that was learned."""
        return min(max(age, self.anchors[0]), self.anchors[-1])

    def mixed(self) -> list[str]:
        """Names of the arrays that have an entry for each anchor."""
        plain = self.graph.tensor_shapes()
        return [name for name, tensor in self.tensors.items() if tensor.ndim > len(plain[name])]


def anchor_shares(ages: npt.ArrayLike, anchors: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """How much each anchor counts for ages (n,): (n, anchors) float32, linear between neighbours, rows of sum 1."""
    years = np.clip(np.asarray(ages, np.float64), anchors[0], anchors[-1])
    units = np.eye(len(anchors))
    return np.stack([np.interp(years, anchors, unit) for unit in units], axis=1).astype(np.float32)


def load_aging(weights: str | os.PathLike[str] | None = None) -> AgingWeights:
    """Loads a shipped generator by name, the default one for None, or a file.

    Raises `WeightsError` naming the file that is missing or wrong.
    """
    path = find_weights(weights, FOLDER, DEFAULT)
    tensors, metadata, sha256 = read_tensors(path, FORMAT)
    try:
        graph = Graph.from_dict(metadata["graph"])
        anchors = tuple(float(age) for age in metadata["anchors"])
        conditioned = tuple(metadata["conditioned"])
        strengths = tuple(float(each) for each in metadata.get("strengths", [1.0] * len(anchors)))
        _check(graph, anchors, conditioned, strengths)
        expected = _shapes(graph, conditioned, len(anchors), tensors)
    except MALFORMED as error:
        raise WeightsError(f"weights: {path} describes no valid generator ({error})") from error
    check_tensors(path, expected, tensors)
    tensors = {name: tensors[name] for name in expected}
    return AgingWeights(path, path.stem, graph, anchors, conditioned, strengths, tensors, metadata, sha256)


def _check(
    graph: Graph, anchors: tuple[float, ...], conditioned: tuple[int, ...], strengths: tuple[float, ...]
) -> None:
    """Raises ValueError unless they describe a generator."""
    shapes = graph.output_shapes()
    if shapes != {OUTPUT: (graph.input_size, 3)}:
        raise ValueError(f"outputs {shapes}, expected {OUTPUT!r} of the crop's shape")
    last = graph.nodes[graph.outputs[OUTPUT]]
    if last.kind != "conv" or last.add is not None or last.activation != "none":  # a strength multiplies its arrays
        raise ValueError(f"{OUTPUT!r} of {last}, expected a plain conv")
    if len(anchors) < 2 or not all(a < b for a, b in pairwise(anchors)):
        raise ValueError(f"anchors {anchors}, expected rising ages")
    if len(strengths) != len(anchors) or not all(0 < each <= MOST_STRENGTH for each in strengths):
        raise ValueError(f"strengths {strengths}, expected one above 0, up to {MOST_STRENGTH:g}, for each anchor")
    for node in conditioned:
        if not isinstance(node, int) or not 0 <= node < len(graph.nodes) or graph.nodes[node].kind != "conv":
            raise ValueError(f"conditioned node {node!r}, expected the number of a conv")


def _shapes(
    graph: Graph, conditioned: tuple[int, ...], anchors: int, tensors: dict[str, np.ndarray]
) -> dict[str, tuple[int, ...]]:
    """The shapes that arrays should have; a conditioned weight may or may not differ by anchor."""
    found = graph.tensor_shapes()
    for node in conditioned:
        found[f"{node}.bias"] = (anchors, *found[f"{node}.bias"])
        weight = f"{node}.weight"
        if weight in tensors and tensors[weight].ndim > len(found[weight]):
            found[weight] = (anchors, *found[weight])
    return found


def save_aging(
    path: str | Path,
    graph: Graph,
    anchors: tuple[float, ...],
    conditioned: tuple[int, ...],
    strengths: tuple[float, ...],
    tensors: dict[str, np.ndarray],
    metadata: dict[str, Any],
) -> str:
    """Writes one generator atomically, in half precision, and returns the file's SHA-256.

    Raises `WeightsError` for what `load_aging` would not load again.
    """
    path = Path(path)
    stored = half_precision(tensors)
    try:
        _check(graph, anchors, conditioned, strengths)
        expected = _shapes(graph, conditioned, len(anchors), stored)
    except ValueError as error:
        raise WeightsError(f"weights: {path}: {error}") from error
    check_tensors(path, expected, stored)
    record = {"format": FORMAT, "graph": graph.to_dict(), "anchors": anchors, "conditioned": conditioned}
    return write_tensors(path, stored, {**metadata, **record, "strengths": strengths})
