"""P-Net, R-Net, O-Net and L-Net in torch: the one definition for training and for the torch engine.

A network is built from its `Architecture`. For training each convolution may be followed by batch normalisation, which
`fold` then merges into the convolution, so that what runs is convolutions and activations alone.
"""

from __future__ import annotations

import torch
from torch import nn

from cascade.nn.architectures import Architecture, Layer


class CascadeNetwork(nn.Module):
    """A stage's network: (n, 3, size, size) float in about -1..1 → (n, outputs, rows, columns).

    On an input of exactly `architecture.input_size` the output map has one position; a larger input is scanned densely.
    """

    def __init__(self, architecture: Architecture, batch_norm: bool = False) -> None:
        super().__init__()
        self.architecture = architecture
        channels, blocks = 3, []
        for index, layer in enumerate(architecture.layers):
            last = index == len(architecture.layers) - 1
            blocks.append(_block(layer, channels, batch_norm and not last))
            channels = layer.channels or channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All heads along the channels: `Architecture.output` tells where each of them is."""
        for block in self.blocks:
            x = block(x)
        return x


def _block(layer: Layer, channels: int, batch_norm: bool) -> nn.Module:
    if layer.kind == "pool":
        return nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=True)
    parts: list[nn.Module] = [nn.Conv2d(channels, layer.channels, layer.kernel, layer.stride, bias=not batch_norm)]
    if batch_norm:
        parts.append(nn.BatchNorm2d(layer.channels))
    if layer.activation == "relu":
        parts.append(nn.ReLU(inplace=True))
    elif layer.activation == "prelu":
        parts.append(nn.PReLU(layer.channels))
    return nn.Sequential(*parts)


def fold(network: CascadeNetwork) -> CascadeNetwork:
    """The same function without batch normalisation, from the running statistics."""
    folded = CascadeNetwork(network.architecture).eval()
    with torch.no_grad():
        for source, target in zip(network.blocks, folded.blocks, strict=True):
            if not isinstance(source, nn.Sequential):
                continue
            weight, bias = folded_block(source)
            target[0].weight.copy_(weight)  # type: ignore[index]
            target[0].bias.copy_(bias)  # type: ignore[index]
            for module in source:
                if isinstance(module, nn.PReLU):
                    target[1].weight.copy_(module.weight)  # type: ignore[index]
    return folded


def folded_block(block: nn.Sequential) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution, with the batch normalisation behind it merged in."""
    convolution = block[0]
    assert isinstance(convolution, nn.Conv2d)
    weight = convolution.weight.detach()
    bias = weight.new_zeros(len(weight)) if convolution.bias is None else convolution.bias.detach()
    for module in block:
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            scale = module.weight.detach() / torch.sqrt(module.running_var + module.eps)
            weight = weight * scale[:, None, None, None]
            bias = (bias - module.running_mean) * scale + module.bias.detach()
    return weight, bias


def export_tensors(network: CascadeNetwork, outputs: int | None = None) -> dict[str, torch.Tensor]:
    """Folded weights by name, as `cascade.models.detector` stores them: ``0.weight``, ``0.bias``, ``0.slope`` …

    ``outputs`` keeps only the first outputs of the last layer (6 drops the landmarks).
    """
    folded = fold(network)
    tensors: dict[str, torch.Tensor] = {}
    for index, block in enumerate(folded.blocks):
        if not isinstance(block, nn.Sequential):
            continue
        convolution = block[0]
        assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
        keep = outputs if index == len(folded.blocks) - 1 else None
        tensors[f"{index}.weight"] = convolution.weight.detach()[:keep].contiguous().clone()
        tensors[f"{index}.bias"] = convolution.bias.detach()[:keep].contiguous().clone()
        for module in block:
            if isinstance(module, nn.PReLU):
                tensors[f"{index}.slope"] = module.weight.detach().clone()
    return tensors


def from_tensors(architecture: Architecture, tensors: dict[str, torch.Tensor]) -> CascadeNetwork:
    """The network of a weight file, ready for inference."""
    network = CascadeNetwork(architecture).eval()
    with torch.no_grad():
        for index, block in enumerate(network.blocks):
            for module in block if isinstance(block, nn.Sequential) else ():
                if isinstance(module, nn.Conv2d):
                    assert module.bias is not None
                    module.weight.copy_(tensors[f"{index}.weight"].float())
                    module.bias.copy_(tensors[f"{index}.bias"].float())
                elif isinstance(module, nn.PReLU):
                    module.weight.copy_(tensors[f"{index}.slope"].float())
    return network.requires_grad_(False)
