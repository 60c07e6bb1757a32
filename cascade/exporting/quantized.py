"""A detector's networks in int8: ONNX's QuantizeLinear and DequantizeLinear around each convolution.

ONNX has one scale for all channels of an activation, and the calibrated ranges differ from channel to channel. So each
channel is divided by its range, which ReLU allows: filters and biases are, and the next layer's weights are multiplied
by it. Then all activations are 0 to 1, in steps of 1 / 255.

Some processors add two products in 16 bits. Weights of at most 64 cannot make such a sum too large. As in
`cascade.nn.quantization`, what a weight is rounded by is carried over to the next one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cascade.exporting.writer import GraphWriter
from cascade.nn.architectures import Architecture
from cascade.nn.quantization import LARGEST_ACTIVATION, PIXEL_SCALE, PIXEL_ZERO, activation_scales

LARGEST = 63
"""The largest weight before it is rounded, which may add 1."""
GREY = 128
"""The pixel that stands for 0: 127.5 is no integer. The bias of the first layer makes up for the rest."""


def write_int8_layers(
    writer: GraphWriter, architecture: Architecture, tensors: Mapping[str, np.ndarray], x: str
) -> str:
    """A detector's network over pixels 0 to 255; returns its last map, which holds all heads.

    Raises ValueError for a network that int8 is not for, or without activation ranges.
    """
    x = writer.dequantize(writer.quantize(x, 1.0), PIXEL_SCALE, GREY)
    before, step = np.ones(3), PIXEL_SCALE
    for index, layer in enumerate(architecture.layers):
        scales = activation_scales(architecture, tensors, index)
        after = np.ones(layer.channels) if scales is None else scales * LARGEST_ACTIVATION
        filters = np.asarray(tensors[f"{index}.weight"], np.float64)
        bias = np.asarray(tensors[f"{index}.bias"], np.float64)
        if index == 0:
            bias = bias + (GREY - PIXEL_ZERO) * PIXEL_SCALE * filters.sum(axis=(1, 2, 3))
        filters = filters * before[:, None, None] / after[:, None, None, None]
        x = _convolution(writer, x, str(index), filters, bias / after, layer.stride, step)
        if scales is not None:
            step = 1 / LARGEST_ACTIVATION
            x = writer.dequantize(writer.quantize(writer.add("Relu", x), step), step)
        before = after
    return x


def _convolution(
    writer: GraphWriter, x: str, name: str, filters: np.ndarray, bias: np.ndarray, stride: int, step: float
) -> str:
    """A convolution of filters (out, in, k, k) that are stored as int8, over inputs of that step."""
    scale = np.maximum(np.abs(filters).max(axis=(1, 2, 3)), 1e-12) / LARGEST
    weight = writer.constant(f"{name}.weight", _rounded(filters / scale[:, None, None, None]), np.int8)
    sums = writer.constant(f"{name}.bias", np.rint(bias / (scale * step)), np.int32)
    arrays = (
        writer.filters(weight, f"{name}.scale", scale),
        writer.filters(sums, f"{name}.bias_scale", scale * step),
    )
    return writer.add("Conv", x, *arrays, kernel_shape=list(filters.shape[2:]), strides=[stride] * 2)


def _rounded(filters: np.ndarray) -> np.ndarray:
    """Filters (out, in, k, k) rounded to integers by error diffusion, row by row, there and back."""
    snake = filters.copy()
    snake[:, :, 1::2] = filters[:, :, 1::2, ::-1]
    sums = np.rint(np.cumsum(snake.reshape(len(filters), -1), axis=1))
    rounded = np.diff(sums, axis=1, prepend=0).reshape(filters.shape)
    found: np.ndarray = rounded.copy()
    found[:, :, 1::2] = rounded[:, :, 1::2, ::-1]
    return found
