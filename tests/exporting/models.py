"""Running ONNX models in tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def outputs_of(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """What ONNX Runtime computes of images (n, height, width, 3) uint8, by the name of the output."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
    return dict(
        zip([output.name for output in session.get_outputs()], session.run(None, {"pixels": pixels}), strict=True)
    )


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
