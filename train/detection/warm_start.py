"""Begins a network from the weights of a file, in which batch normalisation is merged into the convolutions."""

from __future__ import annotations

from pathlib import Path

import torch

from cascade.models.detector import StageWeights, load_stage
from cascade.models.files import WeightsError
from cascade.nn.architectures import Architecture
from cascade.nn.heads import layout
from cascade.nn.torch_network import CascadeNetwork
from train.common.checkpoints import TrainingError
from train.common.unfolding import fill_blocks


def warm_start(network: CascadeNetwork, file: Path | str, inputs: torch.Tensor) -> None:
    """Copies the weights of a file into a network, which then computes what the file's network computes.

    ``inputs`` (n, 3, size, size) set the statistics of batch normalisation, see `fill_blocks`. Heads that the file
    lacks stay as they are: P-Net and R-Net are stored without landmarks. Raises TrainingError for the weights of
    another network, or a file that cannot be read.
    """
    stored = _stored(file, network.architecture)
    tensors = {name: torch.from_numpy(array) for name, array in stored.tensors.items()}
    network.eval()
    fill_blocks(dict(enumerate(network.blocks)), tensors, lambda: network(inputs))
    network.train()


def _stored(file: Path | str, architecture: Architecture) -> StageWeights:
    """The weights of the file. Raises TrainingError unless all layers but the last are those of the architecture."""
    try:
        stored = load_stage(file, architecture.stage)
    except WeightsError as error:
        raise TrainingError(f"start: {error}") from error
    given = stored.architecture
    same = given.layers[:-1] == architecture.layers[:-1] and given.layers[-1].kernel == architecture.layers[-1].kernel
    if not same or layout(given.heads) != layout(architecture.heads[: len(given.heads)]):
        raise TrainingError(f"start: {file} holds another network than the {architecture.stage} to train")
    return stored
