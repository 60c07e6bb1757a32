"""The recipe of the default weights, stage by stage; `python -m train cascade` runs it all."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cascade.nn.architectures import STAGES, Stage
from cascade.nn.heads import BOX, FACE, LANDMARKS
from train.detection.samples import SampleSettings
from train.detection.settings import TrainSettings, paper_preset


@dataclass(frozen=True)
class StagePreset:
    """How one stage gets its samples and learns from them."""

    samples: SampleSettings
    training: TrainSettings


# Deviations from the paper, each because it measured better: windows are compared with the square about a face (a
# square window cannot overlap an upright face by much more than 0.75 otherwise), and P-Net, whose stride is 4 pixels,
# takes windows as positive from 0.5 on, since the best window on its grid often overlaps no more.
#
# Photos are rotated and cut at random for robustness: heads lean and borders cut faces off oftener in use than in the
# annotated sets. L-Net needs none of that, as its crops are aligned.
DEFAULT: dict[Stage, StagePreset] = {
    "pnet": StagePreset(
        SampleSettings(
            "pnet", passes=2, photo_changes=True, square_ground_truth=True, positive_iou=0.5, negatives_per_photo=150
        ),
        TrainSettings(
            "pnet",
            steps=10_000,
            batch=896,
            learning_rate=3e-3,
            # an IoU loss pulls harder than the paper's squares; landmarks only help the shared layers along here
            heads=(FACE, replace(BOX, loss="iou"), replace(LANDMARKS, weight=0.25)),
        ),
    ),
    "rnet": StagePreset(
        SampleSettings(
            "rnet", passes=2, photo_changes=True, square_ground_truth=True, negatives_per_photo=120, margin=2
        ),
        TrainSettings("rnet", steps=6_000, batch=896, learning_rate=3e-3),
    ),
    "onet": StagePreset(
        SampleSettings(
            "onet",
            passes=2,
            photo_changes=True,
            square_ground_truth=True,
            positive_iou=0.5,
            negatives_per_photo=120,
            landmark_windows=6,
            rotated_windows=8,
            proposal_threshold=0.15,
            margin=4,
        ),
        TrainSettings(
            "onet",
            steps=10_000,
            batch=448,
            learning_rate=2e-3,
            # the wing loss pulls a hundred times harder than the paper's squares, on the same shared layers
            heads=(FACE, replace(BOX, loss="iou"), replace(LANDMARKS, loss="wing", weight=0.3)),
        ),
    ),
    "lnet": StagePreset(
        SampleSettings("lnet", landmark_windows=32, margin=2),
        TrainSettings("lnet", steps=14_000, batch=256, learning_rate=1.5e-3).with_heads(
            {"landmarks": {"loss": "wing"}}
        ),
    ),
}


def paper(stage: Stage, samples: int) -> StagePreset:
    """The paper's networks, overlaps and recipe. ``samples`` is the number of training samples.

    The paper learns landmarks from CelebA's 200,000 faces; a smaller set gives more windows of each face. Raises
    ValueError for a network that the paper does not have.
    """
    if stage not in STAGES:
        raise ValueError(f"stage: expected {', '.join(STAGES)}, the networks of the paper, got {stage!r}")
    landmark_windows = 8 if stage == "onet" else 0
    return StagePreset(
        SampleSettings(stage, family="paper", landmark_windows=landmark_windows), paper_preset(stage, samples)
    )


__all__ = ["DEFAULT", "STAGES", "StagePreset", "paper"]
