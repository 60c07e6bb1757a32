"""The weights of attribute networks: finding, loading, checking and saving them.

One file holds one network: its graph, tasks, licence and training data in the metadata, and its arrays by the names of
`cascade.nn.graphs.Graph.tensor_shapes`. The graph has an output for each task, by its name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cascade.models.files import (
    MALFORMED,
    SHIPPED,
    WeightsError,
    check_tensors,
    find_weights,
    half_precision,
    read_tensors,
    shipped_names,
    write_tensors,
)
from cascade.nn.graphs import Graph

FORMAT = "cascade-attributes-1"
FOLDER = SHIPPED / "attributes"
DEFAULT = "face"
KINDS = ("classification", "ordinal", "regression")

RESERVED = {
    *("path", "width", "height", "faces", "face", "x1", "y1", "x2", "y2", "box", "score", "landmarks"),
    *("unknown", "age_group", "points", "points_unknown", "pose", "yaw", "pitch", "roll"),
}
"""Names that results of faces have already: no task may be called so."""


def check_task_name(name: str) -> None:
    """Raises ValueError for a name that would take the place of something else in results."""
    if name in RESERVED or name.endswith(("_probability", "_x", "_y")):
        raise ValueError(f"name: {name!r} has another meaning in results, choose another one")


@dataclass(frozen=True)
class AttributeTask:
    """What an output of the network means.

    name     also that of the output
    kind     "classification": logits of the classes; "ordinal": logits of the numbers from ``low`` to ``high``;
             "regression": one output, 0 for ``low`` and 1 for ``high``
    classes  of a classification, in the order of the outputs
    """

    name: str
    kind: Literal["classification", "ordinal", "regression"]
    classes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for an invalid task."""
        check_task_name(self.name)
        if self.kind not in KINDS:
            raise ValueError(f"task {self.name!r} of kind {self.kind!r}, expected one of {', '.join(KINDS)}")
        if self.kind == "classification":
            if len(self.classes) < 2 or not all(isinstance(name, str) for name in self.classes):
                raise ValueError(f"task {self.name!r} with classes {self.classes!r}, expected two names or more")
        elif not self.low < self.high:
            raise ValueError(f"task {self.name!r} from {self.low!r} to {self.high!r}, expected a range")

    @property
    def outputs(self) -> int:
        """How many numbers the network gives for it."""
        if self.kind == "classification":
            return len(self.classes)
        return int(self.high - self.low) + 1 if self.kind == "ordinal" else 1

    @property
    def class_names(self) -> tuple[str, ...]:
        """What each output stands for: the classes, or the numbers of an ordinal task; none of a regression."""
        if self.kind == "ordinal":
            return tuple(f"{self.low + at:g}" for at in range(self.outputs))
        return self.classes


@dataclass(frozen=True)
class AttributeWeights:
    """One network's weights: float32 arrays by name (``0.weight`` …), its tasks, and what its file says of it."""

    path: Path
    name: str
    graph: Graph
    tasks: tuple[AttributeTask, ...]
    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]
    sha256: str

    def part(self, tasks: Sequence[str]) -> tuple[Graph, dict[str, np.ndarray]]:
        """The graph of some tasks alone, and its arrays."""
        graph, kept = self.graph.part(tasks)
        names = ("weight", "bias", "slope")
        arrays = {f"{at}.{name}": self.tensors.get(f"{node}.{name}") for at, node in enumerate(kept) for name in names}
        return graph, {name: array for name, array in arrays.items() if array is not None}


def shipped_attributes() -> list[str]:
    """Names of the networks that come with the package, the default one first."""
    return shipped_names(FOLDER, DEFAULT)


def load_attributes(weights: str | os.PathLike[str] | None = None) -> AttributeWeights:
    """Loads a shipped network by name, the default one for None, or a file.

    Raises `WeightsError` naming the file that is missing or wrong.
    """
    return _load(find_weights(weights, FOLDER, DEFAULT))


def _load(path: Path) -> AttributeWeights:
    tensors, metadata, sha256 = read_tensors(path, FORMAT)
    try:
        graph = Graph.from_dict(metadata["graph"])
        tasks = tuple(AttributeTask(**{**task, "classes": tuple(task["classes"])}) for task in metadata["tasks"])
        _check_outputs(graph, tasks)
    except MALFORMED as error:
        raise WeightsError(f"weights: {path} describes no valid graph and tasks ({error})") from error
    check_tensors(path, graph.tensor_shapes(), tensors)
    return AttributeWeights(path, path.stem, graph, tasks, tensors, metadata, sha256)


def _check_outputs(graph: Graph, tasks: Sequence[AttributeTask]) -> None:
    """Raises ValueError unless the graph has one output of the right width for each task."""
    shapes = graph.output_shapes()
    names = [task.name for task in tasks]
    if not tasks or sorted(names) != sorted(shapes):
        raise ValueError(f"tasks {', '.join(names)}, but outputs {', '.join(shapes)}")
    for task in tasks:
        if shapes[task.name] != (1, task.outputs):
            raise ValueError(f"output {task.name!r} of shape {shapes[task.name]}, expected (1, {task.outputs})")


def save_attributes(
    path: str | Path,
    graph: Graph,
    tasks: Sequence[AttributeTask],
    tensors: dict[str, np.ndarray],
    metadata: dict[str, Any],
) -> str:
    """Writes one network atomically, in half precision, and returns the file's SHA-256.

    Raises `WeightsError` for what `load_attributes` would not load again.
    """
    path = Path(path)
    stored = half_precision(tensors)
    try:
        _check_outputs(graph, tasks)
    except ValueError as error:
        raise WeightsError(f"weights: {path}: {error}") from error
    check_tensors(path, graph.tensor_shapes(), stored)
    record = {"format": FORMAT, "graph": graph.to_dict(), "tasks": [asdict(task) for task in tasks]}
    return write_tensors(path, stored, {**metadata, **record})
