"""The networks of Table 1 of Zhang et al. (2016): theirs, and those of the older cascade that they replace.

12-net, 24-net and 48-net are from Li et al., "A Convolutional Neural Network Cascade for Face Detection" (CVPR 2015),
figure 2. As in the paper's comparison they stand alone, without the multi-resolution concatenation of the smaller
net's features and without the calibration nets. 48-net's two local response normalisations are left out; where batch
normalisation is asked for, the networks of both families get it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cascade.nn.architectures import PAPER, STAGES, Architecture, Layer, Stage
from cascade.nn.heads import FACE

OLDER_FAMILY, PAPER_FAMILY = "older-cascade", "paper-faces"

_POOL = Layer("pool", 3, 2)
# Six outputs, as a detector's network has at least; only those of the face learn.
_HEADS = Layer("conv", 1, channels=6)


def _relu(channels: int, kernel: int) -> Layer:
    return Layer("conv", kernel, channels=channels, activation="relu")


OLDER: dict[str, Architecture] = {
    "pnet": Architecture(OLDER_FAMILY, "pnet", 12, 12, (_relu(16, 3), _POOL, _relu(16, 5), _HEADS)),
    "rnet": Architecture(OLDER_FAMILY, "rnet", 24, 24, (_relu(64, 5), _POOL, _relu(128, 10), _HEADS)),
    "onet": Architecture(
        OLDER_FAMILY, "onet", 48, 48, (_relu(64, 5), _POOL, _relu(64, 5), _POOL, _relu(256, 9), _HEADS)
    ),
}
"""12-net, 24-net and 48-net by the stage whose place they have."""

FAMILIES: dict[str, dict[str, Architecture]] = {
    OLDER_FAMILY: OLDER,
    PAPER_FAMILY: {stage: PAPER[stage].without_landmarks() for stage in STAGES},
}


@dataclass(frozen=True)
class Published:
    """A row of Table 1 as the paper has it: seconds of 300 forward passes, and validation accuracy."""

    name: str
    seconds: float
    accuracy: float


PUBLISHED: dict[tuple[str, Stage], Published] = {
    (OLDER_FAMILY, "pnet"): Published("12-Net", 0.038, 0.944),
    (PAPER_FAMILY, "pnet"): Published("P-Net", 0.031, 0.946),
    (OLDER_FAMILY, "rnet"): Published("24-Net", 0.738, 0.951),
    (PAPER_FAMILY, "rnet"): Published("R-Net", 0.458, 0.954),
    (OLDER_FAMILY, "onet"): Published("48-Net", 3.577, 0.932),
    (PAPER_FAMILY, "onet"): Published("O-Net", 1.347, 0.954),
}
"""By family and stage; measured by the authors on other hardware and on their own validation samples."""


def labels_only(architecture: Architecture) -> Architecture:
    """The network with the two outputs of face classification, which is what is timed."""
    return architecture.with_heads((FACE,))
