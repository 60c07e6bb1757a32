"""Networks to time: layers with random weights, since times do not depend on what the weights are."""

from __future__ import annotations

from typing import Any

import numpy as np

from cascade.nn.architectures import Architecture

__all__ = ["random_layers"]


def random_layers(architecture: Architecture) -> list[dict[str, Any]]:
    """Return the layers as `cascade._native.Network` takes them, the same every time; activations are ReLU."""
    random, channels = np.random.default_rng(0), 3
    layers: list[dict[str, Any]] = []
    for layer in architecture.layers:
        if layer.kind == "pool":
            layers.append({"kind": "pool", "kernel": layer.kernel, "stride": layer.stride})
            continue
        shape = (layer.channels, channels, layer.kernel, layer.kernel)
        # divided so that values neither grow nor fade from layer to layer
        weight = random.standard_normal(shape, np.float32) / np.float32(np.sqrt(np.prod(shape[1:]) / 2))
        bias = slope = np.zeros(layer.channels, np.float32)
        layers.append({"kind": "conv", "stride": layer.stride, "weight": weight, "bias": bias, "slope": slope})
        channels = layer.channels
    return layers
