"""What recognition minimises (equation 8 of the paper), each part over the faces that have its label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from train.recognition.model import Prediction, RecognitionModel
from train.recognition.settings import RecognitionSettings

PARTS = ("identity", "distillation", "maps", "age", "adversary")


def recognition_losses(
    model: RecognitionModel,
    predicted: Prediction,
    persons: torch.Tensor,
    ages: torch.Tensor,
    teacher: torch.Tensor | None,
    teacher_maps: Sequence[torch.Tensor] = (),
) -> dict[str, torch.Tensor]:
    """The parts by name, unweighted. persons (n,) with -1, ages (n,) with NaN where unknown; teacher (n, D) or None.

    identity      cross-entropy of CosFace
    distillation  1 − cosine to the teacher's embedding
    maps          squared difference to the teacher's maps, over their variance
    age           squared error and cross-entropy of groups, from the age part
    adversary     the same from the identity part; its gradient reaches the network reversed
    """
    parts = {}
    known = persons >= 0
    if model.identity is not None and known.any():
        logits = model.identity(predicted.embeddings[known], persons[known])
        parts["identity"] = functional.cross_entropy(logits, persons[known])
    if teacher is not None:
        parts["distillation"] = 1 - functional.cosine_similarity(predicted.embeddings, teacher).mean()
    if teacher_maps:
        pairs = zip(predicted.maps, teacher_maps, strict=True)
        parts["maps"] = torch.stack([(own - other).square().mean() / other.var() for own, other in pairs]).mean()
    if predicted.age is not None:
        parts["age"] = model.age_loss(predicted.age, ages)
    if predicted.adversary is not None:
        parts["adversary"] = model.adversary_loss(predicted.adversary, ages)
    return parts


def total_loss(parts: dict[str, torch.Tensor], settings: RecognitionSettings) -> torch.Tensor:
    """The weighted sum; the reversal has already turned the sign of the adversary's gradient."""
    if not parts:  # the share of one process among several may hold no label
        return torch.zeros(())
    weights = settings.weights()
    return torch.stack([weights[name] * part for name, part in parts.items()]).sum()
