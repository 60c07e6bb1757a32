"""The checks of a detector's settings: each raises ValueError or TypeError that begins with the setting's name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cascade._native import default_simd_level, int8_is_fast
from cascade.engines.base import Engine
from cascade.engines.native import NativeEngine
from cascade.models.detector import DetectorWeights, load_detector
from cascade.nn.quantization import has_ranges


def number(name: str, value: float, low: float, high: float) -> float:
    """The value as a float, if it is a number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value!r}")
    return float(value)


def three_probabilities(values: Iterable[float]) -> tuple[float, float, float]:
    """The thresholds of P-Net, R-Net and O-Net, if they are three numbers from 0 to 1."""
    try:
        numbers = tuple(values)
    except TypeError:
        raise TypeError(f"thresholds: expected three numbers, got {type(values).__name__}") from None
    if len(numbers) != 3:
        raise ValueError(f"thresholds: expected three numbers, got {len(numbers)}")
    first, second, third = (number(f"thresholds[{i}]", v, 0.0, 1.0) for i, v in enumerate(numbers))
    return first, second, third


def thread_count(threads: int | None) -> int:
    """Worker threads, 1 to 256; None is one per core that this process may use, at most 4."""
    if threads is None:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(4, available)
    if number("threads", threads, 1, 256) != int(threads):
        raise ValueError(f"threads: expected a whole number, got {threads!r}")
    return int(threads)


def make_engine(
    engine: Any,
    threads: int | None,
    weights: str | Path | DetectorWeights | None,
    device: str | None,
    precision: Literal["float32", "int8"] | None = None,
) -> Engine:
    """The engine of that name with these settings, or the very one that is given if no setting contradicts it.

    See `cascade.detect.Detector`. Raises `cascade.models.detector.WeightsError` for weights that cannot be used, and
    ImportError where the torch engine finds no torch.
    """
    if isinstance(engine, Engine):
        return _made_before(engine, threads, weights, device, precision)
    if not isinstance(weights, DetectorWeights):
        weights = load_detector(weights)
    if engine == "native":
        if precision is None:
            precision = "int8" if has_ranges(weights) and int8_is_fast(default_simd_level()) else "float32"
        return NativeEngine(weights, thread_count(threads), precision=precision)
    if engine == "torch":
        from cascade.engines.torch.engine import TorchEngine  # torch is optional, and slow to import

        if precision not in (None, "float32"):
            raise ValueError(f"precision: the torch engine computes in float32 here, got {precision!r}")
        return TorchEngine(weights, "cpu" if device is None else device)
    raise ValueError(f"engine: expected 'native' or 'torch', got {engine!r}")


def _made_before(
    engine: Engine,
    threads: int | None,
    weights: str | Path | DetectorWeights | None,
    device: str | None,
    precision: str | None,
) -> Engine:
    for name, value in (("threads", threads), ("device", device), ("precision", precision)):
        if value is not None:
            raise ValueError(f"{name}: the engine that is given has its own, got {value!r}")
    if weights is not None:
        loaded = weights if isinstance(weights, DetectorWeights) else load_detector(weights)
        if loaded.sha256 != engine.weights.sha256:
            raise ValueError(f"weights: the engine that is given runs {engine.weights.name!r}, got {loaded.name!r}")
    return engine
