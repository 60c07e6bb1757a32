"""Begins a network from the weights of a file, in which batch normalisation is merged into the convolutions.

A file of fewer channels will do: they are repeated, as in Net2WiderNet (Chen, Goodfellow and Shlens 2016).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from cascade.models.detector import StageWeights, load_stage
from cascade.models.files import WeightsError
from cascade.nn.architectures import Architecture
from cascade.nn.heads import layout
from cascade.nn.torch_network import CascadeNetwork
from train.common.checkpoints import TrainingError
from train.common.unfolding import fill_blocks

# Spread of the noise on the weights of a repeated channel, over that of the channel's weights: without any, copies
# would get the same gradients and stay equal.
NOISE = 0.02

Tensors = dict[str, torch.Tensor]


def warm_start(network: CascadeNetwork, file: Path | str, inputs: torch.Tensor) -> None:
    """Copies the weights of a file into a network, which then computes what the file's network computes.

    ``inputs`` (n, 3, size, size) set the statistics of batch normalisation, see `fill_blocks`. Heads that the file
    lacks stay as they are: P-Net and R-Net are stored without landmarks. Where the file's layers have fewer channels,
    channels are repeated, and the function is nearly the same. Raises TrainingError for the weights of another network,
    or a file that cannot be read.
    """
    stored = _stored(file, network.architecture)
    network.eval()
    fill_blocks(dict(enumerate(network.blocks)), _widened(stored, network.architecture), lambda: network(inputs))
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
