"""What recognition minimises (equation 8 of the paper): one loss for each head, over the faces that have its label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from train.recognition.model import Prediction, RecognitionModel
from train.recognition.settings import RecognitionSettings


@dataclass(frozen=True)
class Labels:
    """What n faces are learned from.

    persons       (n,), -1 where unknown
    ages          (n,) in years, NaN where unknown
    teacher       (n, D), the embeddings to be repeated, or None
    teacher_maps  the teacher's maps to be matched, which may be none
    """

    persons: torch.Tensor
    ages: torch.Tensor
    teacher: torch.Tensor | None = None
    teacher_maps: Sequence[torch.Tensor] = ()


def identity(model: RecognitionModel, predicted: Prediction, labels: Labels) -> torch.Tensor | None:
    """Cross-entropy of CosFace."""
    known = labels.persons >= 0
    if model.identity is None or not known.any():
        return None
    logits = model.identity(predicted.embeddings[known], labels.persons[known])
    return functional.cross_entropy(logits, labels.persons[known])


def distillation(model: RecognitionModel, predicted: Prediction, labels: Labels) -> torch.Tensor | None:
    """1 − cosine to the teacher's embedding."""
    if labels.teacher is None:
        return None
    return 1 - functional.cosine_similarity(predicted.embeddings, labels.teacher).mean()


def maps(model: RecognitionModel, predicted: Prediction, labels: Labels) -> torch.Tensor | None:
    """Squared difference to the teacher's maps, over their variance."""
    if not labels.teacher_maps:
        return None
    pairs = zip(predicted.maps, labels.teacher_maps, strict=True)
    return torch.stack([(own - other).square().mean() / other.var() for own, other in pairs]).mean()


def age(model: RecognitionModel, predicted: Prediction, labels: Labels) -> torch.Tensor | None:
    """Squared error of the age and cross-entropy of its group, from the age part."""
    return None if predicted.age is None else model.age_loss(predicted.age, labels.ages)


def adversary(model: RecognitionModel, predicted: Prediction, labels: Labels) -> torch.Tensor | None:
    """The same from the identity part; its gradient reaches the network reversed."""
    return None if predicted.adversary is None else model.adversary_loss(predicted.adversary, labels.ages)


Loss = Callable[[RecognitionModel, Prediction, Labels], torch.Tensor | None]

LOSSES: dict[str, Loss] = {
    "identity": identity,
    "distillation": distillation,
    "maps": maps,
    "age": age,
    "adversary": adversary,
}
"""The loss of each head by name, None where there is nothing to learn from; ``lambda_<name>`` is its weight."""


def recognition_losses(
    model: RecognitionModel, predicted: Prediction, labels: Labels, settings: RecognitionSettings
) -> dict[str, torch.Tensor]:
    """``total``, the weighted sum that is minimised, and the losses by name, unweighted, that there are labels for.

    The gradient reversal has already changed the sign of the adversary's gradient.
    """
    found = {name: loss(model, predicted, labels) for name, loss in LOSSES.items()}
    parts = {name: loss for name, loss in found.items() if loss is not None}
    weights = settings.weights()
    weighted = [weights[name] * loss for name, loss in parts.items()]
    total = torch.stack(weighted).sum() if weighted else torch.zeros(())  # one process of several may have no label
    return {"total": total, **parts}
