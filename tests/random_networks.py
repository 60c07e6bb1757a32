"""Networks with random weights that behave like trained ones, so that tests need no training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cascade import _native
from cascade.models.detector import save_stage
from cascade.nn.architectures import ARCHITECTURES, Architecture, Layer

if TYPE_CHECKING:
    from cascade.nn.torch_network import CascadeNetwork

# Share of windows of a photo that each stage of the random weights lets through at a probability of 0.5.
PASSING = {"pnet": 0.03, "rnet": 0.7, "onet": 0.98, "lnet": 0.98}
# Where the random O-Net puts the landmarks on average, in shares of the window.
LANDMARKS = (0.3, 0.35, 0.7, 0.35, 0.5, 0.55, 0.35, 0.75, 0.65, 0.75)


def receptive(layers: Sequence[Layer]) -> Architecture:
    """A P-Net of these layers whose window is exactly their receptive field."""
    stride, field = 1, 1
    for layer in layers:
        field += (layer.kernel - 1) * stride
        stride *= layer.stride
    return Architecture("any", "pnet", field, field, tuple(layers))


def random_network(architecture: Architecture, seed: int = 0) -> CascadeNetwork:
    """A network with batch normalisation and random weights, its last layer scaled so that it behaves like a
    trained one on `portrait`: a share of PASSING windows passes, and boxes and landmarks move by little."""
    import torch

    from cascade.nn.torch_network import CascadeNetwork
    from tests.photos import portrait

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        network = CascadeNetwork(architecture, batch_norm=True).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.8, 1.2)
                module.bias.normal_(0, 0.1)
            elif isinstance(module, torch.nn.PReLU):
                module.weight.uniform_(0, 0.5)
        crops = torch.from_numpy(_windows(portrait(), architecture.input_size))
        outputs = network((crops.permute(0, 3, 1, 2).float() - 127.5) * 0.0078125)[:, :, 0, 0]
        spread = torch.tensor([1.0, 1.0, *[0.05] * 4, *[0.03] * 10])[: architecture.outputs]
        centre = torch.tensor([0.0, 0.0, *[0.0] * 4, *LANDMARKS])[: architecture.outputs]
        scale = spread / outputs.std(dim=0)
        head = network.blocks[-1][0]
        head.weight.mul_(scale[:, None, None, None])
        head.bias.copy_(head.bias * scale + centre - outputs.mean(dim=0) * scale)
        logits = (outputs[:, 1] - outputs[:, 1].mean()) * scale[1] - (outputs[:, 0] - outputs[:, 0].mean()) * scale[0]
        head.bias[1] -= torch.quantile(logits, 1 - PASSING[architecture.stage])
    return network


def _windows(photo: np.ndarray, size: int) -> np.ndarray:
    """Crops (200, size, size, 3) of random squares of a photo."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(20, 200, (200, 1))
    corners = rng.uniform(-20, 450, (200, 2))
    return _native.cut([photo], [(1.0, 1.0)], np.hstack([corners, corners + sides]), size)


def save_random_weights(family: str, folder: Path, seed: int = 0) -> Path:
    """Writes the random networks of a family of `ARCHITECTURES` to a folder and returns it."""
    from cascade.nn.torch_network import export_tensors

    for number, (stage, architecture) in enumerate(ARCHITECTURES[family].items()):
        tensors = export_tensors(random_network(architecture, seed + number))
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        save_stage(folder / f"{stage}.safetensors", architecture, arrays, {"licence": "none, random weights"})
    return folder
