"""Starting a model from an earlier run, which may lack its decomposition and age heads."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch

from cascade.nn.torch_graph import GraphNetwork
from train.common.checkpoints import TrainingError, read_checkpoint
from train.recognition.architectures import ARCHITECTURES, RecognitionNetwork
from train.recognition.model import RecognitionModel


def start_from(model: RecognitionModel, checkpoint: Path) -> None:
    """Copies encoder, embedding and the persons' centres of a run's averaged model into ``model``.

    Age heads and gates are copied where the run has them. Raises TrainingError for another architecture.
    """
    try:
        state = read_checkpoint(checkpoint)
        settings, weights = state["settings"], state["averaged"]
        source = ARCHITECTURES[settings["architecture"]](settings["decomposed"])
    except (OSError, EOFError, KeyError, TypeError, RuntimeError, UnpicklingError) as error:
        raise TrainingError(f"start: {checkpoint} is no checkpoint of a recognition run ({error!r})") from error
    if source.graph.name != model.architecture.graph.name:
        raise TrainingError(f"start: {checkpoint} is of {source.graph.name}, expected {model.architecture.graph.name}")
    if source == model.architecture:
        own = model.state_dict()
        known = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
        if any(name.startswith("network.") and name not in known for name in own):
            raise TrainingError(f"start: {checkpoint} is of another network that was called {source.graph.name} too")
        model.load_state_dict(known, strict=False)
        return
    places = dict(zip(shared_nodes(source), shared_nodes(model.architecture), strict=True))
    network = GraphNetwork(source.graph, batch_norm=True, normalised=(source.graph.outputs["embedding"],))
    inner = {name.removeprefix("network."): value for name, value in weights.items() if name.startswith("network.")}
    try:
        network.load_state_dict(inner)
    except RuntimeError as error:
        raise TrainingError(
            f"start: {checkpoint} is of another network that was called {source.graph.name} too"
        ) from error
    for before, after in places.items():
        model.network.blocks[after].load_state_dict(network.blocks[before].state_dict())
    centres = weights.get("identity.centres")
    if model.identity is not None and centres is not None and centres.shape == model.identity.centres.shape:
        with torch.no_grad():
            model.identity.centres.copy_(centres)


def shared_nodes(architecture: RecognitionNetwork) -> list[int]:
    """The nodes that an architecture has with and without decomposition: the encoder's, then those of the embedding."""
    embedding = architecture.graph.outputs["embedding"]
    path = [embedding]
    while architecture.graph.nodes[path[-1]].input != architecture.identity:
        path.append(architecture.graph.nodes[path[-1]].input)
    return [*range(architecture.skips[-1] + 1), *reversed(path)]
