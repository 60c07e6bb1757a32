"""How much arithmetic our detector does, counted while it runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from cascade.detect import Detector
from cascade.engines.base import DenseScan, Request, Result, StageGenerator
from cascade.faces import Faces
from cascade.imaging.pyramid import Pyramid
from cascade.nn.architectures import Architecture

__all__ = ["CountingDetector", "dense_scan_multiply_adds"]


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

    def _stages(self, pyramid: Pyramid) -> StageGenerator[Faces]:
        return self._counted(super()._stages(pyramid))

    def _counted(self, steps: StageGenerator[Result]) -> StageGenerator[Result]:
        """The same steps; what each of their requests takes is added up."""
        request = next(steps)
        while True:
            self._count(request)
            answer = yield request
            try:
                request = steps.send(answer)
            except StopIteration as end:
                result: Result = end.value
                return result

    def _count(self, request: Request) -> None:
        if isinstance(request, DenseScan):
            network = self.weights["pnet"].architecture
            for level in request.pyramid.images[1:]:
                self.multiply_adds["pnet"] += dense_scan_multiply_adds(network, level.shape[1], level.shape[0])
        else:
            network = self.weights[request.stage].architecture
            self.multiply_adds[request.stage] += len(request.regions) * network.multiply_adds()


def dense_scan_multiply_adds(network: Architecture, width: int, height: int) -> int:
    """Return the multiply-adds of a dense scan over a padded image of that size in pixels.

    Each map is as large as the windows need it, from the last layer back.
    """
    sides, total = np.array([network.windows(width), network.windows(height)]), 0
    if not sides.all():
        return 0
    inputs = [3]
    for layer in network.layers:
        inputs.append(layer.channels or inputs[-1])
    for layer, channels in zip(reversed(network.layers), reversed(inputs[:-1]), strict=True):
        total += int(sides.prod()) * layer.kernel**2 * channels * layer.channels
        sides = (sides - 1) * layer.stride + layer.kernel
    return total
