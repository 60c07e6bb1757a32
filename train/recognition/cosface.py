"""The large-margin cosine head (Wang et al., "CosFace", 2018)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class CosFace(nn.Module):
    """Embeddings (n, D) and the numbers of their persons (n,) → logits (n, persons): s (cos θ − m at the true one)."""

    def __init__(self, dimension: int, persons: int, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin
        self.centres = nn.Parameter(functional.normalize(torch.randn(persons, dimension), dim=1))

    def forward(self, embeddings: torch.Tensor, persons: torch.Tensor) -> torch.Tensor:
        """Logits for cross-entropy; the embeddings need not have length 1."""
        cosines = functional.linear(functional.normalize(embeddings), functional.normalize(self.centres))
        margins = functional.one_hot(persons, cosines.shape[1]).to(cosines.dtype) * self.margin
        logits: torch.Tensor = self.scale * (cosines - margins)
        return logits
