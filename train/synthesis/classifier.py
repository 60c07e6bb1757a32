"""A small classifier of ages that a run trains first, on the same faces, and then looks through.

The attribute network shares its trunk with the recogniser. What convinces it alone is often no age that others see:
a second network of another kind, which sees moved, blurred and noisy faces, is harder to mislead in the same way.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from train.common.checkpoints import read_checkpoint
from train.common.order import PoolOrder
from train.common.schedule import set_rate, warmed_cosine
from train.detection.augment import normalise
from train.synthesis.faces import AgedFaces, age_pools, shares
from train.synthesis.frozen import coarsened
from train.synthesis.settings import ANCHORS

WIDTHS = (24, 48, 96, 160)
SIDE = 64
EACH = 4  # faces of each age group in a step
RATE, WARM_UP = 3e-3, 50
ANGLE, SCALE, SHIFT, LIGHT = 0.2, 0.12, 0.12, 0.2  # radians, shares of the size and of half the side, contrast


class AgeClassifier(nn.Module):
    """Logits (n, anchors) of crops of any size in about -1..1."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in WIDTHS:
            layers += [_convolution(before, width, 2), nn.ReLU()]
            layers += [_Residual(width)] if before > 3 else []
            before = width
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(before, len(ANCHORS))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """The logits."""
        if crops.shape[-1] != SIDE:
            crops = functional.interpolate(crops, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        found: torch.Tensor = self.score(self.layers(crops).mean((2, 3))).float()
        return found


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_convolution(width, width), nn.ReLU(), _convolution(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x + self.layers(x))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))


def varied(crops: torch.Tensor) -> torch.Tensor:
    """Crops each rotated, scaled, moved, mirrored and lit at random, and coarsened."""
    n, device = len(crops), crops.device
    angle, scale, across, down, light = (torch.rand(5, n, device=device) * 2 - 1).unbind(0)
    angle, scale = angle * ANGLE, 1 + scale * SCALE
    mirrored = torch.where(torch.rand(n, device=device) < 0.5, -1.0, 1.0)
    rows = [scale * angle.cos() * mirrored, -scale * angle.sin(), SHIFT * across]
    rows += [scale * angle.sin() * mirrored, scale * angle.cos(), SHIFT * down]
    grid = functional.affine_grid(torch.stack(rows, 1).reshape(n, 2, 3), list(crops.shape), align_corners=False)
    crops = functional.grid_sample(crops, grid, padding_mode="reflection", align_corners=False)
    return coarsened(crops * (1 + LIGHT * light)[:, None, None, None])


def trained_classifier(faces: AgedFaces, steps: int, file: Path, device: torch.device) -> AgeClassifier:
    """A classifier that has learned from as many faces of each age group; kept in ``file`` for the run to resume."""
    classifier = AgeClassifier().to(device)
    if file.exists():
        classifier.load_state_dict(read_checkpoint(file)["network"])
        return classifier.eval().requires_grad_(False)
    pools = age_pools(faces.ages, faces.learned)
    order = PoolOrder(pools, faces.settings.seed + 1)
    optimiser = torch.optim.AdamW(classifier.parameters(), RATE, weight_decay=0.02)
    for step in tqdm(range(steps), desc="age classifier", mininterval=5):
        set_rate(optimiser, warmed_cosine(RATE, step, steps, WARM_UP))
        rows = np.concatenate([order.take(pool, step, EACH) for pool in range(len(pools))])
        crops = normalise(torch.from_numpy(faces.crops(rows)).permute(0, 3, 1, 2).float()).to(device)
        asked = shares(torch.from_numpy(faces.ages[rows].astype(np.float32))).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=faces.settings.precision == "bfloat16"):
            logits = classifier(varied(crops).contiguous(memory_format=torch.channels_last))
        optimiser.zero_grad(set_to_none=True)
        functional.cross_entropy(logits, asked).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    partial = file.with_suffix(f".{os.getpid()}.partial")  # each process of a run writes it
    torch.save({"network": classifier.state_dict()}, partial)
    partial.replace(file)
    return classifier.eval().requires_grad_(False)


def anchor_ages(logits: torch.Tensor) -> torch.Tensor:
    """The expected ages (n,) in years of logits (n, anchors)."""
    return logits.softmax(1) @ torch.tensor(ANCHORS, device=logits.device)
