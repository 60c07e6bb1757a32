"""Times of the kernels by instruction level: `pytest benchmarks/bench_kernels.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cascade import _native
from cascade.architectures import ARCHITECTURES, Architecture

LEVELS = _native.levels()
RANDOM = np.random.default_rng(1)
PHOTO = RANDOM.integers(0, 256, (480, 640, 3), np.uint8)


def network(architecture: Architecture, level: str) -> Any:
    """The network with random weights: times do not depend on them."""
    layers: list[dict[str, Any]] = []
    channels = 3
    for layer in architecture.layers:
        if layer.kind == "pool":
            layers.append({"kind": "pool", "kernel": layer.kernel, "stride": layer.stride})
            continue
        shape = (layer.channels, channels, layer.kernel, layer.kernel)
        weight = RANDOM.standard_normal(shape).astype(np.float32) / np.sqrt(np.prod(shape[1:]))
        bias = slope = np.zeros(layer.channels, np.float32)
        layers.append({"kind": "conv", "stride": layer.stride, "weight": weight, "bias": bias, "slope": slope})
        channels = layer.channels
    return _native.Network(layers, architecture.input_size, level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.benchmark(group="resample 640x480 to 384x288")
def test_resample(benchmark: Any, level: str) -> None:
    workspace = _native.Workspace()
    benchmark(_native.resample, PHOTO, (0, 0, 640, 480), 384, 288, workspace, level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
def test_pnet_slide(benchmark: Any, family: str, level: str) -> None:
    benchmark.group = f"{family} pnet over 384x288"
    architecture = ARCHITECTURES[family]["pnet"]
    image, workspace = PHOTO[:288, :384].copy(), _native.Workspace()
    benchmark(network(architecture, level).slide, image, architecture.padding, 1e9, workspace)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stage", ["rnet", "onet"])
@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
def test_forward(benchmark: Any, family: str, stage: str, level: str) -> None:
    benchmark.group = f"{family} {stage}, 64 crops"
    runner, workspace = network(ARCHITECTURES[family][stage], level), _native.Workspace()
    crops = RANDOM.integers(0, 256, (64, runner.input_size, runner.input_size, 3), np.uint8)
    benchmark(runner.forward, crops, workspace)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.benchmark(group="64 crops of 48 pixels")
def test_cut(benchmark: Any, level: str) -> None:
    corners = RANDOM.uniform(0, 400, (64, 2))
    boxes = np.concatenate([corners, corners + RANDOM.uniform(30, 120, (64, 1))], axis=1)
    benchmark(_native.cut, [PHOTO], [[1.0, 1.0]], boxes, 48, _native.Workspace(), level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.benchmark(group="nms of 2000 boxes")
def test_nms(benchmark: Any, level: str) -> None:
    corners = RANDOM.uniform(0, 600, (2000, 2))
    boxes = np.concatenate([corners, corners + RANDOM.uniform(20, 80, (2000, 1))], axis=1).astype(np.float32)
    benchmark(_native.nms, boxes, RANDOM.random(2000).astype(np.float32), 0.5, "union", level)
