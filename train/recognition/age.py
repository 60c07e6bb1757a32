"""Age as a distribution over 0 … 100 years (Rothe et al., "DEX", 2015), and as one of seven groups."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

AGES = 101
GROUP_STARTS = (0, 11, 21, 31, 41, 51, 61)
"""First age of each group: up to 10, 20, … 60, and above."""


def expected_age(logits: torch.Tensor) -> torch.Tensor:
    """(n, 101) logits → (n,) years: the mean of the distribution."""
    years = torch.arange(AGES, dtype=logits.dtype, device=logits.device)
    return (logits.softmax(1) * years).sum(1)


def age_groups(ages: torch.Tensor) -> torch.Tensor:
    """(n,) years → (n,) group numbers, int64."""
    starts = torch.tensor(GROUP_STARTS[1:], dtype=ages.dtype, device=ages.device)
    return torch.bucketize(ages.contiguous(), starts, right=True)


class AgeHead(nn.Module):
    """(n, C, side, side) maps → (n, 101) logits: the head of a graph, for maps that the graph has none for."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * channels, hidden)
        self.logits = nn.Linear(hidden, AGES)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Logits of the ages 0 … 100."""
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        logits: torch.Tensor = self.logits(functional.relu(self.hidden(pooled)))
        return logits


class AgeLoss(nn.Module):
    """Squared error of the expected age plus cross-entropy of the group (equation 7), over faces of known age.

    The group's logits are a linear function of those of the ages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.groups = nn.Linear(AGES, len(GROUP_STARTS))

    def forward(self, logits: torch.Tensor, ages: torch.Tensor) -> torch.Tensor:
        """The mean over faces whose age (n,) is not NaN; 0 where there is none."""
        known = ~torch.isnan(ages)
        if not known.any():
            return logits.sum() * 0
        logits, ages = logits[known], ages[known].clamp(0, AGES - 1)
        years = (expected_age(logits) - ages).square().mean()
        return years + functional.cross_entropy(self.groups(logits), age_groups(ages))
