"""Settings of a recognition run, and the presets."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from train.common.schedule import warmed_cosine
from train.common.settings import check_positive


@dataclass(frozen=True)
class RecognitionSettings:
    """How one run goes.

    architecture  "light", "dense" or "ir50"
    decomposed    whether an age part is taken out of the features, with an age head over it
    lambda_*      weights of the losses (`train.recognition.losses.LOSSES`); 0 leaves one out. lambda_adversary needs
                  decomposition; lambda_maps, the likeness to a teacher's maps, needs the teacher's network at hand
    scale, margin CosFace's s and m
    steps, batch  length of the run
    optimiser     "adamw", or "sgd" with momentum 0.9
    schedule      "cosine" to a thousandth, or "steps": a tenth at each of ``milestones``, shares of the run
    warm_up       share of the run over which the rate rises
    shares        parts of a batch with a known person, a known age, neither, and averages of two faces; what there
                  are no faces of is left out, and averages, which show nobody, need the teacher's network at hand
    start         what to begin from: the checkpoint of an earlier run, which may be one without decomposition, or a
                  weight file
    frozen        stages of the encoder, from the first, whose weights stay as they start
    views         augmented views of every face of which the features of the frozen stages and a teacher's answers are
                  cached on disk to learn from; 0 augments the faces anew at every step
    augment       whether crops are changed at random
    profiles      share of the frontal faces that are rotated into profile (`train.recognition.yaw_rotation`)
    held_out      files of the persons held out of training, one a line, to measure on; of sources with none of them,
                  and of the faces without a name, it is a share
    validation    that share
    precision     "float32", or "bfloat16" by autocast where that is faster: GPUs, CPUs with AVX-512 BF16
    compiled      whether the network goes through torch.compile
    """

    architecture: Literal["light", "dense", "ir50"] = "light"
    decomposed: bool = True
    lambda_identity: float = 0.02
    lambda_distillation: float = 10.0
    lambda_maps: float = 0.0
    lambda_age: float = 0.01
    lambda_adversary: float = 0.002
    scale: float = 64.0
    margin: float = 0.35
    steps: int = 6000
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 5e-4
    optimiser: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "steps"] = "cosine"
    milestones: tuple[float, ...] = ()
    warm_up: float = 0.03
    shares: tuple[int, int, int, int] = (3, 3, 2, 2)
    start: str = ""
    frozen: int = 0
    views: int = 0
    augment: bool = True
    profiles: float = 0.0
    held_out: tuple[str, ...] = ()
    validation: float = 0.05
    precision: Literal["float32", "bfloat16"] = "float32"
    compiled: bool = False
    seed: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        check_positive(self, "steps", "batch")
        for name, value in self.weights().items():
            if not value >= 0:
                raise ValueError(f"lambda_{name}: expected at least 0, got {value!r}")
        if self.lambda_adversary and not self.decomposed:
            raise ValueError("lambda_adversary: expected 0 without decomposition")
        if self.frozen and not self.start:
            raise ValueError("frozen: expected 0 without a run to start from")
        if self.views and not (self.frozen and self.augment):
            raise ValueError("views: expected 0 without frozen stages or without changes to the faces")
        if not 0 <= self.profiles <= 1 or (self.profiles and (self.views or not self.augment)):
            raise ValueError(f"profiles: expected a share, 0 with views or without changes, got {self.profiles!r}")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation: expected a share between 0 and 1, got {self.validation!r}")

    def rate(self, step: int) -> float:
        """Learning rate: a linear warm-up, then a cosine to a thousandth or tenths at the milestones."""
        warm = max(1, round(self.warm_up * self.steps))
        if self.schedule == "steps" and step >= warm:
            return float(self.learning_rate * 0.1 ** sum(step >= m * self.steps for m in self.milestones))
        return warmed_cosine(self.learning_rate, step, self.steps, warm)

    def weights(self) -> dict[str, float]:
        """The weight of each loss by its name: the fields ``lambda_…``."""
        names = [field.name for field in fields(self) if field.name.startswith("lambda_")]
        return {name.removeprefix("lambda_"): getattr(self, name) for name in names}


@dataclass(frozen=True)
class BlockSettings:
    """How blocks are fitted to a teacher's.

    views         augmented faces whose maps of the teacher are cached, 0.9 MB each for the light network
    stages        how many of the first stages learn, each as a unit in place of its blocks; 0 for blocks
    steps, batch, learning_rate   of every block, by itself and once more after the others
    compiled      whether blocks go through torch.compile
    """

    views: int = 10_000
    stages: int = 0
    steps: int = 450
    batch: int = 32
    learning_rate: float = 3e-3
    compiled: bool = False
    seed: int = 0


# The shipped network: a teacher at hand, on a GPU.
LIGHT = RecognitionSettings(
    lambda_maps=5.0, steps=10_000, batch=512, learning_rate=4e-3, shares=(4, 4, 3, 3), precision="bfloat16"
)

# On a CPU of two cores: a network that trains fast there, and a teacher's embeddings, computed beforehand.
DENSE = RecognitionSettings(architecture="dense")

# The paper's: IR-50, SGD from 0.1 with warm-up and steps, losses as Huang et al. weigh them. It is written for
# millions of named faces and several GPUs.
PAPER = RecognitionSettings(
    architecture="ir50",
    lambda_identity=1.0,
    lambda_distillation=0.0,
    lambda_age=0.001,
    lambda_adversary=0.002,
    steps=36_000,
    batch=512,
    learning_rate=0.1,
    optimiser="sgd",
    schedule="steps",
    milestones=(20 / 36, 23 / 36, 32 / 36),
    warm_up=1 / 36,
    precision="bfloat16",
)

PRESETS = {"light": LIGHT, "dense": DENSE, "paper": PAPER}
