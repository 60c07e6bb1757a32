"""Settings of an attribute run, and the TOML file that holds them with tasks and sources."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from train.attributes.sources import AttributeSource, read_attribute_sources
from train.attributes.tasks import Task, TaskError, read_tasks
from train.common.schedule import warmed_cosine
from train.detection.sources import SourceError

GRAPHS = ("tail", "small", "mobilenet", "mobilenet_v2")
"""Architectures that become weight files of `cascade`, which the native engine runs."""
TORCH_ONLY = ("bknet", "mbknet", "emotionnet", "resnet18", "branchnet")
IMAGENET = ("imagenet_mobilenet_v2", "imagenet_inception_v3")
"""Architectures over a frozen base of torchvision, for torch alone too."""


@dataclass(frozen=True)
class AttributeSettings:
    """How one run goes; the [run] table of the TOML file.

    architecture   "tail", over the frozen first nodes of a recogniser; "small", "mobilenet", "mobilenet_v2", all of it
                   learned; for torch alone "bknet", "mbknet", "emotionnet", "resnet18", "branchnet", and over a
                   frozen base of torchvision "imagenet_mobilenet_v2", "imagenet_inception_v3"
    base_weights   file of that base's state dict for ImageNet
    trunk          the recogniser: a shipped one by name, or a file. "": what ``start`` goes on from, or the shipped
                   "light"
    frozen         its last node that is used; the maps of this node are cached
    views          augmented views of every face whose maps are cached, beside those of the crop as it is
    steps, batch   length of the run
    schedule       "cosine" to a thousandth, or "plateau": by a factor when validation gets no better
    warm_up        steps over which the rate rises
    patience       validations without a better score after which a plateau lowers the rate
    factor         by which it does
    stop_after     validations without a better score that end the run; 0: none
    validate_every steps between validations, and between checkpoints
    task_weights   "fixed"; "uncertainty", learned (Kendall et al. 2018); "dwa", by how fast losses fall (Liu et al.
                   2019); "gradnorm", by the norms of their gradients (Chen et al. 2018)
    validation     share of each set held out to measure on; 0 where the sources have a set for it
    ema            decay of the averaged weights, which are measured and exported
    precision      "float32", or "bfloat16" by autocast where the processor is fast at it
    start          checkpoint of an earlier run, or weight file, of the same network to begin from
    """

    architecture: str = "tail"
    base_weights: str = ""
    trunk: str = ""
    frozen: int = 37
    views: int = 2
    steps: int = 4000
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 5e-2
    schedule: Literal["cosine", "plateau"] = "cosine"
    warm_up: int = 100
    patience: int = 2
    factor: float = 0.3
    stop_after: int = 0
    validate_every: int = 500
    task_weights: Literal["fixed", "uncertainty", "dwa", "gradnorm"] = "fixed"
    validation: float = 0.05
    ema: float = 0.998
    precision: Literal["float32", "bfloat16"] = "float32"
    start: str = ""
    seed: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "warm_up", "patience", "views"):
            value, least = getattr(self, name), int(name != "views")
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
        known = {
            "architecture": (*GRAPHS, *TORCH_ONLY, *IMAGENET),
            "schedule": ("cosine", "plateau"),
            "task_weights": ("fixed", "uncertainty", "dwa", "gradnorm"),
            "precision": ("float32", "bfloat16"),
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name}: expected one of {', '.join(values)}, got {getattr(self, name)!r}")
        if (self.architecture in IMAGENET) != bool(self.base_weights):
            wanted = "a file with ImageNet weights" if self.architecture in IMAGENET else "none"
            raise ValueError(f"base_weights: expected {wanted} for {self.architecture}, got {self.base_weights!r}")
        if self.start and self.architecture not in GRAPHS:
            raise ValueError(f"start: expected none for {self.architecture}, got {self.start!r}")
        for name, value, low, high in (
            ("learning_rate", self.learning_rate, 0, 10),
            ("factor", self.factor, 0, 1),
            ("validation", self.validation, 0, 0.9),
            ("ema", self.ema, 0, 1),
            ("stop_after", self.stop_after, 0, self.steps),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name}: expected {low} to {high}, got {value!r}")

    def rate(self, step: int) -> float:
        """Learning rate after a linear warm-up: on a cosine, or as it is for a plateau to lower."""
        if self.schedule == "plateau":
            return self.learning_rate * min(1.0, (step + 1) / self.warm_up)
        return warmed_cosine(self.learning_rate, step, self.steps, self.warm_up)


@dataclass(frozen=True)
class AttributeConfig:
    """The TOML file: how the run goes, what is learned, and from what."""

    settings: AttributeSettings
    tasks: tuple[Task, ...]
    sources: tuple[AttributeSource, ...]


def read_config(file: Path, root: Path, changes: Mapping[str, Any] | None = None) -> AttributeConfig:
    """Reads the file; ``changes`` of the run that are not None take the place of what it says.

    Raises SourceError naming the file and the entry that is wrong.
    """
    try:
        content = tomllib.loads(file.read_text())
        unknown = content.keys() - {"run", "task", "source"}
        if unknown:
            raise SourceError(f"expected [run], [[task]] and [[source]], got {', '.join(sorted(unknown))}")
        run = {
            **content.get("run", {}),
            **{name: value for name, value in (changes or {}).items() if value is not None},
        }
        odd = run.keys() - {field.name for field in fields(AttributeSettings)}
        if odd:
            raise SourceError(f"run: unknown settings {', '.join(sorted(odd))}")
        sources = read_attribute_sources(content.get("source"), root)
        return AttributeConfig(AttributeSettings(**run), read_tasks(content.get("task")), sources)
    except (SourceError, TaskError, TypeError, ValueError) as error:
        raise SourceError(f"{file}: {error}") from error
