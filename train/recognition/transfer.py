"""Starting a model from an earlier run, which may lack its decomposition and age heads, or from a weight file."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cascade.models.files import WeightsError
from cascade.models.recognizer import load_recognizer
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


def start_from_weights(model: RecognitionModel, file: Path, crops: torch.Tensor) -> None:
    """Copies the arrays of a weight file into ``model``, whose persons' centres stay as they are.

    Weight files have batch normalisation merged into the convolutions. It is taken apart again: the statistics are
    those of the maps of ``crops`` (n, 3, 112, 112) in about -1..1, and its scale and shift are such that the network
    computes the same. Raises TrainingError for a file that cannot be read or is of another network.
    """
    try:
        weights = load_recognizer(file)
    except WeightsError as error:
        raise TrainingError(f"start: {error}") from error
    if weights.graph != model.architecture.graph:
        raise TrainingError(f"start: {file} is of {weights.graph.name}, expected {model.architecture.graph.name}")
    for index, block in enumerate(model.network.blocks):
        if isinstance(block, nn.Sequential):
            _fill(block, *(weights.tensors.get(f"{index}.{name}") for name in ("weight", "bias", "slope")))
    _take_apart(model, crops)


@torch.no_grad()
def _fill(
    block: nn.Sequential,
    weight: NDArray[np.float32] | None,
    bias: NDArray[np.float32] | None,
    slope: NDArray[np.float32] | None,
) -> None:
    """Copies a node's arrays into its block; the bias goes into its batch normalisation, if it has one."""
    assert weight is not None and bias is not None
    last: nn.Conv2d | nn.BatchNorm2d
    for module in block:
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(torch.from_numpy(weight.copy()).reshape(module.weight.shape))
            last = module
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            if last.bias is not None:
                last.bias.zero_()
            last = module
        elif isinstance(module, nn.PReLU):
            assert slope is not None
            module.weight.copy_(torch.from_numpy(slope.copy()))
    assert last.bias is not None
    last.bias.copy_(torch.from_numpy(bias.copy()))


@torch.no_grad()
def _take_apart(model: RecognitionModel, crops: torch.Tensor) -> None:
    """Gives every batch normalisation the statistics of its own inputs, without changing what the network computes."""
    norms = [module for module in model.network.modules() if isinstance(module, nn.BatchNorm2d)]
    found: dict[nn.BatchNorm2d, tuple[torch.Tensor, torch.Tensor]] = {}

    def note(module: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        found[module] = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    training = model.training
    model.eval()
    model.network(crops)
    model.train(training)
    for hook in hooks:
        hook.remove()
    for norm, (mean, variance) in found.items():
        assert norm.running_mean is not None and norm.running_var is not None
        now = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # the scale that must stay
        norm.bias.add_((mean - norm.running_mean) * now)
        norm.weight.copy_(now * torch.sqrt(variance + norm.eps))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def shared_nodes(architecture: RecognitionNetwork) -> list[int]:
    """The nodes that an architecture has with and without decomposition: the encoder's, then those of the embedding."""
    embedding = architecture.graph.outputs["embedding"]
    path = [embedding]
    while architecture.graph.nodes[path[-1]].input != architecture.identity:
        path.append(architecture.graph.nodes[path[-1]].input)
    return [*range(architecture.skips[-1] + 1), *reversed(path)]
