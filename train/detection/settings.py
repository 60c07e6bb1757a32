"""The settings of a training run, in one frozen dataclass that is saved beside its checkpoints."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cascade.nn.architectures import Stage

# The paper's weights of the three tasks: face classification, box regression, landmarks.
TASK_WEIGHTS: dict[Stage, tuple[float, float, float]] = {
    "pnet": (1.0, 0.5, 0.5),
    "rnet": (1.0, 0.5, 0.5),
    "onet": (1.0, 0.5, 1.0),
    "lnet": (0.0, 0.0, 1.0),  # ours; the paper has no L-Net
}


@dataclass(frozen=True)
class TrainSettings:
    """How one network learns from a folder of samples."""

    stage: Stage
    family: str = "default"  # which architectures, see cascade.nn.architectures
    seed: int = 1
    start: str | None = None  # checkpoint of an earlier run of the same network to begin from
    steps: int = 20_000
    batch: int = 448  # samples a step; a multiple of 7 fits the ratio
    ratio: tuple[int, int, int, int] = (3, 1, 1, 2)  # negatives : positives : parts : landmark faces
    learning_rate: float = 2e-3  # peak of the one-cycle schedule, or constant
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    weight_decay: float = 1e-4
    mining_ratio: float = 0.7  # share of the classification losses that take part; 1.0 switches mining off
    landmarks: bool = True  # the joint landmark task
    task_weights: tuple[float, float, float] | None = None  # None: the paper's for the stage
    landmark_loss: Literal["l2", "wing"] = "l2"
    box_loss: Literal["l2", "iou"] = "l2"
    batch_norm: bool = True
    augment: bool = True
    average: float = 0.999  # decay of the running average of the weights that is exported; 0 switches it off
    validation_share: float = 0.02
    log_every: int = 100
    checkpoint_every: int = 1000
    # torch threads of the step; one more core prepares batches. More suffer when the machine is shared
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.mining_ratio <= 1:
            raise ValueError(f"mining_ratio: expected above 0 and at most 1, got {self.mining_ratio!r}")

    @property
    def alpha(self) -> tuple[float, float, float]:
        """The weights of the three tasks."""
        return self.task_weights or TASK_WEIGHTS[self.stage]


def paper_preset(stage: Stage, samples: int) -> TrainSettings:
    """The paper's published recipe: Adam at 0.001, batches of 32, 100 epochs, no batch normalisation."""
    return TrainSettings(
        stage,
        family="paper",
        steps=100 * samples // 32,
        batch=32,
        learning_rate=1e-3,
        schedule="constant",
        weight_decay=0.0,
        batch_norm=False,
        augment=False,
        average=0.0,
    )


def save_settings(settings: TrainSettings, folder: Path, **extra: Any) -> None:
    """Writes settings.json beside the checkpoints, with the git revision and what else is told."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"settings": asdict(settings), "revision": revision(), **extra}
    (folder / "settings.json").write_text(json.dumps(record, indent=2))


def revision() -> str:
    """The git revision of the training code, "unknown" outside a repository."""
    command = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def with_changes(settings: TrainSettings, changes: dict[str, Any]) -> TrainSettings:
    """The settings with every change that is not None."""
    return replace(settings, **{name: value for name, value in changes.items() if value is not None})
