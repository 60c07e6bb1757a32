"""Times of every kernel of `cascade._native`, by SIMD level: `pytest benchmarks`.

Kernels that are the same code at every level are timed once. Add `--benchmark-group-by=group` to see levels side by
side, `-k avx2` for one level. The inputs are random, since times do not depend on them.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from benchmarks.random_graph import light_graph, random_tensors
from benchmarks.random_layers import random_layers
from cascade import _native
from cascade.imaging.alignment import ARCFACE_TEMPLATE
from cascade.nn.architectures import ARCHITECTURES, Architecture
from cascade.nn.graphs import native_nodes

LEVELS = _native.simd_levels()
RANDOM = np.random.default_rng(1)
PHOTO = RANDOM.integers(0, 256, (480, 640, 3), np.uint8)

# A pyramid as P-Net's: the photo and levels each 0.709 of the one before.
SIDES = [(round(480 * 0.709**k), round(640 * 0.709**k)) for k in range(8)]
PYRAMID = [RANDOM.integers(0, 256, (*sides, 3), np.uint8) for sides in SIDES]
SCALES = np.array([(columns / 640, rows / 480) for rows, columns in SIDES])

CROPS = 64
BOXES = 2000


def network(architecture: Architecture, level: str) -> _native.Network:
    """The network with random weights, packed for a level."""
    return _native.Network(random_layers(architecture), architecture.input_size, level)


def boxes(count: int, smallest: float, largest: float) -> np.ndarray:
    """Square boxes (count, 4) float32 of sides from ``smallest`` to ``largest`` pixels, inside the photo."""
    corners = RANDOM.uniform(0, [640 - largest, 480 - largest], (count, 2))
    return np.concatenate([corners, corners + RANDOM.uniform(smallest, largest, (count, 1))], axis=1, dtype=np.float32)


def faces(count: int) -> np.ndarray:
    """Five points (count, 5, 2) float32 for each face, up to 10 pixels off the template in an upright crop."""
    return np.asarray(ARCFACE_TEMPLATE + RANDOM.uniform(-10, 10, (count, 5, 2)), np.float32)


def transforms(count: int, size: int) -> np.ndarray:
    """Matrices (count, 2, 3) from the photo to aligned crops of squares of 30 to 120 pixels, rotated by up to 30°."""
    angle, scale = RANDOM.uniform(-0.5, 0.5, count), size / RANDOM.uniform(30, 120, count)
    matrices = np.zeros((count, 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale * np.cos(angle)
    matrices[:, 0, 1], matrices[:, 1, 0] = -scale * np.sin(angle), scale * np.sin(angle)
    centres = RANDOM.uniform(100, 380, (count, 2, 1))
    matrices[:, :, 2:] = size / 2 - matrices[:, :, :2] @ centres
    return matrices


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("width", "height"), [(384, 288), (453, 340), (1280, 960)])
def test_resample(benchmark: Any, width: int, height: int, level: str) -> None:
    benchmark.group = f"resample 640x480 to {width}x{height}"
    pool = _native.ThreadPool()
    benchmark(_native.resample, PHOTO, (0, 0, 640, 480), width, height, pool, level)


@pytest.mark.parametrize("brightness", [1.0, 0.1])
def test_auto_exposure(benchmark: Any, brightness: float) -> None:
    benchmark.group = f"automatic exposure of 640x480 at a brightness of {brightness:g}"
    benchmark(_native.auto_exposure, (PHOTO * brightness).astype(np.uint8))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [32, 56])
def test_cut(benchmark: Any, size: int, level: str) -> None:
    benchmark.group = f"cut {CROPS} crops of {size} pixels"
    places, pool = boxes(CROPS, 30, 120), _native.ThreadPool()
    benchmark(_native.cut, PYRAMID, SCALES, places, size, pool, level)


@pytest.mark.benchmark(group=f"warp {CROPS} crops of 56 pixels")
def test_warp(benchmark: Any) -> None:
    benchmark(_native.warp, PYRAMID, SCALES, transforms(CROPS, 56), 56)


@pytest.mark.parametrize("kind", ["boxes", "transforms"])
def test_crops(benchmark: Any, kind: str) -> None:
    benchmark.group = f"place {CROPS} crops given as {kind}"
    places = boxes(CROPS, 30, 120) if kind == "boxes" else transforms(CROPS, 56)
    benchmark(_native.Crops, PYRAMID, SCALES, places, 56)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
def test_dense_scan(benchmark: Any, family: str, level: str) -> None:
    benchmark.group = f"dense scan of 384x288 with {family} pnet"
    architecture = ARCHITECTURES[family]["pnet"]
    image, pool = PHOTO[:288, :384].copy(), _native.ThreadPool()
    benchmark(network(architecture, level).dense_scan, image, architecture.padding, 1e9, pool)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
def test_dense_scan_levels(benchmark: Any, family: str, level: str) -> None:
    benchmark.group = f"pyramid of 640x480 and dense scan with {family} pnet"
    architecture, pool = ARCHITECTURES[family]["pnet"], _native.ThreadPool()
    levels = [np.empty((288 >> k, 384 >> k, 3), np.uint8) for k in range(4)]
    benchmark(network(architecture, level).dense_scan_levels, levels, architecture.padding, 1e9, pool, PHOTO, 0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stage", ["rnet", "onet"])
@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
def test_forward(benchmark: Any, family: str, stage: str, level: str) -> None:
    benchmark.group = f"forward {family} {stage}, {CROPS} crops"
    runner, pool = network(ARCHITECTURES[family][stage], level), _native.ThreadPool()
    crops = RANDOM.integers(0, 256, (CROPS, runner.input_size, runner.input_size, 3), np.uint8)
    benchmark(runner.forward, crops, pool)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stage", ["rnet", "onet"])
@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
def test_classify_crops(benchmark: Any, family: str, stage: str, level: str) -> None:
    benchmark.group = f"classify {CROPS} crops of a pyramid with {family} {stage}"
    runner, pool = network(ARCHITECTURES[family][stage], level), _native.ThreadPool()
    crops = _native.Crops(PYRAMID, SCALES, boxes(CROPS, 30, 120), runner.input_size)
    benchmark(runner.classify_crops, crops, pool)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stage", ["pnet", "rnet", "onet"])
def test_network(benchmark: Any, stage: str, level: str) -> None:
    benchmark.group = f"pack the weights of default {stage}"
    architecture = ARCHITECTURES["default"][stage]
    benchmark(_native.Network, random_layers(architecture), architecture.input_size, level)


@pytest.mark.parametrize("level", LEVELS)
def test_graph(benchmark: Any, level: str) -> None:
    benchmark.group = "pack the weights of a light recognition network"
    graph = light_graph()
    nodes, outputs = native_nodes(graph, random_tensors(graph)), list(graph.outputs.values())
    benchmark(_native.Graph, nodes, graph.input_size, outputs, level)


@pytest.mark.parametrize("level", LEVELS)
def test_run(benchmark: Any, level: str) -> None:
    benchmark.group = "run a light recognition network over a crop"
    graph, pool = light_graph(), _native.ThreadPool()
    nodes, outputs = native_nodes(graph, random_tensors(graph)), list(graph.outputs.values())
    runner = _native.Graph(nodes, graph.input_size, outputs, level)
    crops = RANDOM.integers(0, 256, (1, graph.input_size, graph.input_size, 3), np.uint8)
    benchmark(runner.run, crops, pool)


@pytest.mark.parametrize("level", LEVELS)
def test_candidates(benchmark: Any, level: str) -> None:
    benchmark.group = f"candidates of {BOXES} windows"
    offsets, logits = (RANDOM.normal(0, size, (BOXES, 5)).astype(np.float32) for size in (0.1, 2))
    overlaps: list[tuple[float, Literal["union", "min"]]] = [(0.4, "union"), (0.7, "min")]
    benchmark(_native.candidates, boxes(BOXES, 20, 80), offsets[:, :4], logits[:, 0], 0.0, overlaps, level)


@pytest.mark.benchmark(group=f"vote of {BOXES} windows")
def test_vote(benchmark: Any) -> None:
    windows, logits = boxes(BOXES, 20, 80), RANDOM.normal(0, 2, BOXES).astype(np.float32)
    benchmark(_native.vote, windows[:100], windows, np.zeros_like(windows), logits, 0.5)


@pytest.mark.benchmark(group=f"window_boxes of {BOXES} windows")
def test_window_boxes(benchmark: Any) -> None:
    found = [RANDOM.integers(0, 100, (BOXES // len(SCALES), 7)).astype(np.float32) for _ in SCALES]
    benchmark(_native.window_boxes, found, SCALES, 2, -1.5, 12)


@pytest.mark.benchmark(group=f"framing of {BOXES} windows")
def test_framing_logits(benchmark: Any) -> None:
    benchmark(_native.framing_logits, boxes(BOXES, 20, 80), 640, 480, 1 / 3, 240, 1.0, 0.6)


@pytest.mark.benchmark(group=f"fuse_logits of {BOXES} windows")
def test_fuse_logits(benchmark: Any) -> None:
    outputs = RANDOM.normal(0, 2, (BOXES, 16)).astype(np.float32)
    benchmark(_native.fuse_logits, outputs, RANDOM.normal(0, 2, BOXES).astype(np.float32), 0.5)


@pytest.mark.benchmark(group=f"square {BOXES} boxes")
def test_square(benchmark: Any) -> None:
    benchmark(_native.square, boxes(BOXES, 20, 80))


@pytest.mark.benchmark(group=f"expand {BOXES} boxes")
def test_expand(benchmark: Any) -> None:
    benchmark(_native.expand, boxes(BOXES, 20, 80), 1.5)


@pytest.mark.benchmark(group=f"clip {BOXES} boxes")
def test_clip(benchmark: Any) -> None:
    benchmark(_native.clip, boxes(BOXES, 20, 80), 600, 440)


@pytest.mark.benchmark(group=f"snap {BOXES} boxes")
def test_snap(benchmark: Any) -> None:
    benchmark(_native.snap, boxes(BOXES, 20, 80))


@pytest.mark.benchmark(group=f"triangle_taps of {BOXES} axes")
def test_triangle_taps(benchmark: Any) -> None:
    start, _, end, _ = boxes(BOXES, 20, 80).T
    benchmark(_native.triangle_taps, start, end - start, np.full(BOXES, 640), 32)


@pytest.mark.benchmark(group=f"choose_levels of {BOXES} boxes")
def test_choose_levels(benchmark: Any) -> None:
    benchmark(_native.choose_levels, SCALES, boxes(BOXES, 20, 80), 32)


@pytest.mark.benchmark(group=f"window_points of {CROPS} faces")
def test_window_points(benchmark: Any) -> None:
    benchmark(_native.window_points, boxes(CROPS, 30, 120), RANDOM.random((CROPS, 5, 2), np.float32))


@pytest.mark.benchmark(group=f"similarity_transforms of {CROPS} faces")
def test_similarity_transforms(benchmark: Any) -> None:
    benchmark(_native.similarity_transforms, faces(CROPS), ARCFACE_TEMPLATE, 1e-6)


@pytest.mark.benchmark(group=f"can_align of {CROPS} faces")
def test_can_align(benchmark: Any) -> None:
    benchmark(_native.can_align, faces(CROPS), transforms(CROPS, 56), 56)


@pytest.mark.benchmark(group=f"inverse_transform of {CROPS} faces")
def test_inverse_transform(benchmark: Any) -> None:
    benchmark(_native.inverse_transform, faces(CROPS), transforms(CROPS, 56))


@pytest.mark.benchmark(group="grid")
def test_grid(benchmark: Any) -> None:
    architecture = ARCHITECTURES["default"]["pnet"]
    benchmark(network(architecture, LEVELS[0]).grid, 640, 480, architecture.padding)
