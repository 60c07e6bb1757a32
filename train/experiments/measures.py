"""What a trained network does on the validation samples, in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch.nn import functional as F

from cascade.nn.heads import BOX, FACE, LANDMARKS, Head, head_slices
from cascade.nn.torch_network import CascadeNetwork
from eval.detection.average_precision import average_precision
from train.detection.batches import network_inputs
from train.detection.labels import LANDMARK, NEGATIVE, PART, POSITIVE, target_columns
from train.detection.losses import head_loss, paired_iou
from train.detection.sample_store import Samples

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
"""Figures by name. Those of samples are from `evaluate`, those of the cascade from `train.experiments.full_cascade`;
late_cross_entropy is the mean over the last third of a validation curve, steadier than its last point."""


@torch.no_grad()
def evaluate(
    network: CascadeNetwork, samples: Samples, rows: np.ndarray, heads: Sequence[Head], batch: int = 1024
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
        inputs, targets = network_inputs(crops, targets, network.architecture, None)
        outputs.append(network(inputs).flatten(1))
        truths.append(targets)
    if not outputs:
        return dict.fromkeys((*_FACE, *_BOX, "landmark_error"))
    kinds = torch.from_numpy(samples.kinds[rows].astype(np.int64))
    merged, places = torch.cat(outputs), head_slices(network.architecture.heads)
    truth, columns = torch.cat(truths), target_columns(samples.heads)
    found: Figures = _faces(merged[:, places[FACE.name]], kinds) | dict.fromkeys((*_BOX, "landmark_error"))
    learned = {head.name for head in heads if head.weight}
    if BOX.name in learned:
        found |= _boxes(merged[:, places[BOX.name]], kinds, truth[:, columns[BOX.name]])
    if LANDMARKS.name in learned:
        error = _landmark_error(merged[:, places[LANDMARKS.name]], kinds, truth[:, columns[LANDMARKS.name]])
        found["landmark_error"] = error
    return found


_FACE = ("cross_entropy", "accuracy", "average_precision", "auc")
_BOX = ("box_error", "iou", "window_iou")


def _faces(logits: torch.Tensor, kinds: torch.Tensor) -> Figures:
    labelled = (kinds == NEGATIVE) | (kinds == POSITIVE)
    logits, truth = logits[labelled], kinds[labelled] == POSITIVE
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


def _boxes(offsets: torch.Tensor, kinds: torch.Tensor, targets: torch.Tensor) -> Figures:
    labelled = (kinds == POSITIVE) | (kinds == PART)
    if not labelled.any():
        return dict.fromkeys(_BOX)
    window = torch.tensor([0.0, 0.0, 1.0, 1.0])
    truth = targets[labelled]
    return {
        "box_error": float(head_loss(BOX, offsets, kinds, targets)),
        "iou": float(paired_iou(offsets[labelled] + window, truth).mean()),
        "window_iou": float(paired_iou(window.expand_as(truth), truth).mean()),
    }


def _landmark_error(points: torch.Tensor, kinds: torch.Tensor, targets: torch.Tensor) -> float | None:
    labelled = kinds == LANDMARK
    if not labelled.any():
        return None
    distance = (points[labelled] - targets[labelled]).reshape(-1, 5, 2)
    return float(distance.norm(dim=2).mean())
