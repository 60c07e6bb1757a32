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
from cascade.nn.heads import FACE, Head, head_slices
from cascade.nn.torch_network import from_tensors
from train.common.checkpoints import TrainingError
from train.detection.labels import NEGATIVE
from train.detection.losses import LOSSES, loss_origin, mine


class Teacher:
    """The network of a weight file, and the middle of its inputs, which a network of ``architecture`` sees."""

    def __init__(self, file: Path | str, architecture: Architecture, device: torch.device) -> None:
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
        self._network = from_tensors(self.architecture, tensors)
        self._network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the teacher says (n, outputs) of its inputs (n, 3, size, size)."""
        outputs: torch.Tensor = self._network(inputs)
        return outputs.flatten(1).float()

    def middle(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs of the network that learns, in the middle of the teacher's."""
        inside = slice(self._beyond, inputs.shape[-1] - self._beyond)
        return inputs[:, :, inside, inside].contiguous(memory_format=torch.channels_last)


def distillation_loss(
    outputs: torch.Tensor,
    taught: torch.Tensor,
    kinds: torch.Tensor,
    heads: Sequence[Head],
    mining_ratio: float = 0.7,
) -> torch.Tensor:
    """Σ_j α_j of how far each head of ``outputs`` (n, outputs) is from the teacher's, ``taught`` (n, outputs).

    For the face this is the Kullback-Leibler divergence, mined as the labels' loss is; for the other heads it is their
    own loss, over all samples but negatives. Heads that the teacher lacks are left out.
    """
    places, known = head_slices(heads), taught.shape[1]
    rows = torch.nonzero(kinds != NEGATIVE)[:, 0].to(outputs.device, non_blocking=True)
    total = outputs.new_zeros(())
    for head in heads:
        place = places[head.name]
        if not head.weight or place.stop > known:
            continue
        if head.name == FACE.name:
            logs, truth = (F.log_softmax(values[:, place], dim=1) for values in (outputs, taught))
            losses = mine((truth.exp() * (truth - logs)).sum(dim=1), mining_ratio)
        elif len(rows):
            origin = loss_origin(head, outputs)
            losses = LOSSES[head.loss](outputs[rows, place], taught[rows, place] + origin, origin)
        else:
            continue
        total = total + head.weight * losses.mean()
    return total
