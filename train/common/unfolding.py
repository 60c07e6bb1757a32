"""Gives networks with batch normalisation the weights of a file, in which it is folded into the convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

SUFFIX = ".safetensors"  # of weight files; all else that a run may begin from is a checkpoint


@torch.no_grad()
def fill_blocks(
    blocks: Mapping[int, nn.Module], tensors: Mapping[str, torch.Tensor], forward: Callable[[], Any]
) -> None:
    """Copies tensors (``3.weight``, ``3.bias``, ``3.slope`` for block 3) into blocks, as ``forward()`` reaches them.

    ``forward`` runs the network in evaluation mode on inputs like those of training. Each batch normalisation gets the
    statistics of these inputs, and scale and shift that undo them. So the network computes what the file's network
    computes, and in training too the first batch comes out unchanged, if it is that one. Blocks without tensors stay
    as they are, also the channels of a convolution that the file lacks.
    """
    hooks = [
        block.register_forward_pre_hook(partial(_fill_block, tensors, index))
        for index, block in blocks.items()
        if f"{index}.weight" in tensors
    ]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()


def _fill_block(tensors: Mapping[str, torch.Tensor], index: int, block: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    """One convolution with what follows it, just before it runs over its inputs."""
    assert isinstance(block, nn.Sequential)
    (values,) = inputs
    convolution = block[0]
    assert isinstance(convolution, nn.Conv2d)
    weight, bias = (tensors[f"{index}.{name}"].to(values.device) for name in ("weight", "bias"))
    convolution.weight[: len(weight)] = weight.reshape(len(weight), *convolution.weight.shape[1:])
    if convolution.bias is not None:
        convolution.bias[: len(bias)] = bias
    for module in block:
        if isinstance(module, nn.BatchNorm2d):
            _fill_norm(module, convolution(values), bias)
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
