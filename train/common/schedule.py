"""Learning rates."""

from __future__ import annotations

import math

import torch


def warmed_cosine(highest: float, step: int, steps: int, warm: int) -> float:
    """Learning rate of a step: rises to the ``highest`` over ``warm`` steps, then falls on a cosine to a thousandth."""
    if step < warm:
        return highest * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return highest * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * done)))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of all parameters."""
    for group in optimiser.param_groups:
        group["lr"] = rate
