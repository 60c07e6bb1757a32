"""Both engines with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade.engines.native import NativeEngine
from cascade.models.detector import load_detector


@pytest.fixture(scope="session")
def engines(random_weights: Callable[[str], Path]) -> Callable[[str, str], tuple[NativeEngine, Any]]:
    """A function from a family and a device to the native and the torch engine with the same weights."""
    from cascade.engines.torch.engine import TorchEngine

    def pair(family: str, device: str) -> tuple[NativeEngine, TorchEngine]:
        weights = load_detector(random_weights(family))
        return NativeEngine(weights), TorchEngine(weights, device)

    return pair
