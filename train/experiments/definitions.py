"""What each experiment compares: its arms, the one they are measured against, and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cascade.nn.heads import BOX, FACE, LANDMARKS

MINING_RATIOS = (0.5, 0.6, 0.7, 0.8, 1.0)
LANDMARK_WEIGHTS = (0.0, 0.5, 1.0, 2.0)
PHOTO_SHARES = (0.125, 0.25, 0.5, 1.0)

# Title of a panel → where its values are in a row of metrics.jsonl.
Curves = Mapping[str, tuple[str, ...]]

# Negatives and positives alone, in the proportion that joint training has too.
FACES_ALONE: Mapping[str, Any] = {
    "heads": (FACE, replace(BOX, weight=0.0), replace(LANDMARKS, weight=0.0)),
    "ratio": (3, 1, 0, 0),
}


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    label    its name in tables and figures
    folder   where its runs are, below the folder of all runs; experiments that share an arm share its runs
    changes  the fields of `TrainSettings` that it sets
    value    the swept quantity, where there is one
    """

    label: str
    folder: str
    changes: Mapping[str, Any]
    value: float | None = None


@dataclass(frozen=True)
class Experiment:
    """One experiment on O-Net.

    reference  label of the arm that the others are measured against, seed by seed
    figures    names in `train.experiments.measures.FIGURES` for the table
    curves     what is drawn over the steps
    swept      what `Arm.value` is, drawn against ``sweeps``; "" draws no sweep
    sweeps     the figures that are drawn
    """

    name: str
    title: str
    arms: tuple[Arm, ...]
    reference: str
    figures: tuple[str, ...]
    curves: Curves
    swept: str = ""
    sweeps: tuple[str, ...] = ()


def mining_arm(ratio: float) -> Arm:
    """O-Net learns faces alone, from the ``ratio`` hardest of every batch; 1.0 is no mining."""
    label = "no mining" if ratio == 1 else f"hardest {ratio:.0%}"
    return Arm(label, f"mining-{ratio:g}", {**FACES_ALONE, "mining_ratio": ratio}, ratio)


def landmark_arm(weight: float) -> Arm:
    """O-Net learns faces, boxes and, with this weight, landmarks.

    Without landmarks (weight 0) the batches are the same: their landmark samples are there without a label. So both
    arms see the same negatives, positives and parts, as many of them, in the same order.
    """
    label = f"landmarks × {weight:g}" if weight else "no landmarks"
    return Arm(label, f"landmarks-{weight:g}", {"heads": (FACE, BOX, replace(LANDMARKS, weight=weight))}, weight)


def photos_arm(share: float) -> Arm:
    """The default O-Net, with its own recipe, learns from this share of the training photos."""
    label = "all photos" if share == 1 else f"{share:.1%} of the photos"
    return Arm(label, f"photos-{share:g}", {}, share)


FACE_CURVE: Curves = {"validation, all samples": ("validation", "face")}
# What is minimised is the mean over the mined samples, so mined curves lie above unmined ones by construction.
MINED_CURVE: Curves = {"training, mined samples": ("face",)}
BOX_CURVE: Curves = {"validation, box regression": ("validation", "box")}

FACE_FIGURES = ("cross_entropy", "late_cross_entropy", "accuracy", "average_precision", "auc")
JOINT_FIGURES = (*FACE_FIGURES, "box_error", "iou")
# Those whose differences are printed; the JSON has all of them.
HEADLINES = ("late_cross_entropy", "average_precision", "iou", "cascade_ap", "cascade_recall_0.1")
CASCADE_FIGURES = ("cascade_ap", "cascade_recall", "cascade_recall_0.1", "cascade_recall_1")

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "mining",
            "O-Net of the paper, faces alone, with and without online hard sample mining",
            (mining_arm(1.0), mining_arm(0.7)),
            "no mining",
            FACE_FIGURES,
            {**FACE_CURVE, **MINED_CURVE},
        ),
        Experiment(
            "ratio",
            "O-Net of the paper, faces alone, by the share of a batch that is mined",
            tuple(mining_arm(ratio) for ratio in MINING_RATIOS),
            "no mining",
            FACE_FIGURES,
            FACE_CURVE,
            "share of the hardest samples mined",
            ("late_cross_entropy", "average_precision"),
        ),
        Experiment(
            "landmarks",
            "O-Net of the paper with and without the joint landmark task",
            (landmark_arm(0.0), landmark_arm(1.0)),
            "no landmarks",
            JOINT_FIGURES,
            {**FACE_CURVE, **BOX_CURVE},
        ),
        Experiment(
            "alpha",
            "O-Net of the paper by the weight of its landmark task",
            tuple(landmark_arm(weight) for weight in LANDMARK_WEIGHTS),
            "no landmarks",
            (*JOINT_FIGURES, "landmark_error"),
            FACE_CURVE,
            "weight of the landmark task",
            ("average_precision", "box_error", "landmark_error"),
        ),
        Experiment(
            "photos",
            "the default O-Net by the share of the training photos, all with the same number of steps",
            tuple(photos_arm(share) for share in PHOTO_SHARES),
            "all photos",
            FACE_FIGURES,
            FACE_CURVE,
            "share of the training photos",
            ("average_precision", "cascade_ap"),
        ),
    )
}
