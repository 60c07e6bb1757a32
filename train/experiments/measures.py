"""What a trained network does on the validation samples, in figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch.nn import functional as F

from cascade.nn.architectures import BOX_OUTPUTS, FACE_OUTPUTS, LANDMARK_OUTPUTS
from cascade.nn.torch_network import CascadeNetwork
from eval.detection.average_precision import average_precision
from train.detection.losses import box_loss, paired_iou
from train.detection.packed import LANDMARK, NEGATIVE, PART, POSITIVE, Samples
from train.detection.trainer import prepare

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Meaning:
    """What a figure is and which way is better."""

    title: str
    lower_is_better: bool = False


FIGURES = {
    "cross_entropy": Meaning("cross-entropy", lower_is_better=True),
    "late_cross_entropy": Meaning("cross-entropy, last third", lower_is_better=True),
    "accuracy": Meaning("accuracy"),
    "average_precision": Meaning("average precision"),
    "auc": Meaning("area under ROC"),
    "box_error": Meaning("squared box error", lower_is_better=True),
    "iou": Meaning("mean IoU"),
    "landmark_error": Meaning("landmark error", lower_is_better=True),
    "cascade_ap": Meaning("cascade AP"),
    "cascade_recall": Meaning("cascade recall"),
    "cascade_recall_0.1": Meaning("recall at 0.1 FP/photo"),
    "cascade_recall_1": Meaning("recall at 1 FP/photo"),
}
"""Figures by name. Those of samples are from `judge`, those of the cascade from `train.experiments.full_cascade`;
late_cross_entropy is the mean over the last third of a validation curve, steadier than its last point."""


@torch.no_grad()
def judge(
    network: CascadeNetwork, samples: Samples, rows: np.ndarray, alpha: tuple[float, float, float], batch: int = 1024
) -> Figures:
    """Figures of a network on the samples ``rows`` (n,), unmined; None for a task without weight or samples.

    cross_entropy, accuracy, average_precision, auc   of the face score, positives against negatives
    box_error, iou    on positives and parts: the loss of the paper, and the overlap of the regressed box with the face
    window_iou        the overlap of the window itself, which is what regression starts from
    landmark_error    mean distance of the five landmarks over the side of the window
    """
    outputs, truths = [], []
    for first in range(0, len(rows), batch):
        some = rows[first : first + batch]
        crops, targets = torch.from_numpy(samples.crops[some]), torch.from_numpy(samples.targets[some])
        inputs, targets = prepare(crops, targets, network.architecture, None)
        outputs.append(network(inputs).flatten(1))
        truths.append(targets)
    if not outputs:
        return dict.fromkeys((*_FACE, *_BOX, "landmark_error"))
    merged, truth = torch.cat(outputs), torch.cat(truths)
    kinds = torch.from_numpy(samples.kinds[rows].astype(np.int64))
    return {
        **_faces(merged, kinds),
        **(_boxes(merged, kinds, truth) if alpha[1] else dict.fromkeys(_BOX)),
        "landmark_error": _landmarks(merged, kinds, truth) if alpha[2] else None,
    }


_FACE = ("cross_entropy", "accuracy", "average_precision", "auc")
_BOX = ("box_error", "iou", "window_iou")


def _faces(outputs: torch.Tensor, kinds: torch.Tensor) -> Figures:
    labelled = (kinds == NEGATIVE) | (kinds == POSITIVE)
    logits, truth = outputs[labelled, FACE_OUTPUTS], kinds[labelled] == POSITIVE
    if not truth.any() or truth.all():
        return dict.fromkeys(_FACE)
    scores = (logits[:, 1] - logits[:, 0]).double().numpy()
    faces = truth.numpy()
    return {
        "cross_entropy": float(F.cross_entropy(logits, truth.long())),
        "accuracy": float(((scores > 0) == faces).mean()),
        "average_precision": ranked_precision(scores, faces),
        "auc": area_under_roc(scores, faces),
    }


def ranked_precision(scores: np.ndarray, faces: np.ndarray) -> float:
    """Average precision of ``scores`` (n,) for ``faces`` (n,) bool; of equal scores the backgrounds come first."""
    hits = faces[np.lexsort((faces, -scores))]
    found = np.cumsum(hits)
    return average_precision(found / found[-1], found / np.arange(1, len(hits) + 1))


def area_under_roc(scores: np.ndarray, faces: np.ndarray) -> float:
    """How often a face scores above a background; equal scores count half."""
    positives = int(faces.sum())
    above = rankdata(scores)[faces].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(faces) - positives)))


def _boxes(outputs: torch.Tensor, kinds: torch.Tensor, targets: torch.Tensor) -> Figures:
    labelled = (kinds == POSITIVE) | (kinds == PART)
    if not labelled.any():
        return dict.fromkeys(_BOX)
    window = torch.tensor([0.0, 0.0, 1.0, 1.0])
    truth = targets[labelled, :4]
    return {
        "box_error": float(box_loss(outputs, kinds, targets)),
        "iou": float(paired_iou(outputs[labelled, BOX_OUTPUTS] + window, truth).mean()),
        "window_iou": float(paired_iou(window.expand_as(truth), truth).mean()),
    }


def _landmarks(outputs: torch.Tensor, kinds: torch.Tensor, targets: torch.Tensor) -> float | None:
    marked = kinds == LANDMARK
    if not marked.any():
        return None
    distance = (outputs[marked, LANDMARK_OUTPUTS] - targets[marked, 4:]).reshape(-1, 5, 2)
    return float(distance.norm(dim=2).mean())
