"""Begins a landmark network from what an earlier run learned: its checkpoint, or a weight file."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray

from cascade.models.files import WeightsError
from cascade.models.landmarks import OUTPUT, load_landmarks
from cascade.nn.torch_graph import GraphNetwork
from train.common.checkpoints import TrainingError, read_checkpoint
from train.common.unfolding import SUFFIX, fill_blocks


def start_from(network: GraphNetwork, file: Path, mean_shape: NDArray[np.float32], inputs: torch.Tensor) -> None:
    """Copies the averaged weights of a run, or those of a weight file; ``mean_shape`` (68, 2) is that of this run.

    With those of a file the network gives the file's points: its last bias takes up the difference of the mean shapes.
    ``inputs`` (n, 3, side, side) set the statistics of batch normalisation, which a weight file has not. Raises
    TrainingError for what cannot be read, and for another network.
    """
    if file.suffix == SUFFIX:
        _from_weights(network, file, mean_shape, inputs)
    else:
        _from_checkpoint(network, file)


def _from_checkpoint(network: GraphNetwork, checkpoint: Path) -> None:
    try:
        network.load_state_dict(read_checkpoint(checkpoint)["averaged"])
    except (OSError, EOFError, KeyError, RuntimeError, UnpicklingError) as error:
        raise TrainingError(f"start: {checkpoint} is no checkpoint of such a network ({error!r:.150})") from error


def _from_weights(network: GraphNetwork, file: Path, mean_shape: NDArray[np.float32], inputs: torch.Tensor) -> None:
    try:
        stored = load_landmarks(file)
    except WeightsError as error:
        raise TrainingError(f"start: {error}") from error
    if stored.graph != network.graph:
        raise TrainingError(f"start: {file} is of another network")
    tensors = {name: torch.from_numpy(array) for name, array in stored.tensors.items()}
    last = f"{network.graph.outputs[OUTPUT]}.bias"
    tensors[last] = tensors[last] + (tensors["mean_shape"] - torch.from_numpy(mean_shape)).flatten()
    network.eval()
    fill_blocks(dict(enumerate(network.blocks)), tensors, lambda: network(inputs))
    network.train()
