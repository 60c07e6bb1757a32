"""Learning from a larger network of the same stage as well as from the labels: distillation (Hinton et al. 2015).

The teacher sees the same augmented crop as the network that learns, or more around the same window. It has an answer
for what has no label, too: how likely a window is a face that overlaps one by less than a positive sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional as F

from cascade.models.detector import load_stage
from cascade.models.files import WeightsError
from cascade.nn.architectures import Architecture
from cascade.nn.heads import FACE, Head, head_slices, layout
from cascade.nn.torch_network import from_tensors
from train.common.checkpoints import TrainingError
from train.detection.labels import NEGATIVE
from train.detection.losses import LOSSES, loss_origin, mine


class Teacher:
    """The network of a weight file, and the middle of its inputs, which a network of ``architecture`` sees."""

    def __init__(self, file: Path | str, architecture: Architecture, device: torch.device) -> None:
        """Raises TrainingError for a file that cannot be read, and for a network that sees other windows or less."""
        try:
            stored = load_stage(file, architecture.stage)
        except WeightsError as error:
            raise TrainingError(f"teacher: {error}") from error
        self.architecture = stored.architecture
        self._beyond, odd = divmod(self.architecture.input_size - architecture.input_size, 2)
        if self.architecture.window != architecture.window or self._beyond < 0 or odd:
            raise TrainingError(
                f"teacher: {file} sees {self.architecture.input_size} pixels around a window of "
                f"{self.architecture.window:g}, the network to train {architecture.input_size} around "
                f"{architecture.window:g}"
            )
        tensors = {name: torch.from_numpy(values) for name, values in stored.tensors.items()}
        self.network = from_tensors(self.architecture, tensors)
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the teacher says, (n, outputs) float32, of its inputs (n, 3, size, size) in about -1..1."""
        outputs: torch.Tensor = self.network(inputs)
        return outputs.flatten(1).float()

    def middle(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs (n, 3, size, size) of the network that learns, in the middle of the teacher's."""
        inside = slice(self._beyond, inputs.shape[-1] - self._beyond)
        return inputs[:, :, inside, inside].contiguous(memory_format=torch.channels_last)


def distillation_loss(
    outputs: torch.Tensor,
    taught: torch.Tensor,
    kinds: torch.Tensor,
    heads: Sequence[Head],
    teacher_heads: Sequence[Head],
    mining_ratio: float = 0.7,
) -> torch.Tensor:
    """How far ``outputs`` (n, outputs) are from the teacher's, ``taught``: a scalar, Σ_j α_j of the loss of each head.

    For the face this is the Kullback-Leibler divergence, of which the share ``mining_ratio`` of the samples takes part,
    as in the labels' loss; for the other heads it is their own loss, over all samples but negatives, by ``kinds`` (n,)
    int64. Heads that the teacher lacks, and those that classify anything else than faces, are left out.
    """
    places, theirs = head_slices(heads), head_slices(teacher_heads)
    rows = torch.nonzero(kinds != NEGATIVE)[:, 0].to(outputs.device, non_blocking=True)
    total = outputs.new_zeros(())
    for head in heads:
        if not head.weight or (head.name, head.width) not in layout(teacher_heads):
            continue
        ours, told = outputs[:, places[head.name]], taught[:, theirs[head.name]]
        if head.name == FACE.name:
            logs, truth = F.log_softmax(ours, dim=1), F.log_softmax(told, dim=1)
            losses = mine((truth.exp() * (truth - logs)).sum(dim=1), mining_ratio)
        elif len(rows) and head.loss != "cross_entropy":
            origin = loss_origin(head, outputs)
            losses = LOSSES[head.loss](ours[rows], told[rows] + origin, origin)
        else:
            continue
        total = total + head.weight * losses.mean()
    return total
