"""Begins a network from the weights of a file, in which batch normalisation is merged into the convolutions.

A file of fewer channels will do: they are repeated, as in Net2WiderNet (Chen, Goodfellow and Shlens 2016).
"""

from __future__ import annotations

from dataclasses import replace
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

# Spread of the noise on the weights of a repeated channel, over that of the channel's weights: without any, copies
# would get the same gradients and stay equal.
NOISE = 0.02

Tensors = dict[str, torch.Tensor]


@torch.no_grad()
def warm_start(network: CascadeNetwork, file: Path | str, inputs: torch.Tensor) -> None:
    """Copies the weights of a file into a network, which then computes what the file's network computes.

    Each batch normalisation gets the statistics of ``inputs`` (n, 3, size, size), and scale and shift that undo them.
    So in training too the first batch comes out unchanged, if it is that one. Heads that the file lacks stay as they
    are: P-Net and R-Net are stored without landmarks. Where the file's layers have fewer channels, channels are
    repeated, and the function is nearly the same. Raises TrainingError for the weights of another network, or a file
    that cannot be read.
    """
    stored = _stored(file, network.architecture)
    tensors = _widened(stored, network.architecture)
    values = inputs
    for index, block in enumerate(network.blocks):
        if isinstance(block, nn.Sequential):
            _fill_block(block, index, tensors, values)
        values = block.eval()(values)
    network.train()


def _stored(file: Path | str, architecture: Architecture) -> StageWeights:
    """The weights of the file.

    Raises TrainingError unless all layers but the last are those of the architecture, or have fewer channels.
    """
    try:
        stored = load_stage(file, architecture.stage)
    except WeightsError as error:
        raise TrainingError(f"start: {error}") from error
    given = stored.architecture
    pairs = list(zip(given.layers, architecture.layers, strict=False))
    same = len(given.layers) == len(architecture.layers) and pairs[-1][0].kernel == pairs[-1][1].kernel
    same = same and all(
        old.channels <= new.channels and replace(old, channels=new.channels) == new for old, new in pairs[:-1]
    )
    if not same or layout(given.heads) != layout(architecture.heads[: len(given.heads)]):
        raise TrainingError(f"start: {file} holds another network than the {architecture.stage} to train")
    return stored


def _widened(stored: StageWeights, architecture: Architecture) -> Tensors:
    """The file's tensors with channels repeated until the layers have the architecture's; the heads stay.

    A channel's copies share its weights in the next layer, so that what they add up to is the same.
    """
    generator = torch.Generator().manual_seed(0)
    found: Tensors = {}
    inputs = torch.arange(3)  # of each channel, the one of the file that it is a copy of
    last = len(architecture.layers) - 1
    for index, (old, new) in enumerate(zip(stored.architecture.layers, architecture.layers, strict=True)):
        if old.kind != "conv":
            continue
        outputs = torch.arange(old.channels)
        if index < last:
            more = torch.randint(old.channels, (new.channels - old.channels,), generator=generator)
            outputs = torch.cat([outputs, more])
        weight = torch.from_numpy(stored.tensors[f"{index}.weight"])
        shares = 1 / torch.bincount(inputs, minlength=weight.shape[1])[inputs]
        wide = weight[outputs][:, inputs] * shares[:, None, None]
        copies = wide[old.channels :]
        copies += NOISE * wide.std() * torch.randn(copies.shape, generator=generator)
        found[f"{index}.weight"] = wide
        for name in ("bias", "slope"):
            if f"{index}.{name}" in stored.tensors:
                found[f"{index}.{name}"] = torch.from_numpy(stored.tensors[f"{index}.{name}"])[outputs]
        inputs = outputs
    return found


def _fill_block(block: nn.Sequential, index: int, tensors: Tensors, inputs: torch.Tensor) -> None:
    """One convolution with what follows it: ``inputs`` are those of the block."""
    weight, bias = (tensors[f"{index}.{name}"].to(inputs.device) for name in ("weight", "bias"))
    convolution = block[0]
    assert isinstance(convolution, nn.Conv2d)
    convolution.weight[: len(weight)] = weight
    if convolution.bias is not None:
        convolution.bias[: len(bias)] = bias
    for module in block:
        if isinstance(module, nn.BatchNorm2d):
            _fill_norm(module, convolution(inputs), bias)
        elif isinstance(module, nn.PReLU):
            module.weight.copy_(tensors[f"{index}.slope"])


def _fill_norm(norm: nn.BatchNorm2d, outputs: torch.Tensor, bias: torch.Tensor) -> None:
    """Lets the normalisation of a convolution's ``outputs`` (n, channels, h, w) do nothing but add the bias."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, variance = outputs.mean((0, 2, 3)), outputs.var((0, 2, 3), unbiased=False)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(torch.sqrt(variance + norm.eps))
    norm.bias.copy_(mean + bias)
