"""The settings of a training run, in one frozen dataclass that is saved beside its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from cascade.nn.architectures import Stage
from cascade.nn.heads import BOX, DETECTION_HEADS, FACE, LANDMARKS, Head
from train.common.schedule import warmed_cosine
from train.common.settings import check_positive
from train.detection.labels import KINDS

# The paper's losses, and its weights of the three tasks.
PAPER_HEADS: dict[Stage, tuple[Head, ...]] = {
    "pnet": DETECTION_HEADS,
    "rnet": DETECTION_HEADS,
    "onet": (FACE, BOX, replace(LANDMARKS, weight=1.0)),
    # ours; the paper has no L-Net
    "lnet": (replace(FACE, weight=0.0), replace(BOX, weight=0.0), replace(LANDMARKS, weight=1.0)),
}


@dataclass(frozen=True)
class TrainSettings:
    """How one network learns from a folder of samples."""

    stage: Stage
    family: str = "default"  # which architectures, see cascade.nn.architectures
    seed: int = 1
    start: str | None = None  # checkpoint of an earlier run, or weight file, of the same network to begin from
    teacher: str | None = None  # weight file of a larger network to learn from as well, see train.detection.teacher
    teacher_share: float = 0.5  # of its loss in the total; the rest is that of the labels
    steps: int = 20_000
    batch: int = 448  # samples a step; a multiple of 7 fits the ratio
    ratio: tuple[int, int, int, int] = (3, 1, 1, 2)  # negatives : positives : parts : landmark samples
    learning_rate: float = 2e-3  # peak of the schedule with warm-up, or constant
    schedule: Literal["warmup-cosine", "constant"] = "warmup-cosine"
    weight_decay: float = 1e-4
    mining_ratio: float = 0.7  # share of the classification losses that take part; 1.0 switches mining off
    heads: tuple[Head, ...] = ()  # what the network has outputs for, with loss and weight; by default the paper's
    batch_norm: bool = True
    # of the networks' products in a step; bfloat16 takes half the time on CPUs that have instructions for it
    precision: Literal["float32", "bfloat16"] = "float32"
    augment: bool = True
    ema_decay: float = 0.999  # of the moving average of the weights that is exported; 0 switches it off
    validation_share: float = 0.02
    log_every: int = 100
    checkpoint_every: int = 1000
    # torch threads of the step; one more core prepares batches. More suffer when the machine is shared
    threads: int = 1

    def __post_init__(self) -> None:
        check_positive(self, "steps", "batch")
        if not self.heads:
            object.__setattr__(self, "heads", PAPER_HEADS[self.stage])
        if not any(head.weight for head in self.heads):
            raise ValueError("heads: expected one with a weight above 0")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision: expected float32 or bfloat16, got {self.precision!r}")
        if len(self.ratio) != len(KINDS) or min(self.ratio) < 0 or not sum(self.ratio):
            raise ValueError(f"ratio: expected {len(KINDS)} numbers from 0 on, one above, got {self.ratio!r}")
        if not 0 <= self.teacher_share <= 1:
            raise ValueError(f"teacher_share: expected 0 to 1, got {self.teacher_share!r}")
        if not 0 < self.mining_ratio <= 1:
            raise ValueError(f"mining_ratio: expected above 0 and at most 1, got {self.mining_ratio!r}")

    def rate(self, step: int) -> float:
        """Learning rate: constant, or linear warm-up over a twentieth of the run and then a cosine to a thousandth."""
        if self.schedule == "constant":
            return self.learning_rate
        return warmed_cosine(self.learning_rate, step, self.steps, max(1, self.steps // 20))

    def weight(self, name: str) -> float:
        """The weight of a head, 0 for one that the network lacks."""
        return sum(head.weight for head in self.heads if head.name == name)

    def with_heads(self, changes: Mapping[str, Mapping[str, Any]]) -> TrainSettings:
        """The settings with other losses or weights of some heads: ``{"box": {"loss": "iou"}}``."""
        return replace(self, heads=tuple(replace(head, **changes.get(head.name, {})) for head in self.heads))

    def without_landmarks(self) -> TrainSettings:
        """The settings without the landmark task and its samples. The network keeps the outputs."""
        return replace(self.with_heads({LANDMARKS.name: {"weight": 0.0}}), ratio=(*self.ratio[:3], 0))


def paper_preset(stage: Stage, samples: int) -> TrainSettings:
    """The paper's published recipe: Adam at 0.001, batches of 32, 100 epochs, no batch normalisation."""
    return TrainSettings(
        stage,
        family="paper",
        steps=max(1, 100 * samples // 32),
        batch=32,
        learning_rate=1e-3,
        schedule="constant",
        weight_decay=0.0,
        batch_norm=False,
        augment=False,
        ema_decay=0.0,
    )
