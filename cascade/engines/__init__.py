"""The two ways to run the three networks, behind one small interface.

`native` computes in C on the CPU and needs nothing else; `torch` computes in torch on a CPU or a GPU.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from cascade.architectures import Stage
from cascade.pyramid import Pyramid


class Engine(Protocol):
    """What a detector asks of its engine."""

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """The photo (height, width, 3) uint8 and its levels of (width, height), each made from the one before."""
        ...

    def slide(self, level: Any, threshold: float) -> np.ndarray:
        """P-Net over a level: float32 (n, 7) column, row, logit, four offsets where logit >= threshold."""
        ...

    def judge(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """Outputs (n, outputs) float32 of R-Net or O-Net for boxes (n, 4) in pixels of the photo."""
        ...

    def judge_turned(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """Outputs (n, outputs) float32 of a network on turned crops: affine maps (n, 2, 3) from photo to crop."""
        ...
