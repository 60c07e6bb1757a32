"""The loss of the paper: one for each head, on the samples that have its label, the hardest faces and backgrounds only.

Zhang et al. (2016), equations 1 to 4. Equation 1 is printed with a slip; it is the cross-entropy
-(y log p + (1 - y) log(1 - p)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional as F

from cascade.nn.heads import BOX, FACE, Head, head_slices
from train.detection.labels import POSITIVE, labelled, target_columns

# Wing loss (Feng et al. 2018) in units of the window: width of the logarithmic part and its curvature.
WING_WIDTH, WING_CURVATURE = 0.15, 0.02

# What outputs (n, width) of 0 stand for, in the units of the targets: the window's own edges for a box, else 0.
Origin = torch.Tensor | float


def cross_entropy(outputs: torch.Tensor, truth: torch.Tensor, origin: Origin) -> torch.Tensor:
    """Logits (n, classes) against the numbers of the classes (n,)."""
    return F.cross_entropy(outputs, truth, reduction="none")


def squared_distance(outputs: torch.Tensor, truth: torch.Tensor, origin: Origin) -> torch.Tensor:
    """Squared Euclidean distance."""
    return (outputs - (truth - origin)).square().sum(dim=1)


def wing(outputs: torch.Tensor, truth: torch.Tensor, origin: Origin) -> torch.Tensor:
    """The wing loss of Feng et al. (2018): logarithmic for small distances, then linear."""
    size = (outputs - (truth - origin)).abs()
    offset = WING_WIDTH - WING_WIDTH * math.log1p(WING_WIDTH / WING_CURVATURE)
    losses = torch.where(size < WING_WIDTH, WING_WIDTH * torch.log1p(size / WING_CURVATURE), size - offset)
    return losses.sum(dim=1)


def overlap_loss(outputs: torch.Tensor, truth: torch.Tensor, origin: Origin) -> torch.Tensor:
    """1 - IoU (Yu et al. 2016) of boxes."""
    return 1 - paired_iou(outputs + origin, truth)


def paired_iou(boxes: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Intersection over union (n,) of boxes and their truth (n, 4), row by row; an inverted box has no area."""
    shared = (torch.minimum(boxes[:, 2:], truth[:, 2:]) - torch.maximum(boxes[:, :2], truth[:, :2])).clamp(min=0)
    intersection = shared.prod(dim=1)
    areas = [(b[:, 2:] - b[:, :2]).clamp(min=0).prod(dim=1) for b in (boxes, truth)]
    return intersection / (areas[0] + areas[1] - intersection).clamp(min=1e-6)


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor, Origin], torch.Tensor]] = {
    "cross_entropy": cross_entropy,
    "l2": squared_distance,
    "iou": overlap_loss,
    "wing": wing,
}
"""By `Head.loss`: outputs (n, width), truth and origin → the loss of each sample (n,)."""


def loss_origin(head: Head, like: torch.Tensor) -> Origin:
    """What outputs of 0 of a head stand for; of the type and on the device of ``like``."""
    if head.name != BOX.name:
        return 0.0
    # 0, 0, 1, 1: computed there, since numbers from the CPU would have to wait for the GPU
    return (torch.arange(4, device=like.device) // 2).to(like.dtype)


def mine(losses: torch.Tensor, ratio: float) -> torch.Tensor:
    """Online hard sample mining: the ⌈ratio · n⌉ largest of ``losses`` (n,); the others get no gradient."""
    keep = math.ceil(ratio * len(losses))
    return losses if keep >= len(losses) else losses.topk(keep, sorted=False).values


def head_loss(
    head: Head, outputs: torch.Tensor, kinds: torch.Tensor, targets: torch.Tensor, mining_ratio: float = 1.0
) -> torch.Tensor:
    """The mean loss of one head over the samples with its label, 0 without any.

    ``outputs`` (n, width) and ``targets`` (n, …) are those of this head alone. Only the face's losses are mined.
    """
    mask = labelled(head, kinds, targets)
    if not mask.any():
        return outputs.sum() * 0
    device = outputs.device
    rows = torch.nonzero(mask)[:, 0].to(device, non_blocking=True)
    if head.name == FACE.name:
        truth = (kinds[mask] == POSITIVE).long().to(device, non_blocking=True)
    else:
        truth = targets[rows]
        truth = truth[:, 0].long() if head.loss == "cross_entropy" else truth
    losses = LOSSES[head.loss](outputs[rows], truth, loss_origin(head, targets))
    return (mine(losses, mining_ratio) if head.name == FACE.name else losses).mean()


def detection_losses(
    outputs: torch.Tensor,
    kinds: torch.Tensor,
    targets: torch.Tensor,
    heads: Sequence[Head],
    mining_ratio: float = 0.7,
) -> dict[str, torch.Tensor]:
    """``total``, Σ_j α_j β_ij L_ij over the heads, which is minimised, and the mean loss of each head by its name.

    ``outputs`` (n, outputs), ``kinds`` (n,) and ``targets`` (n, columns) are as in `train.detection.sample_store`. β
    says which samples have a label for a head (`train.detection.labels`); the others add nothing to its loss. A head of
    weight 0 is left out and its loss given as 0. On a GPU the kinds had better be on the CPU, which then need not wait
    to know how many samples have a label.
    """
    places, columns = head_slices(heads), target_columns(heads)
    found = {
        head.name: head_loss(head, outputs[:, places[head.name]], kinds, targets[:, columns[head.name]], mining_ratio)
        if head.weight
        else outputs.new_zeros(())
        for head in heads
    }
    total = sum((head.weight * found[head.name] for head in heads), start=outputs.new_zeros(()))
    return {"total": total, **found}
