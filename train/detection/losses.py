"""The loss of the paper: three tasks, each on the samples that have its label, the hardest faces and backgrounds only.

Zhang et al. (2016), equations 1 to 4. Equation 1 is printed with a slip; it is the cross-entropy
-(y log p + (1 - y) log(1 - p)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from cascade.nn.architectures import BOX_OUTPUTS, FACE_OUTPUTS, LANDMARK_OUTPUTS
from train.detection.packed import LANDMARK, NEGATIVE, PART, POSITIVE

# Wing loss (Feng et al. 2018) in units of the window: width of the logarithmic part and its curvature.
WING_WIDTH, WING_CURVATURE = 0.15, 0.02


@dataclass(frozen=True)
class Losses:
    """Mean losses of a batch; 0 for a task without samples. `total` is what is minimised."""

    total: torch.Tensor
    face: torch.Tensor
    box: torch.Tensor
    landmark: torch.Tensor


def mine(losses: torch.Tensor, ratio: float) -> torch.Tensor:
    """Online hard sample mining: the ⌈ratio · n⌉ largest of ``losses`` (n,); the others get no gradient."""
    keep = math.ceil(ratio * len(losses))
    return losses if keep >= len(losses) else losses.topk(keep, sorted=False).values


def _rows(labelled: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Where ``labelled`` (n,) is true, as indices on the device of the outputs."""
    return torch.nonzero(labelled)[:, 0].to(outputs.device, non_blocking=True)


def face_loss(outputs: torch.Tensor, kinds: torch.Tensor, mining_ratio: float) -> torch.Tensor:
    """Cross-entropy of negatives and positives, the hardest of them only."""
    labelled = (kinds == NEGATIVE) | (kinds == POSITIVE)
    if not labelled.any():
        return outputs.sum() * 0
    truth = (kinds[labelled] == POSITIVE).long().to(outputs.device, non_blocking=True)
    losses = F.cross_entropy(outputs[_rows(labelled, outputs), FACE_OUTPUTS], truth, reduction="none")
    return mine(losses, mining_ratio).mean()


def box_loss(outputs: torch.Tensor, kinds: torch.Tensor, targets: torch.Tensor, kind: str = "l2") -> torch.Tensor:
    """Squared distance of the four edge offsets, or 1 - IoU (Yu et al. 2016), on positives and parts."""
    labelled = (kinds == POSITIVE) | (kinds == PART)
    if not labelled.any():
        return outputs.sum() * 0
    # 0, 0, 1, 1: made where it is needed, since numbers from the CPU would have to wait for the GPU
    window = (torch.arange(4, device=targets.device) // 2).to(targets.dtype)
    rows = _rows(labelled, outputs)
    offsets, truth = outputs[rows, BOX_OUTPUTS], targets[rows, :4]
    if kind == "l2":
        return (offsets - (truth - window)).square().sum(dim=1).mean()
    return (1 - paired_iou(offsets + window, truth)).mean()


def paired_iou(boxes: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Intersection over union (n,) of boxes and their truth (n, 4), row by row; a box turned inside out has no area."""
    shared = (torch.minimum(boxes[:, 2:], truth[:, 2:]) - torch.maximum(boxes[:, :2], truth[:, :2])).clamp(min=0)
    intersection = shared.prod(dim=1)
    areas = [(b[:, 2:] - b[:, :2]).clamp(min=0).prod(dim=1) for b in (boxes, truth)]
    return intersection / (areas[0] + areas[1] - intersection).clamp(min=1e-6)


def landmark_loss(
    outputs: torch.Tensor, labelled: torch.Tensor, targets: torch.Tensor, kind: str = "l2"
) -> torch.Tensor:
    """Squared distance (or wing loss) of the ten landmark coordinates, on the samples where ``labelled``."""
    if not labelled.any():
        return outputs.sum() * 0
    rows = _rows(labelled, outputs)
    distance = outputs[rows, LANDMARK_OUTPUTS] - targets[rows, 4:]
    if kind == "l2":
        return distance.square().sum(dim=1).mean()
    size = distance.abs()
    offset = WING_WIDTH - WING_WIDTH * math.log1p(WING_WIDTH / WING_CURVATURE)
    wing = torch.where(size < WING_WIDTH, WING_WIDTH * torch.log1p(size / WING_CURVATURE), size - offset)
    return wing.sum(dim=1).mean()


def cascade_loss(
    outputs: torch.Tensor,
    kinds: torch.Tensor,
    targets: torch.Tensor,
    alpha: tuple[float, float, float],
    mining_ratio: float = 0.7,
    landmark_kind: str = "l2",
    box_kind: str = "l2",
) -> Losses:
    """Σ α_j β_ij L_ij over face classification, box regression and landmarks.

    ``outputs`` (n, 16), ``kinds`` (n,) and ``targets`` (n, 14) are as in `train.detection.packed`. β is in the kinds: negatives
    and positives have a face label, positives and parts a box, landmark faces their landmarks; a sample without a
    label for a task adds nothing to it. On a GPU the kinds had better be on the CPU, which then need not wait to know
    how many samples have a label.
    """
    face = face_loss(outputs, kinds, mining_ratio)
    box = box_loss(outputs, kinds, targets, box_kind)
    marked = kinds == LANDMARK if alpha[2] else torch.zeros_like(kinds, dtype=torch.bool)
    landmark = landmark_loss(outputs, marked, targets, landmark_kind)
    return Losses(alpha[0] * face + alpha[1] * box + alpha[2] * landmark, face, box, landmark)
