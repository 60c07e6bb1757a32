"""A detector's networks in whole numbers: 8 bits for what a layer makes and for its weights, 32 for the sums.

What channel c of a layer makes is a byte q that stands for q · range_c / 255; its range is the largest value that was
met on training photos (`python -m train ranges`), and larger ones are cut off. A filter's weights are whole multiples,
−127 to 127, of a step of its own. So a sum is whole and exact, and one product with a float turns it into the byte of
the next layer: every instruction level gives the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cascade.models.detector import DetectorWeights, StageWeights, range_name
from cascade.models.files import WeightsError

WORD = 4
"""Channels side by side in a word; layers are filled up to a multiple of it."""

LARGEST_WEIGHT, LARGEST_BYTE = 127, 255
LARGEST_SUM = 2**31 - 1
LARGEST_FACTOR = float(np.finfo(np.float32).max)
MIDDLE, PIXEL_STEP = 127.5, 1 / 128  # a pixel of p stands for (p − MIDDLE) · PIXEL_STEP


FAST_LEVELS = ("avx512vnni", "avx512", "avx2")
"""Instruction levels at which whole numbers are as fast as floats or faster: they multiply several at once."""


def has_ranges(weights: DetectorWeights) -> bool:
    """Whether all networks of a set can run in whole numbers."""
    stages = weights.stages.values()
    return all(range_name(i) in w.tensors for w in stages for i in range(len(w.architecture.layers) - 1))


def quantized_layers(weights: StageWeights) -> list[dict[str, Any]]:
    """The layers of a network as the native engine takes those in whole numbers.

    Raises `WeightsError` for a network that has other layers than convolutions with ReLU, or no ranges.
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
    """What one stands for in the bytes of each channel of a layer."""
    ranges = weights.tensors.get(range_name(index))
    if ranges is None:
        raise WeightsError(
            f"weights: {weights.path} has no ranges, which int8 needs; `python -m train ranges` measures them"
        )
    return np.maximum(np.asarray(ranges, np.float64), 1e-6) / LARGEST_BYTE


def _layer(filters: np.ndarray, bias: np.ndarray, made: np.ndarray | None, middle: float) -> dict[str, Any]:
    """Weight (out, words, k, k, 4) int8, bias (out,) int32 and factor (out,) float32 of filters (out, in, k, k).

    The filters take bytes that stand for whole numbers, less ``middle``; without ``made``, the steps of the output,
    that is floats.
    """
    step = np.maximum(np.abs(filters).max(axis=(1, 2, 3)), 1e-12) / LARGEST_WEIGHT
    whole = np.rint(filters / step[:, None, None, None])
    sums = bias / step - middle * whole.sum(axis=(1, 2, 3))
    factor = step if made is None else step / made
    if made is not None:
        sums += 0.5 / factor  # so that cutting off rounds
    most = LARGEST_SUM - LARGEST_BYTE * np.abs(whole).sum(axis=(1, 2, 3))  # of a bias that no sum overflows with
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
