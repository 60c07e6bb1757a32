"""Which engine a detector runs on."""

from __future__ import annotations

import os
from typing import Any, Literal

from cascade._native import default_simd_level, int8_is_fast
from cascade.checks import thread_count
from cascade.engines.base import Engine
from cascade.engines.native import NativeEngine
from cascade.models.detector import DetectorWeights, load_detector


def make_engine(
    engine: Any,
    threads: int | None,
    weights: str | os.PathLike[str] | DetectorWeights | None,
    device: str | None,
    precision: Literal["float32", "int8"] | None = None,
) -> Engine:
    """The engine of that name with these settings, or the engine that is given if no setting contradicts it.

    See `cascade.detect.Detector`. Raises ValueError naming a setting that does not fit, `cascade.WeightsError` for
    weights that cannot be used, and ImportError for the torch or onnx engine without its packages.
    """
    if isinstance(engine, Engine):
        return _given_engine(engine, threads, weights, device, precision)
    if not isinstance(weights, DetectorWeights):
        weights = load_detector(weights)
    if engine == "native":
        if device not in (None, "cpu"):
            raise ValueError(f'device: the native engine runs on the CPU; use engine="torch" for {device!r}')
        if precision is None:
            precision = default_precision(weights, default_simd_level())
        return NativeEngine(weights, thread_count(threads), precision=precision)
    if engine == "torch":
        from cascade.engines.torch.engine import TorchEngine  # torch is optional, and slow to import

        if precision not in (None, "float32"):
            raise ValueError(f"precision: the torch engine computes in float32 here, got {precision!r}")
        return TorchEngine(weights, "cpu" if device is None else device)
    if engine == "onnx":
        from cascade.engines.onnx import OnnxEngine  # optional too

        if device not in (None, "cpu"):
            raise ValueError(f"device: expected an OnnxEngine with providers as engine for {device!r}")
        return OnnxEngine(weights, thread_count(threads), precision=precision or "float32")
    raise ValueError(f"engine: expected 'native', 'torch' or 'onnx', got {engine!r}")


def default_precision(weights: DetectorWeights, level: str) -> Literal["float32", "int8"]:
    """What the networks run in at a SIMD level: int8 where they can and it is as fast as float32 or faster."""
    return "int8" if weights.calibrated and int8_is_fast(level) else "float32"


def _given_engine(
    engine: Engine,
    threads: int | None,
    weights: str | os.PathLike[str] | DetectorWeights | None,
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
