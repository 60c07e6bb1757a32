"""A small classifier of ages that a run trains first, on the same faces, and then looks through.

The attribute network has the first stages of a recogniser. What convinces it alone is often no age that others see:
a second network of another kind, which sees moved, blurred and noisy faces, is harder to mislead in the same way.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from train.common.checkpoints import TrainingError, read_checkpoint, write_state
from train.common.device import Processes
from train.common.order import PoolOrder
from train.common.schedule import set_rate, warmed_cosine
from train.common.warping import warp_crops
from train.detection.augment import normalise
from train.synthesis.faces import AgedFaces, age_pools, shares
from train.synthesis.frozen import coarsened
from train.synthesis.settings import ANCHORS

WIDTHS = (24, 48, 96, 160)
SIDE = 64
EACH = 4  # faces of each age group in a step
RATE, WARM_UP = 3e-3, 50
ANGLE, SCALE, SHIFT, LIGHT = 0.2, 0.12, 0.06, 0.2  # radians, shares of the size and of the side, contrast


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
    mirrored = torch.rand(n, device=device) < 0.5
    shift = SHIFT * across, SHIFT * down
    crops = warp_crops(crops, ANGLE * angle, 1 + SCALE * scale, shift, mirrored, "reflection")
    return coarsened(crops * (1 + LIGHT * light)[:, None, None, None])


def trained_classifier(faces: AgedFaces, steps: int, file: Path, processes: Processes) -> AgeClassifier:
    """A classifier that has learned from as many faces of each age group; kept in ``file`` for the run to resume.

    A file of another run will do, too. The first of the processes trains it; the others wait for it and read it. Raises
    TrainingError if the file was made with other settings but the seed, or with other faces.
    """
    made_with = _made_with(faces, steps)
    if processes.rank == 0 and not file.exists():
        network = _trained(faces, steps, processes.device)
        write_state(file, {"network": network.state_dict(), "made_with": made_with})
    processes.wait()
    state = read_checkpoint(file, processes.device)
    if not made_with.items() <= state.get("made_with", {}).items():
        raise TrainingError(f"{file} was made with other settings or faces; remove it or use another folder")
    classifier = AgeClassifier().to(processes.device)
    classifier.load_state_dict(state["network"])
    return classifier.eval().requires_grad_(False)


def _made_with(faces: AgedFaces, steps: int) -> dict[str, Any]:
    """What the classifier depends on; the faces by a hash of what is known of them."""
    digest = hashlib.sha256()
    for each in faces.sets:
        digest.update(json.dumps([dict(each.meta), list(each.names)], sort_keys=True).encode())
    for array in (faces.ages, faces.learned):
        digest.update(array.tobytes())
    settings = faces.settings
    found = {"steps": steps, "size": settings.size, "precision": settings.precision}
    return {**found, "faces": digest.hexdigest()}


def _trained(faces: AgedFaces, steps: int, device: torch.device) -> AgeClassifier:
    classifier = AgeClassifier().to(device)
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
    return classifier


def anchor_ages(logits: torch.Tensor) -> torch.Tensor:
    """The expected ages (n,) in years of logits (n, anchors)."""
    return logits.softmax(1) @ torch.tensor(ANCHORS, device=logits.device)
