"""Begins a network from the weights of a file, in which batch normalisation is merged into the convolutions.

A file of fewer channels will do: they are repeated, as in Net2WiderNet (Chen, Goodfellow and Shlens 2016). So will one
of fewer layers before the heads: those that it lacks begin as identity, as in the paper's Net2DeeperNet.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from cascade.models.detector import StageWeights, load_stage
from cascade.models.files import WeightsError
from cascade.nn.architectures import Architecture, Layer
from cascade.nn.heads import BOX, LANDMARKS, head_slices, layout
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
    channels are repeated, and the function is nearly the same. Where the network has more layers before the heads, for
    a larger input, it computes what the file's computes in the middle of that. For another window, boxes and landmarks
    are where they were in pixels of the input. Raises TrainingError for the weights of another network, or a file that
    cannot be read.
    """
    stored, tensors = _stored(file, network.architecture)
    tensors = _widened(stored, tensors, network.architecture)
    network.eval()
    fill_blocks(dict(enumerate(network.blocks)), tensors, lambda: network(inputs))
    network.train()


def _stored(file: Path | str, architecture: Architecture) -> tuple[tuple[Layer, ...], Tensors]:
    """The layers of the file, and its tensors, with as many layers as the architecture has.

    Raises TrainingError unless all layers but the last are those of the architecture, or have fewer channels, but for
    further ones at its end.
    """
    try:
        stored = load_stage(file, architecture.stage)
    except WeightsError as error:
        raise TrainingError(f"start: {error}") from error
    layers, tensors = _deepened(stored, architecture)
    tensors |= _in_units_of(architecture, stored.architecture, layers, tensors)
    pairs = list(zip(layers, architecture.layers, strict=False))
    same = len(layers) == len(architecture.layers) and pairs[-1][0].kernel == pairs[-1][1].kernel
    same = same and all(
        old.channels <= new.channels and replace(old, channels=new.channels) == new for old, new in pairs[:-1]
    )
    heads = stored.architecture.heads
    if not same or layout(heads) != layout(architecture.heads[: len(heads)]):
        raise TrainingError(f"start: {file} holds another network than the {architecture.stage} to train")
    return layers, tensors


def _in_units_of(new: Architecture, old: Architecture, layers: tuple[Layer, ...], tensors: Tensors) -> Tensors:
    """The tensors of the heads for box and landmarks, which answer in units of the window, for another window.

    A point is where it was in pixels around the middle of the input.
    """
    names, factor = [f"{len(layers) - 1}.{part}" for part in ("weight", "bias")], old.window / new.window
    weight, bias = (tensors[name].clone() for name in names)
    for head, place in head_slices(old.heads).items():
        if head == BOX.name:
            origin = torch.tensor([0.0, 0.0, 1.0, 1.0])
        elif head == LANDMARKS.name:
            origin = torch.zeros(10)
        else:
            continue
        weight[place] *= factor
        bias[place] = (bias[place] + origin - 0.5) * factor + 0.5 - origin
    return dict(zip(names, (weight, bias), strict=True))


def _deepened(stored: StageWeights, architecture: Architecture) -> tuple[tuple[Layer, ...], Tensors]:
    """The file's layers and tensors, with layers before the heads that repeat what comes, as many as are lacking.

    After a ReLU, another ReLU changes nothing.
    """
    layers = stored.architecture.layers
    tensors = {name: torch.from_numpy(values) for name, values in stored.tensors.items()}
    for index in range(len(layers) - 1, len(architecture.layers) - 1):
        new, width = architecture.layers[index], layers[index - 1].channels
        if (new.kind, new.stride, new.activation, layers[index - 1].activation) != ("conv", 1, "relu", "relu"):
            break
        identity = torch.zeros(width, width, new.kernel, new.kernel)
        identity[range(width), range(width), new.kernel // 2, new.kernel // 2] = 1
        for name in ("weight", "bias"):
            tensors[f"{index + 1}.{name}"] = tensors[f"{index}.{name}"]
        tensors[f"{index}.weight"], tensors[f"{index}.bias"] = identity, torch.zeros(width)
        layers = (*layers[:-1], replace(new, channels=width), layers[-1])
    return layers, tensors


def _widened(layers: tuple[Layer, ...], tensors: Tensors, architecture: Architecture) -> Tensors:
    """The file's tensors with channels repeated until the layers have the architecture's; the heads stay.

    A channel's copies share its weights in the next layer, so that what they add up to is the same.
    """
    generator = torch.Generator().manual_seed(0)
    found: Tensors = {}
    inputs = torch.arange(3)  # of each channel, the one of the file that it is a copy of
    last = len(architecture.layers) - 1
    for index, (old, new) in enumerate(zip(layers, architecture.layers, strict=True)):
        if old.kind != "conv":
            continue
        outputs = torch.arange(old.channels)
        if index < last:
            more = torch.randint(old.channels, (new.channels - old.channels,), generator=generator)
            outputs = torch.cat([outputs, more])
        weight = tensors[f"{index}.weight"]
        shares = 1 / torch.bincount(inputs, minlength=weight.shape[1])[inputs]
        wide = weight[outputs][:, inputs] * shares[:, None, None]
        copies = wide[old.channels :]
        copies += NOISE * wide.std() * torch.randn(copies.shape, generator=generator)
        found[f"{index}.weight"] = wide
        for name in ("bias", "slope"):
            if f"{index}.{name}" in tensors:
                found[f"{index}.{name}"] = tensors[f"{index}.{name}"][outputs]
        inputs = outputs
    return found
