"""Begins a model from what an earlier run learned: its checkpoint, or a weight file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cascade.models.attributes import AttributeWeights, load_attributes
from cascade.models.files import WeightsError
from cascade.models.recognizer import RecognizerWeights, load_recognizer
from cascade.nn.graphs import Graph
from train.attributes.export import exported
from train.attributes.model import AttributeModel
from train.attributes.settings import AttributeSettings
from train.attributes.tasks import Task
from train.common.checkpoints import TrainingError, read_checkpoint
from train.common.unfolding import SUFFIX, fill_blocks


def start_from(model: AttributeModel, file: Path, tasks: Sequence[Task], inputs: torch.Tensor) -> None:
    """Copies what the best model of a run, or the network of a weight file, and this model have in common.

    Heads of other tasks start anew. ``inputs`` are the model's, like those of training; they set the statistics of
    batch normalisation, which a weight file has not. Raises TrainingError for what cannot be read, and for another
    network.
    """
    if file.suffix == SUFFIX:
        _from_weights(model, file, tasks, inputs)
    else:
        _from_checkpoint(model, file)


def read_run(checkpoint: Path) -> dict[str, Any]:
    """The checkpoint of an attribute run. Raises TrainingError for other files."""
    try:
        state = read_checkpoint(checkpoint)
        state["best"]
    except (OSError, EOFError, KeyError, RuntimeError, UnpicklingError) as error:
        raise TrainingError(f"start: {checkpoint} is no checkpoint of an attribute run ({error!r})") from error
    return state


def read_weights(file: Path | str) -> AttributeWeights:
    """An attribute network's weight file. Raises TrainingError for other files."""
    try:
        return load_attributes(file)
    except WeightsError as error:
        raise TrainingError(f"start: {error}") from error


def trunk_weights(settings: AttributeSettings) -> RecognizerWeights | AttributeWeights:
    """The network whose first nodes stay: a recogniser, or the attribute network to begin from, which has its own.

    A run that begins from a checkpoint goes on over the trunk of the run that wrote it. Raises TrainingError or
    WeightsError for a file that cannot be used.
    """
    if settings.trunk or not settings.start:
        return load_recognizer(settings.trunk or None)
    if not settings.start.endswith(SUFFIX):
        return _trunk_of(read_run(Path(settings.start)).get("settings", {}))
    return read_weights(settings.start)


def _trunk_of(settings: Mapping[str, Any]) -> RecognizerWeights | AttributeWeights:
    """The network that a run of the settings of a checkpoint went on from."""
    known = {name: settings.get(name, "") for name in ("trunk", "start")}
    return trunk_weights(replace(AttributeSettings(), **known))


def _from_checkpoint(model: AttributeModel, checkpoint: Path) -> None:
    """The best model of a run."""
    state = read_run(checkpoint)
    weights = state["best"]
    own = model.state_dict()
    known = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    common = [name for name in own if int(name.split(".")[2]) <= _pooled(model.architecture.graph)]
    if not common or any(name not in known for name in common):
        raise TrainingError(f"start: {checkpoint} is of another network")
    if model.trunk_tensors:  # a checkpoint does not hold its trunk
        earlier = state.get("settings", {})
        own_frozen, frozen = model.architecture.trunk, earlier.get("frozen", AttributeSettings().frozen)
        if frozen != own_frozen:
            raise TrainingError(f"start: {checkpoint} has {frozen} for frozen, this run {own_frozen}")
        _check_trunk(model, checkpoint, _trunk_of(earlier).tensors)
    model.load_state_dict({**own, **known})


def _from_weights(model: AttributeModel, file: Path, tasks: Sequence[Task], inputs: torch.Tensor) -> None:
    """The network of a weight file."""
    stored = read_weights(file)
    architecture = model.architecture
    shared = range(_pooled(architecture.graph) + 1)
    if stored.graph.nodes[: len(shared)] != architecture.graph.nodes[: len(shared)]:
        raise TrainingError(f"start: {file} is of another network")
    _check_trunk(model, file, stored.tensors)
    places = {index: index for index in shared if index > architecture.trunk} | _common_heads(model, stored, tasks)
    tensors = {
        f"{place}.{name}": torch.from_numpy(stored.tensors[f"{index}.{name}"])
        for place, index in places.items()
        for name in ("weight", "bias", "slope")
        if f"{index}.{name}" in stored.tensors
    }
    model.eval()
    fill_blocks(dict(enumerate(model.network.blocks)), tensors, lambda: model(inputs))
    model.train()


def _check_trunk(model: AttributeModel, file: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raises TrainingError unless the tensors of what to begin from have the model's trunk."""
    for name, tensor in model.trunk_tensors.items():  # files hold half precision
        stored, own = tensors.get(name), tensor.numpy()
        if stored is None or not np.array_equal(stored.astype(np.float16), own.astype(np.float16)):
            raise TrainingError(f"start: {file} goes on from another trunk than this run")


def _common_heads(model: AttributeModel, stored: AttributeWeights, tasks: Sequence[Task]) -> dict[int, int]:
    """The two nodes of each head that is for the same task in the file → those of the file."""
    own = model.architecture.graph
    places: dict[int, int] = {}
    known = {task.name: task for task in stored.tasks}
    for task in tasks:
        if known.get(task.name) == exported(task):
            place, index = own.outputs[task.name], stored.graph.outputs[task.name]
            if own.nodes[place - 1].channels == stored.graph.nodes[index - 1].channels:
                places |= {place - 1: index - 1, place: index}
    return places


def _pooled(graph: Graph) -> int:
    """The node that all heads read."""
    return min(graph.outputs.values()) - 2
