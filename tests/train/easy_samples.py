"""Detection samples that are easy to learn from, and settings of short runs over them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from cascade.nn.architectures import ARCHITECTURES
from train.detection.batches import Batches
from train.detection.labels import NEGATIVE
from train.detection.sample_store import Samples
from train.detection.settings import TrainSettings

# The five landmarks of every face, in units of the window.
MARKS = (0.3, 0.4, 0.7, 0.4, 0.5, 0.6, 0.35, 0.8, 0.65, 0.8)

SETTINGS = TrainSettings("pnet", steps=6, batch=70, log_every=1, checkpoint_every=3, validation_share=0.1)


def samples(n: int = 420, side: int = 25, seed: int = 0, kinds: np.ndarray | None = None) -> Samples:
    """Crops that are easy to tell apart: what has a face is bright in the middle, more to the left for small boxes."""
    rng = np.random.default_rng(seed)
    if kinds is None:
        kinds = rng.choice(4, n, p=[0.4, 0.2, 0.2, 0.2])
    n = len(kinds)
    crops = rng.integers(40, 90, (n, side, side, 3))
    faces = kinds != NEGATIVE
    crops[faces, side // 4 : -(side // 4), side // 4 : -(side // 4)] += 120
    targets = np.full((n, 14), np.nan, np.float32)
    targets[faces, :4] = np.array([0.1, 0.0, 0.9, 1.0]) + rng.normal(0, 0.02, (faces.sum(), 4))
    targets[faces, 4:] = MARKS
    return Samples(crops.astype(np.uint8), kinds.astype(np.uint8), targets, {})


def batches_of(made: Samples, **changes) -> Batches:
    """Batches of all these samples, by changed settings."""
    settings = replace(SETTINGS, **changes)
    architecture = ARCHITECTURES[settings.family][settings.stage]
    return Batches(made, np.arange(len(made)), settings, architecture, torch.device("cpu"))
