"""How fast one core of this machine multiplies and adds float32: what a detector's arithmetic is measured against."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.random_layers import random_layers
from cascade import _native
from cascade.nn.architectures import Architecture, Layer
from eval.baselines.client import with_threads

__all__ = ["Peak", "convolution", "matrix_product", "one_core"]

# Crops whose maps stay in the cache; nearly all of the work is in layers of 3 × 3 × 32 × 32.
CHANNELS, DEPTH, SIDE, CROPS = 32, 6, 20, 32


@dataclass(frozen=True)
class Peak:
    """The best rate found, in GFLOP/s (two operations a multiply-add), and of what."""

    gflops: float
    of: str


def one_core(seconds: float = 0.5) -> Peak:
    """Return the highest rate that one core reaches here, of our own convolution and of numpy's matrix product.

    Each is repeated for ``seconds`` and its fastest run counts, so that other programs disturb it little.
    """
    return max(convolution(seconds), matrix_product(seconds), key=lambda peak: peak.gflops)


def convolution(seconds: float) -> Peak:
    """The rate of the native engine's convolution, at the SIMD level in use, on maps that stay in the cache."""
    layers = (Layer("conv", 3, 1, CHANNELS),) * DEPTH + (Layer("conv", SIDE - 2 * DEPTH, 1, 16),)
    work = Architecture("peak", "onet", SIDE, SIDE, layers)
    network = _native.Network(random_layers(work), SIDE, _native.default_simd_level())
    random = np.random.default_rng(0)
    crops, pool = random.integers(0, 256, (CROPS, SIDE, SIDE, 3), np.uint8), _native.ThreadPool()
    network.forward(crops, pool)
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        started = time.perf_counter()
        network.forward(crops, pool)
        times.append(time.perf_counter() - started)
    return Peak(2e-9 * CROPS * work.multiply_adds() / min(times), f"our 3×3 convolution of {CHANNELS} channels")


def matrix_product(seconds: float) -> Peak:
    """The rate of numpy's float32 matrix product on one thread, in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("blas_peak.py")), str(seconds)]
    done = subprocess.run(
        command, env=with_threads(1), capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return Peak(float(done.stdout), "numpy's product of 1024×1024 matrices")
