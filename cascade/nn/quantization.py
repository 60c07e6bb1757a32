"""int8 quantization of a detector's networks: 8 bits for activations and weights, 32 bits for sums.

Activations of channel c are uint8 values q for q · range_c / 255. The range is the largest activation on training
photos, which calibration measures (`python -m train calibrate`); larger activations saturate. Weights are int8, from
−127 to 127, times a scale for each filter. So sums are exact integers, and one multiplication by a float gives the
uint8 activation of the next layer. The results are the same on every SIMD level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cascade.nn.architectures import Architecture

PACKED = 4
"""Channels in a packed int8x4; the channels of a layer are padded to a multiple of it."""

LARGEST_WEIGHT, LARGEST_ACTIVATION = 127, 255
LARGEST_SUM = 2**31 - 1
LARGEST_FACTOR = float(np.finfo(np.float32).max)
PIXEL_ZERO, PIXEL_SCALE = 127.5, 1 / 128  # the network's input is (pixel − PIXEL_ZERO) · PIXEL_SCALE


def range_name(index: int) -> str:
    """Name of the tensor with the activation ranges of a layer's channels."""
    return f"{index}.range"


def has_ranges(architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether all hidden layers have the activation ranges that int8 needs."""
    return all(range_name(index) in tensors for index in range(len(architecture.layers) - 1))


def quantized_layers(architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The int8 layers of a network as `_native.Network` takes them, from its float32 weights and activation ranges.

    Raises ValueError for a network with layers other than convolutions with ReLU, or without activation ranges.
    """
    in_scales = np.full(3, PIXEL_SCALE)
    found = []
    last = len(architecture.layers) - 1
    for index, layer in enumerate(architecture.layers):
        expected = "none" if index == last else "relu"
        if layer.kind != "conv" or layer.activation != expected or (index < last and layer.channels % PACKED):
            raise ValueError(
                f"int8 is for convolutions with ReLU of a multiple of {PACKED} channels, layer {index} is not"
            )
        out_scales = None if index == last else _activation_scales(tensors, index)
        filters = np.asarray(tensors[f"{index}.weight"], np.float64) * in_scales[:, None, None]
        bias = np.asarray(tensors[f"{index}.bias"], np.float64)
        arrays = _layer(filters, bias, out_scales, PIXEL_ZERO * (index == 0))
        found.append({"kind": "conv", "dtype": "int8", "stride": layer.stride, **arrays})
        in_scales = np.empty(0) if out_scales is None else out_scales
    return found


def _activation_scales(tensors: Mapping[str, np.ndarray], index: int) -> np.ndarray:
    """The activation of each channel of a layer that the uint8 value 1 stands for."""
    ranges = tensors.get(range_name(index))
    if ranges is None:
        raise ValueError("there are no activation ranges, which int8 needs; run `python -m train calibrate`")
    return np.maximum(np.asarray(ranges, np.float64), 1e-6) / LARGEST_ACTIVATION


def _layer(filters: np.ndarray, bias: np.ndarray, out_scales: np.ndarray | None, zero: float) -> dict[str, Any]:
    """Weight (out, groups, k, k, 4) int8, bias (out,) int32 and factor (out,) float32 of filters (out, in, k, k).

    The inputs are uint8 values less ``zero``. ``out_scales`` are the scales of the outputs; None for the last layer,
    whose outputs are floats.
    """
    scale = np.maximum(np.abs(filters).max(axis=(1, 2, 3)), 1e-12) / LARGEST_WEIGHT
    quantized = np.rint(filters / scale[:, None, None, None])
    sums = bias / scale - zero * quantized.sum(axis=(1, 2, 3))
    factor = scale if out_scales is None else scale / out_scales
    if out_scales is not None:
        sums += 0.5 / factor  # so that truncation rounds to the nearest
    # the largest bias with which no sum overflows
    most = LARGEST_SUM - LARGEST_ACTIVATION * np.abs(quantized).sum(axis=(1, 2, 3))
    outputs, inputs, kernel, _ = quantized.shape
    groups = -(-inputs // PACKED)
    weight = np.zeros((outputs, groups * PACKED, kernel, kernel), np.int8)
    weight[:, :inputs] = quantized
    weight = weight.reshape(outputs, groups, PACKED, kernel, kernel).transpose(0, 1, 3, 4, 2)
    return {
        "weight": np.ascontiguousarray(weight),
        "bias": np.rint(np.clip(sums, -most, most)).astype(np.int32),
        "factor": np.minimum(factor, LARGEST_FACTOR).astype(np.float32),
    }
