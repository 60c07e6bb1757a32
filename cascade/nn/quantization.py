"""int8 quantization of a detector's networks: 8 bits for activations and weights, 32 bits for sums.

Activations of channel c are uint8 values q for q · range_c / 255. The range is the largest activation among
those that calibration samples on training photos (`python -m train calibrate`); larger activations saturate. Weights
are int8 times a scale for each filter. So sums are exact integers, and one multiplication by a float gives the uint8
activation of the next layer. The results are the same on every SIMD level.

Processors without an instruction for dot products sum some products in 16 bits first: those of channels 0 and 1 of a
packed int8x4, or of 2 and 3, over `GROUP_TAPS` taps. So that no such sum overflows, whatever the activations, the
positive weights of a group sum to `LARGEST_GROUP` at most, and so do the negative ones; 128 · 255 fits into 16 bits.
The scale of a filter is about the smallest that allows this. It costs most of one bit of the weights' eight.

Error diffusion makes up for it: what a weight is rounded by is carried over to the next one. Neighbouring activations
are alike, so the errors of neighbouring weights cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cascade.nn.architectures import Architecture

PACKED = 4
"""Channels in a packed int8x4; the channels of a layer are padded to a multiple of it."""

GROUP_TAPS, LARGEST_GROUP = 3, 128
"""Taps whose products are summed in 16 bits, and what their weights of one sign may sum to: csrc/include/kernels.h."""

LARGEST_WEIGHT, LARGEST_ACTIVATION = 127, 255
LARGEST_SUM = 2**31 - 1
SCALE_STEP = np.float32(1.01)
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
    for index, layer in enumerate(architecture.layers):
        out_scales = activation_scales(architecture, tensors, index)
        filters = np.asarray(tensors[f"{index}.weight"], np.float64) * in_scales[:, None, None]
        bias = np.asarray(tensors[f"{index}.bias"], np.float64)
        arrays = _layer(filters, bias, out_scales, PIXEL_ZERO * (index == 0))
        found.append({"kind": "conv", "dtype": "int8", "stride": layer.stride, **arrays})
        in_scales = np.empty(0) if out_scales is None else out_scales
    return found


def activation_scales(architecture: Architecture, tensors: Mapping[str, np.ndarray], index: int) -> np.ndarray | None:
    """The activation of each channel of a layer that the uint8 value 1 stands for; None for the last layer.

    Raises ValueError for a layer that int8 is not for, or without activation ranges.
    """
    layer, last = architecture.layers[index], index == len(architecture.layers) - 1
    expected = "none" if last else "relu"
    if layer.kind != "conv" or layer.activation != expected or (not last and layer.channels % PACKED):
        raise ValueError(f"int8 is for convolutions with ReLU of a multiple of {PACKED} channels, layer {index} is not")
    if last:
        return None
    ranges = tensors.get(range_name(index))
    if ranges is None:
        raise ValueError("there are no activation ranges, which int8 needs; run `python -m train calibrate`")
    return np.maximum(np.asarray(ranges, np.float64), 1e-6) / LARGEST_ACTIVATION


def _layer(filters: np.ndarray, bias: np.ndarray, out_scales: np.ndarray | None, zero: float) -> dict[str, Any]:
    """Weight (out, groups, k, k, 4) int8, bias (out,) int32 and factor (out,) float32 of filters (out, in, k, k).

    The inputs are uint8 values less ``zero``. ``out_scales`` are the scales of the outputs; None for the last layer,
    whose outputs are floats.
    """
    weight, scale = _quantize_filters(filters)
    totals = weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64)
    sums = bias / scale - zero * totals
    factor = scale if out_scales is None else scale / out_scales
    if out_scales is not None:
        sums += 0.5 / factor  # so that truncation rounds to the nearest
    # the largest bias with which no sum overflows
    most = LARGEST_SUM - LARGEST_ACTIVATION * np.abs(weight).reshape(len(weight), -1).sum(axis=1, dtype=np.int64)
    return {
        "weight": weight,
        "bias": np.rint(np.clip(sums, -most, most)).astype(np.int32),
        "factor": np.minimum(factor, LARGEST_FACTOR).astype(np.float32),
    }


def _quantize_filters(filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (out, groups, k, k, 4) int8 of filters (out, in, k, k), and the scale (out,) of each filter.

    All sums run in a fixed order, so that all machines get the same weights.
    """
    outputs, inputs, kernel, _ = filters.shape
    largest = np.maximum(np.abs(filters).max(axis=(1, 2, 3)), 1e-12)
    # row by row, there and back, so that neighbours in this order are neighbours in the filter
    snake = (filters / largest[:, None, None, None]).astype(np.float32)
    step = np.maximum(_group_sums(_pack(snake)) / np.float32(LARGEST_GROUP), np.float32(1 / LARGEST_WEIGHT))
    snake[:, :, 1::2] = snake[:, :, 1::2, ::-1].copy()
    sums = np.cumsum(snake.reshape(outputs, -1), axis=1, dtype=np.float64)
    weight = np.empty((outputs, kernel, kernel, -(-inputs // PACKED) * PACKED), np.int8)
    left = np.arange(outputs)
    while len(left):
        step[left] *= SCALE_STEP
        rounded = np.rint(sums[left] / step[left, None]).astype(np.int32)
        rounded[:, 1:] -= rounded[:, :-1].copy()
        found = rounded.reshape(len(left), inputs, kernel, kernel)
        found[:, :, 1::2] = found[:, :, 1::2, ::-1].copy()
        packed = _pack(found)
        weight[left] = packed
        fits = (_group_sums(packed) <= LARGEST_GROUP) & (np.abs(rounded).max(axis=1) <= LARGEST_WEIGHT)
        left = left[~fits]
    weight = weight.reshape(outputs, kernel, kernel, -1, PACKED).transpose(0, 3, 1, 2, 4)
    return np.ascontiguousarray(weight), largest * step


def _pack(filters: np.ndarray) -> np.ndarray:
    """Filters (out, in, k, k) as the native kernels run over them, (out, k, k, in), filled up to packed int8x4."""
    outputs, inputs, kernel, _ = filters.shape
    packed = np.zeros((outputs, kernel, kernel, -(-inputs // PACKED) * PACKED), filters.dtype)
    packed[..., :inputs] = filters.transpose(0, 2, 3, 1)
    return packed


def _group_sums(packed: np.ndarray) -> np.ndarray:
    """The largest sum of weights of one sign (out,) that the native kernels may add in 16 bits: see `GROUP_TAPS`."""
    outputs = len(packed)
    pairs = packed.reshape(outputs, -1, 2, 2)  # taps, pairs of channels
    taps = -(-pairs.shape[1] // GROUP_TAPS) * GROUP_TAPS
    largest = []
    for clip in (np.maximum, np.minimum):
        side = clip(pairs, pairs.dtype.type(0))
        sums = np.zeros((outputs, taps, 2), pairs.dtype)
        sums[:, : pairs.shape[1]] = side[..., 0] + side[..., 1]
        groups = sums[:, ::GROUP_TAPS]
        for tap in range(1, GROUP_TAPS):
            groups = groups + sums[:, tap::GROUP_TAPS]
        largest.append(np.abs(groups).max(axis=(1, 2)))
    found: np.ndarray = np.maximum(*largest)
    return found
