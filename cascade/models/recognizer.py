"""The weights of recognition networks: finding, loading, checking and saving them.

One file holds one network: its graph, licence and training data in the metadata, and its arrays by the names of
`cascade.nn.graphs.Graph.tensor_shapes`. There may also be ``age_means`` (101, D), the mean embedding of each age, for
age-mean subtraction.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from cascade.models.files import (
    MALFORMED,
    SHIPPED,
    WeightsError,
    check_tensors,
    find_weights,
    read_tensors,
    shipped_names,
    write_tensors,
)
from cascade.nn.graphs import Graph, native_nodes

FORMAT = "cascade-recognizer-1"
FOLDER = SHIPPED / "recognition"
DEFAULT = "light"
# Identity, as one vector, and the logits of the ages.
OUTPUTS = ("embedding", "age")
AGE_MEANS = "age_means"
EARLIER = "earlier_sha256"


@dataclass(frozen=True)
class RecognizerWeights:
    """One network's weights: float32 arrays by name (``0.weight`` …) and what its file says of it."""

    path: Path
    name: str
    graph: Graph
    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]
    sha256: str

    @property
    def age_means(self) -> np.ndarray | None:
        """The mean embedding (101, D) float32 of each age from 0 to 100; None for a network without."""
        return self.tensors.get(AGE_MEANS)

    @property
    def earlier_sha256(self) -> tuple[str, ...]:
        """SHA-256 of other files with the same arrays, whose embeddings are the same: see `restate_recognizer`."""
        stated = self.metadata.get(EARLIER, ())
        return tuple(each for each in stated if isinstance(each, str)) if isinstance(stated, (list, tuple)) else ()

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes as the native engine takes them."""
        return native_nodes(self.graph, self.tensors)


def shipped_recognizers() -> list[str]:
    """Names of the networks that come with the package, the default one first."""
    return shipped_names(FOLDER, DEFAULT)


def load_recognizer(weights: str | os.PathLike[str] | None = None) -> RecognizerWeights:
    """Loads a shipped network by name, the default one for None, or a file.

    Raises `WeightsError` naming the file that is missing or wrong.
    """
    return _load(find_weights(weights, FOLDER, DEFAULT))


def _load(path: Path) -> RecognizerWeights:
    tensors, metadata, sha256 = read_tensors(path, FORMAT)
    try:
        graph = Graph.from_dict(metadata["graph"])
        _check_outputs(graph)
    except MALFORMED as error:
        raise WeightsError(f"weights: {path} describes no valid graph ({error})") from error
    check_tensors(path, _expected(graph, tensors), tensors)
    return RecognizerWeights(path, path.stem, graph, tensors, metadata, sha256)


def _expected(graph: Graph, tensors: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The shapes of all arrays, with those of ``age_means`` if there are any."""
    expected = graph.tensor_shapes()
    if AGE_MEANS in tensors:
        shapes = graph.output_shapes()
        expected[AGE_MEANS] = (shapes["age"][1], shapes["embedding"][1])
    return expected


def _check_outputs(graph: Graph) -> None:
    """Raises ValueError unless the graph gives an embedding and ages, each at one position."""
    shapes = graph.output_shapes()
    for name in OUTPUTS:
        if name not in shapes:
            raise ValueError(f"no output {name!r}, but {', '.join(shapes)}")
        if shapes[name][0] != 1:
            raise ValueError(f"output {name!r} is a map of side {shapes[name][0]}, expected 1")


def save_recognizer(
    path: str | Path, graph: Graph, tensors: dict[str, np.ndarray], metadata: dict[str, Any], half: bool = True
) -> str:
    """Writes one network atomically, in half precision unless told otherwise, and returns the file's SHA-256.

    Raises `WeightsError` for what `load_recognizer` would not load again.
    """
    path = Path(path)
    kind = np.float16 if half else np.float32
    with np.errstate(over="ignore"):  # what half precision cannot hold becomes infinite, and is refused
        stored = {name: np.asarray(tensor).astype(kind) for name, tensor in tensors.items()}
    try:
        _check_outputs(graph)
    except ValueError as error:
        raise WeightsError(f"weights: {path}: {error}") from error
    check_tensors(path, _expected(graph, stored), stored)
    return write_tensors(path, stored, {**metadata, "format": FORMAT, "graph": graph.to_dict()})


def restate_recognizer(path: str | Path, changes: dict[str, Any]) -> str:
    """Changes entries of a file's metadata, and returns its new SHA-256; the arrays stay.

    The file remembers its former hash, so that galleries of its embeddings can still be used. Raises `WeightsError`.
    """
    weights = load_recognizer(Path(path))
    with safe_open(str(path), framework="numpy") as file:
        half = all(file.get_slice(name).get_dtype() == "F16" for name in weights.tensors)
    metadata = {name: value for name, value in weights.metadata.items() if name not in ("format", "graph")}
    earlier = [*weights.earlier_sha256, weights.sha256]
    return save_recognizer(path, weights.graph, weights.tensors, {**metadata, **changes, EARLIER: earlier}, half)
