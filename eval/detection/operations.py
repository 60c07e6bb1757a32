"""How much arithmetic our detector does, counted while it runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from cascade.detect import PNET_NMS, RNET_NMS, Candidates, Detector
from cascade.faces import Faces
from cascade.imaging.pyramid import Pyramid
from cascade.nn.architectures import Architecture

__all__ = ["CountingDetector", "sliding_multiply_adds"]


class CountingDetector(Detector):
    """A Detector that adds up the multiply-adds of its networks, by stage, over all its calls.

    Not for several threads at once. Resampling, suppression, biases and activations are not counted.
    """

    def __init__(self, **settings: Any) -> None:
        self.multiply_adds = {"pnet": 0, "rnet": 0, "onet": 0, "lnet": 0}
        super().__init__(**settings)

    @property
    def gflop(self) -> float:
        """Billions of floating-point operations so far, two for each multiply-add."""
        return 2e-9 * sum(self.multiply_adds.values())

    def propose(self, pyramid: Pyramid, nms: float = PNET_NMS) -> Candidates:
        """See `Detector.propose`."""
        network = self.weights["pnet"].architecture
        for level in pyramid.images[1:]:
            self.multiply_adds["pnet"] += sliding_multiply_adds(network, level.shape[1], level.shape[0])
        return super().propose(pyramid, nms)

    def refine(self, pyramid: Pyramid, candidates: Candidates, nms: float = RNET_NMS) -> Candidates:
        """See `Detector.refine`."""
        self.multiply_adds["rnet"] += len(candidates) * self.weights["rnet"].architecture.multiply_adds()
        return super().refine(pyramid, candidates, nms)

    def output(self, pyramid: Pyramid, candidates: Candidates, width: int, height: int) -> Faces:
        """See `Detector.output`."""
        self.multiply_adds["onet"] += len(candidates) * self.weights["onet"].architecture.multiply_adds()
        return super().output(pyramid, candidates, width, height)

    def refine_landmarks(self, pyramid: Pyramid, landmarks: np.ndarray) -> np.ndarray:
        """See `Detector.refine_landmarks`."""
        self.multiply_adds["lnet"] += len(landmarks) * self.weights["lnet"].architecture.multiply_adds()
        return super().refine_landmarks(pyramid, landmarks)


def sliding_multiply_adds(network: Architecture, width: int, height: int) -> int:
    """Return the multiply-adds of a network that slides over a padded image of that size in pixels.

    Each map is as large as the windows need it, from the last layer back.
    """
    padded = np.array([width, height]) + 2 * network.padding
    if (padded < network.input_size).any():
        return 0
    sides, total = (padded - network.input_size) // network.stride + 1, 0
    inputs = [3]
    for layer in network.layers:
        inputs.append(layer.channels or inputs[-1])
    for layer, channels in zip(reversed(network.layers), reversed(inputs[:-1]), strict=True):
        total += int(sides.prod()) * layer.kernel**2 * channels * layer.channels
        sides = (sides - 1) * layer.stride + layer.kernel
    return total
