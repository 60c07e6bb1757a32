"""int8 quantization of a detector's networks: 8 bits for activations and weights, 32 bits for sums.

Activations of channel c are uint8 values q for q · range_c / 255. The range is the largest activation on training
photos, which calibration measures (`python -m train calibrate`); larger activations saturate. Weights are int8, from
−127 to 127, times a scale for each filter. So sums are exact integers, and one multiplication by a float gives the
uint8 activation of the next layer. The results are the same on every SIMD level.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cascade.models.detector import DetectorWeights, StageWeights, range_name
from cascade.models.files import WeightsError

WORD = 4
"""Channels in a packed int8x4; the channels of a layer are padded to a multiple of it."""

LARGEST_WEIGHT, LARGEST_BYTE = 127, 255
LARGEST_SUM = 2**31 - 1
LARGEST_FACTOR = float(np.finfo(np.float32).max)
MIDDLE, PIXEL_STEP = 127.5, 1 / 128  # a pixel of p stands for (p − MIDDLE) · PIXEL_STEP


FAST_LEVELS = ("avx512vnni", "avx512", "avx2")
"""Instruction levels at which whole numbers are as fast as floats or faster: they multiply several at once."""


def has_ranges(weights: DetectorWeights) -> bool:
    """Whether all networks of a set have the activation ranges that int8 needs."""
    stages = weights.stages.values()
    return all(range_name(i) in w.tensors for w in stages for i in range(len(w.architecture.layers) - 1))


def quantized_layers(weights: StageWeights) -> list[dict[str, Any]]:
    """The int8 layers of a network as `_native.Network` takes them.

    Raises `WeightsError` for a network with layers other than convolutions with ReLU, or without activation ranges.
    """
    steps = np.full(3, PIXEL_STEP)
    found = []
    last = len(weights.architecture.layers) - 1
    for index, layer in enumerate(weights.architecture.layers):
        expected = "none" if index == last else "relu"
        if layer.kind != "conv" or layer.activation != expected or (index < last and layer.channels % WORD):
            raise WeightsError(
                f"weights: {weights.path}: int8 is for convolutions with ReLU of a multiple of {WORD} channels, "
                f"layer {index} is not"
            )
        made = None if index == last else _steps(weights, index)
        filters = np.asarray(weights.tensors[f"{index}.weight"], np.float64) * steps[:, None, None]
        bias = np.asarray(weights.tensors[f"{index}.bias"], np.float64)
        found.append({"kind": "bytes", "stride": layer.stride, **_layer(filters, bias, made, MIDDLE * (index == 0))})
        steps = np.empty(0) if made is None else made
    return found


def _steps(weights: StageWeights, index: int) -> np.ndarray:
    """The scale of each channel of a layer: the activation for the uint8 value 1."""
    ranges = weights.tensors.get(range_name(index))
    if ranges is None:
        raise WeightsError(
            f"weights: {weights.path} has no activation ranges, which int8 needs; run `python -m train calibrate`"
        )
    return np.maximum(np.asarray(ranges, np.float64), 1e-6) / LARGEST_BYTE


def _layer(filters: np.ndarray, bias: np.ndarray, made: np.ndarray | None, middle: float) -> dict[str, Any]:
    """Weight (out, groups, k, k, 4) int8, bias (out,) int32 and factor (out,) float32 of filters (out, in, k, k).

    The inputs are uint8 values less ``middle``. ``made`` holds the scales of the outputs; None for the last layer,
    whose outputs are floats.
    """
    step = np.maximum(np.abs(filters).max(axis=(1, 2, 3)), 1e-12) / LARGEST_WEIGHT
    whole = np.rint(filters / step[:, None, None, None])
    sums = bias / step - middle * whole.sum(axis=(1, 2, 3))
    factor = step if made is None else step / made
    if made is not None:
        sums += 0.5 / factor  # so that truncation rounds to the nearest
    # the largest bias with which no sum overflows
    most = LARGEST_SUM - LARGEST_BYTE * np.abs(whole).sum(axis=(1, 2, 3))
    outputs, inputs, kernel, _ = whole.shape
    words = -(-inputs // WORD)
    weight = np.zeros((outputs, words * WORD, kernel, kernel), np.int8)
    weight[:, :inputs] = whole
    weight = weight.reshape(outputs, words, WORD, kernel, kernel).transpose(0, 1, 3, 4, 2)
    return {
        "weight": np.ascontiguousarray(weight),
        "bias": np.rint(np.clip(sums, -most, most)).astype(np.int32),
        "factor": np.minimum(factor, LARGEST_FACTOR).astype(np.float32),
    }
