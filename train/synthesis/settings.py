"""Settings of a run of age synthesis."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from train.common.schedule import warmed_cosine
from train.common.settings import check_positive

ANCHORS = (1.0, 6.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0)
"""Ages in years that the generator has conditions for, one in each of the nine groups of FairFace."""


@dataclass(frozen=True)
class SynthesisSettings:
    """How one run goes.

    size          side of the crops in pixels that the generator learns from
    condition     "icb": identity conditional blocks, 1×1 convolutions with filters for each anchor age; "onehot": the
                  same convolutions with one set of filters, and a bias for each anchor age
    share         share of an anchor's filters that it has in common with each neighbour (icb)
    joint         whether the recogniser learns in turns with the generator; otherwise it stays as it is
    lambda_*      weights of the losses (`train.synthesis.losses`)
    own           share of a batch that is asked for its own age, and should come back as it is
    classifier    steps that the age classifier learns for before the run
    steps, batch  length of the run
    examined      how many faces of a batch the frozen networks look at; they are what takes longest
    prototypes    how many of the first steps learn from the mean faces of ages alone
    turns         whether a step has the discriminator or the frozen networks, in turns, and not both: half the time
    precision     "float32", or "bfloat16" by autocast
    ema           decay of the averaged generator, which is measured and exported
    start         checkpoint of an earlier run, of any size, whose networks this one begins from; or a weight file, with
                  the generator alone
    sheet_every   steps between sample sheets
    """

    size: int = 64
    condition: Literal["onehot", "icb"] = "icb"
    share: float = 0.1
    joint: bool = False
    lambda_adversary: float = 3.0
    lambda_age: float = 2.5
    lambda_group: float = 1.0
    lambda_gender: float = 0.4
    lambda_identity: float = 8.0
    lambda_own: float = 2.0
    lambda_change: float = 0.1
    lambda_smooth: float = 1.0
    lambda_prototype: float = 0.5
    own: float = 0.2
    classifier: int = 3_000
    steps: int = 9_000
    batch: int = 9
    examined: int = 5
    prototypes: int = 1_500
    turns: bool = True
    learning_rate: float = 1e-3
    warm_up: int = 30
    ema: float = 0.99
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    start: str = ""
    sheet_every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self, "classifier", "steps", "batch", "examined", "warm_up", "sheet_every")
        if self.size not in (64, 112):
            raise ValueError(f"size: expected 64 or 112, got {self.size!r}")
        if self.condition not in ("onehot", "icb"):
            raise ValueError(f"condition: expected onehot or icb, got {self.condition!r}")
        for name in ("share", "own"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ValueError(f"{name}: expected a share from 0 to 0.5, got {getattr(self, name)!r}")
        for field in fields(self):
            if field.name.startswith("lambda_") and not getattr(self, field.name) >= 0:
                raise ValueError(f"{field.name}: expected at least 0, got {getattr(self, field.name)!r}")

    def rate(self, step: int) -> float:
        """Learning rate: a linear warm-up, then a cosine to a thousandth."""
        return warmed_cosine(self.learning_rate, step, self.steps, self.warm_up)
