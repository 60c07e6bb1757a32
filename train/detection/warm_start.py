"""Begins a network from the weights of a file, in which batch normalisation is merged into the convolutions."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from cascade.models.detector import StageWeights, load_stage
from cascade.models.files import WeightsError
from cascade.nn.architectures import Architecture
from cascade.nn.heads import layout
from cascade.nn.torch_network import CascadeNetwork
from train.common.checkpoints import TrainingError

SUFFIX = ".safetensors"


@torch.no_grad()
def warm_start(network: CascadeNetwork, file: Path | str, inputs: torch.Tensor) -> None:
    """Copies the weights of a file into a network, which then computes what the file's network computes.

    Each batch normalisation gets the statistics of ``inputs`` (n, 3, size, size), and scale and shift that undo them.
    So in training too the first batch comes out unchanged, if it is that one. Heads that the file lacks stay as they
    are: P-Net and R-Net are stored without landmarks. Raises TrainingError for the weights of another network, or a
    file that cannot be read.
    """
    stored = _stored(file, network.architecture)
    values = inputs
    for index, block in enumerate(network.blocks):
        if isinstance(block, nn.Sequential):
            _fill_block(block, index, stored, values)
        values = block.eval()(values)
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


def _fill_block(block: nn.Sequential, index: int, stored: StageWeights, inputs: torch.Tensor) -> None:
    """One convolution with what follows it: ``inputs`` are those of the block."""
    tensors = stored.tensors
    weight, bias = (torch.from_numpy(tensors[f"{index}.{name}"]).to(inputs.device) for name in ("weight", "bias"))
    convolution = block[0]
    assert isinstance(convolution, nn.Conv2d)
    convolution.weight[: len(weight)] = weight
    if convolution.bias is not None:
        convolution.bias[: len(bias)] = bias
    for module in block:
        if isinstance(module, nn.BatchNorm2d):
            _fill_norm(module, convolution(inputs), bias)
        elif isinstance(module, nn.PReLU):
            module.weight.copy_(torch.from_numpy(tensors[f"{index}.slope"]))


def _fill_norm(norm: nn.BatchNorm2d, outputs: torch.Tensor, bias: torch.Tensor) -> None:
    """Lets the normalisation of a convolution's ``outputs`` (n, channels, h, w) do nothing but add the bias."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, variance = outputs.mean((0, 2, 3)), outputs.var((0, 2, 3), unbiased=False)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(torch.sqrt(variance + norm.eps))
    norm.bias.copy_(mean + bias)
