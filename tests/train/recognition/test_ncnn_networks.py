"""Networks in ncnn's format beside ncnn itself."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cascade.imaging.alignment import align
from tests.photos import portrait, portrait_faces
from tests.train.ncnn_layers import numbers, positive
from tests.train.packed_faces import IN_FLOAT32, READS_CROPS, Layer, save_ncnn, tiny_teacher
from train.detection.augment import normalise
from train.recognition.teacher import Teacher

SHARED = Path(__file__).parents[4] / "shared"


MOBILEFACENET = "peers/mobilefacenet/mobilefacenet"


def of_ncnn(param: Path, weights: Path, crops: np.ndarray, output: str = "fc1") -> np.ndarray:
    """What the package ncnn makes of crops (n, 112, 112, 3), or a skipped test."""
    ncnn: Any = pytest.importorskip("ncnn")
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = 1, False
    net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(param)) == net.load_model(str(weights)) == 0
    found, kind = [], ncnn.Mat.PixelType.PIXEL_RGB
    for crop in crops:
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat.from_pixels(np.ascontiguousarray(crop), kind, 112, 112))
        _, out = extractor.extract(output)
        found.append(np.array(out, np.float32).ravel())
    return np.stack(found)


def bottlenecks(folder: Path) -> tuple[Path, Path]:
    """A network of all kinds of layers."""
    layers: list[Layer] = [*READS_CROPS]

    def normalised(name: str, channels: int, slopes: bool) -> None:
        values = (positive(channels, 1), numbers(channels, seed=2), positive(channels, 3), numbers(channels, seed=4))
        layers.append((f"BatchNorm {name}_n 1 1 {name} {name}_n 0={channels} 1=0.001", values))
        if slopes:
            layers.append((f"PReLU {name}_p 1 1 {name}_n {name}_p 0={channels}", (numbers(channels, seed=5),)))

    def window(name: str, before: str, channels: int, each: int, values: str, groups: bool = False) -> None:
        weight = numbers(channels, each)
        kind, more = ("ConvolutionDepthWise", f" 7={channels}") if groups else ("Convolution", "")
        line = f"{kind} {name} 1 1 {before} {name} 0={channels} {values} 6={weight.size}{more}"
        layers.append((line, (IN_FLOAT32, weight, numbers(channels, seed=6))))

    window("first", "crop", 8, 27, "1=3 3=2 4=1 5=1")
    normalised("first", 8, slopes=True)
    layers.append(("Split s 1 2 first_p left right", ()))
    window("wide", "left", 12, 8, "1=1 5=1")
    normalised("wide", 12, slopes=True)
    window("each", "wide_p", 12, 9, "1=3 3=1 4=1 5=1", groups=True)
    normalised("each", 12, slopes=True)
    window("back", "each_p", 8, 12, "1=1 5=1")
    normalised("back", 8, slopes=False)
    layers.append(("BinaryOp plus 2 1 back_n right plus 0=0", ()))
    window("small", "plus", 10, 8 * 64, "1=8 3=8 5=1")
    normalised("small", 10, slopes=True)
    layers.append(("InnerProduct full 1 1 small_p full 0=6 1=1 2=2940", (IN_FLOAT32, numbers(6, 490), numbers(6))))
    values = (positive(6, 1), numbers(6, seed=2), positive(6, 3), numbers(6, seed=4))
    layers.append(("BatchNorm fc1 1 1 full fc1 0=6 1=0.001", values))
    return save_ncnn(folder, "bottlenecks", layers)


@pytest.mark.parametrize("network", [tiny_teacher, bottlenecks])
def test_a_network_computes_what_ncnn_does(tmp_path, network: Callable[[Path], tuple[Path, Path]]):
    files, pixels = network(tmp_path), np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)
    expected = of_ncnn(*files, pixels)
    teacher = Teacher(*files)
    inputs = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    found = teacher.network(inputs)[teacher.embedding].flatten(1)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.fixture(scope="module")
def mobilefacenet() -> tuple[Path, Path]:
    """The public network, or a skipped test."""
    param, weights = (SHARED / f"{MOBILEFACENET}.{kind}" for kind in ("param", "bin"))
    if not (param.exists() and weights.exists()):
        pytest.skip(f"reference data not here: ../shared/{MOBILEFACENET}.param and .bin")
    return param, weights


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """A face, the same darker, the same moved by a pixel, and noise."""
    face = align(portrait(), portrait_faces().landmarks)[0]
    noise = np.random.default_rng(0).integers(0, 256, face.shape, np.uint8)
    return np.stack([face, face // 2, np.roll(face, 1, axis=1), noise])


def test_a_public_network(mobilefacenet, faces):
    teacher = Teacher(*mobilefacenet)
    assert teacher.dimension == 128
    assert teacher.network.graph.weights() == pytest.approx(1e6, rel=0.1)
    stages = teacher.last_of([(56, 64), (28, 64), (14, 128), (7, 128), (7, 320)])
    assert stages[0] is None and stages[4] is None
    assert all(a < b for a, b in pairwise(stages[1:4]))
    similarity = teacher.embed(faces) @ teacher.embed(faces).T
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-5)
    assert similarity[0, 1] > 0.8 and similarity[0, 2] > 0.8
    assert similarity[0, 3] < 0.4


def test_a_public_network_computes_what_ncnn_does(mobilefacenet, faces):
    expected = of_ncnn(*mobilefacenet, faces)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found, _ = Teacher(*mobilefacenet)(normalise(torch.from_numpy(faces).permute(0, 3, 1, 2).float()))
    np.testing.assert_allclose((found.numpy() * expected).sum(1), 1, atol=1e-4)
