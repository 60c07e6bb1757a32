"""What the generator and the discriminator minimise."""

from __future__ import annotations

import torch
from torch.nn import functional

from train.synthesis.frozen import expected_ages

LOSSES = ("adversary", "age", "group", "gender", "identity", "own", "change", "smooth", "prototype")
NAMES = ("total", *LOSSES, "discriminator", "recognizer")

DECADE = 10.0  # years
CHILD = 10.0  # years up to which a gender hardly shows
ALIKE, ALIKE_PER_YEAR = 0.88, 0.005  # the cosine to the face as it was that is enough, and less for each year between


def real_loss(scores: torch.Tensor) -> torch.Tensor:
    """Least squares (Mao et al. 2017): what is real should score 1."""
    return (scores - 1).square().mean()


def fake_loss(scores: torch.Tensor) -> torch.Tensor:
    """What is not should score 0."""
    return scores.square().mean()


def age_loss(
    probabilities: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor, asked: torch.Tensor
) -> torch.Tensor:
    """Expected age against the one asked for, in decades, and the cross-entropy of the age groups.

    ``groups`` (years, anchors) are the anchors' shares of each year, ``asked`` (n, anchors) those asked for.
    """
    years = functional.smooth_l1_loss(expected_ages(probabilities) / DECADE, targets / DECADE)
    found = (probabilities @ groups).clamp_min(1e-4)
    return years + 0.2 * -(asked * found.log()).sum(1).mean()


def group_loss(logits: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the age groups (n, anchors): what the classifier says beyond what is asked for."""
    found = -(asked * logits.log_softmax(1)).sum(1)
    loss: torch.Tensor = (found + torch.special.xlogy(asked, asked).sum(1)).mean()
    return loss


def gender_loss(genders: torch.Tensor, before: torch.Tensor, youngest: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the genders (n, 2) seen before; children, whose gender shows less, count less."""
    shows = ((youngest - CHILD) / DECADE).clamp(0.1, 1)
    return -(shows * (before * genders.clamp_min(1e-4).log()).sum(1)).mean()


def identity_loss(embeddings: torch.Tensor, before: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
    """How much less alike than enough the faces are to what they were; the more years between, the less is enough."""
    alike = (embeddings * before).sum(1)
    enough = ALIKE - ALIKE_PER_YEAR * gap.abs()
    return (enough - alike).clamp_min(0).mean() + 0.1 * (1 - alike).mean()


def own_loss(aged: torch.Tensor, crops: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the faces that were asked for their own age."""
    same = (gap.abs() < 0.5).float()
    return ((aged - crops).abs().mean((1, 2, 3)) * same).sum() / same.sum().clamp_min(1)


def prototype_loss(aged: torch.Tensor, crops: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Mean squared difference from the face with an expected change, times 100."""
    return 100 * (aged - (crops + change).clamp(-1, 1)).square().mean()


def change_loss(aged: torch.Tensor, crops: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference, most at the border of the crop, where it has to meet the photo."""
    weight = border_weight(crops.shape[-1], crops)
    return ((aged - crops).abs().mean(1) * weight).mean()


def border_weight(side: int, like: torch.Tensor) -> torch.Tensor:
    """(side, side): 0.3 within, rising to 1.3 at the border."""
    place = torch.linspace(-1, 1, side, device=like.device)
    edge = torch.maximum(place.abs()[:, None], place.abs()[None])
    return 0.3 + ((edge - 0.75) / 0.25).clamp(0, 1)


def smooth_loss(aged: torch.Tensor, crops: torch.Tensor) -> torch.Tensor:
    """Total variation of what was added."""
    added = aged - crops
    down, across = added[:, :, 1:] - added[:, :, :-1], added[:, :, :, 1:] - added[:, :, :, :-1]
    return down.abs().mean() + across.abs().mean()
