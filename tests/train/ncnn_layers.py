"""Layers in ncnn's format, and what they compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cascade.nn.graphs import Graph
from cascade.nn.torch_graph import from_tensors
from tests.train.packed_faces import IN_FLOAT32, READS_CROPS, Layer, save_ncnn
from train.recognition.ncnn_format import read_ncnn

COLOURS: Layer = ("Convolution colours 1 1 crop colours 0=2 1=1 5=1 6=6", (IN_FLOAT32, np.arange(6), np.ones(2)))


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Random weights whose sums over an input are about 1."""
    return np.random.default_rng([seed, *shape]).normal(size=shape) / np.prod(shape[1:]) ** 0.5


def positive(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, count]).uniform(0.5, 2, count)


def read(folder: Path, *layers: Layer, output: str = "out") -> tuple[Graph, dict[str, np.ndarray]]:
    """The graph and arrays of these layers over the normalised crop."""
    return read_ncnn(*save_ncnn(folder, "network", (*READS_CROPS, *layers)), output)


def crops(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 112, 112, generator=torch.Generator().manual_seed(1))


def computed(folder: Path, x: torch.Tensor, *layers: Layer) -> torch.Tensor:
    """What the network that is read makes of x."""
    graph, arrays = read(folder, *layers)
    assert {name: array.shape for name, array in arrays.items()} == graph.tensor_shapes()
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    network = from_tensors(graph, {name: torch.from_numpy(array) for name, array in arrays.items()})
    return network(x)[graph.outputs["embedding"]]


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
