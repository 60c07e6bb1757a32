"""The learning curve over the data: the default O-Net with its own recipe, from ever more of the training photos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from cascade.nn.architectures import Stage
from train.detection.batches import split
from train.detection.presets import DEFAULT
from train.detection.sample_store import Samples
from train.detection.settings import TrainSettings
from train.experiments.definitions import Arm
from train.experiments.runs import POINTS, Protocol

STAGE: Stage = "onet"
FAMILY = "default"


@dataclass(frozen=True)
class LearningCurve(Protocol):
    """Runs that differ in the samples alone: those of the first photos, which are in random order.

    All have the same number of steps, so the smaller shares are gone through more often. Samples held out for
    validation are left out of every share.
    """

    precision: Literal["float32", "bfloat16"] = "float32"

    def settings(self, arm: Arm, seed: int) -> TrainSettings:
        """The preset of the shipped O-Net, but for its length and precision."""
        every = max(1, self.steps // POINTS)
        preset = DEFAULT[STAGE].training
        preset = replace(preset, seed=seed, precision=self.precision)
        return replace(preset, steps=self.steps, log_every=every, checkpoint_every=every)

    def samples_of(self, arm: Arm) -> Samples:
        """The first samples: they were written photo by photo."""
        assert arm.value is not None
        training, _ = split(self.samples, DEFAULT[STAGE].training.validation_share)
        count = round(len(training) * arm.value)
        return replace(
            self.samples,
            crops=self.samples.crops[:count],
            kinds=self.samples.kinds[:count],
            targets=self.samples.targets[:count],
        )
