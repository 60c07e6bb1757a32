"""What a step learns from: which samples, and how they become network inputs."""

from __future__ import annotations

import numpy as np
import torch

from cascade.nn.architectures import Architecture
from train.common.order import PoolOrder, batch_counts
from train.detection.augment import crop_randomly, mirror, normalise, occlude, recolour
from train.detection.labels import KINDS
from train.detection.sample_store import Samples
from train.detection.settings import TrainSettings

# Crops or network inputs (n, …), kinds (n,) and targets (n, columns) of one step.
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Batches:
    """Endless batches in the ratio of the settings; each kind is gone through in its own random order.

    A batch has as many samples as the settings say. It depends on the seed and the step alone, so that a resumed run
    sees the same batches.
    """

    def __init__(
        self,
        samples: Samples,
        indices: np.ndarray,
        settings: TrainSettings,
        architecture: Architecture,
        device: torch.device,
    ) -> None:
        self.samples, self.settings, self.architecture, self.device = samples, settings, architecture, device
        kinds = samples.kinds[indices]
        pools = [indices[kinds == kind] for kind in range(len(KINDS))]
        self.counts = batch_counts(settings.batch, settings.ratio, pools, "samples")
        self._order = PoolOrder(pools, settings.seed)

    def prepare(self, step: int) -> Batch:
        """What the background prepares of a step: all of it on the CPU, where it is the other half of the work.

        A GPU's samples are only read: two threads that start its work are slower than one.
        """
        if self.device.type == "cpu":
            return self.inputs(self.read(step), step)
        crops, kinds, targets = self.read(step)
        return crops.pin_memory(), kinds, targets.pin_memory()

    def to_device(self, batch: Batch, step: int) -> Batch:
        """The rest of `prepare`: inputs (n, 3, size, size), kinds (n,) and targets on the device."""
        return batch if self.device.type == "cpu" else self.inputs(batch, step)

    def read(self, step: int) -> Batch:
        """Crops (n, side, side, 3) uint8, kinds (n,) and targets (n, columns) of one step.

        The kinds come in random order, so that the crops that augmentation treats alike are of all kinds.
        """
        rng = np.random.default_rng([self.settings.seed, len(KINDS), step])
        kinds = rng.permutation(np.repeat(np.arange(len(KINDS)), self.counts))
        indices = np.empty(len(kinds), np.int64)
        for kind, count in enumerate(self.counts):
            indices[kinds == kind] = self._order.take(kind, step, count)
        # sorted reads are kinder to the disk than random ones
        order = np.argsort(indices, kind="stable")
        crops = np.empty((len(indices), *self.samples.crops.shape[1:]), np.uint8)
        crops[order] = self.samples.crops[indices[order]]
        return (
            torch.from_numpy(crops),
            torch.from_numpy(self.samples.kinds[indices].astype(np.int64)),
            torch.from_numpy(self.samples.targets[indices]),
        )

    def inputs(self, batch: Batch, step: int) -> Batch:
        """Network inputs and targets on the device, and the kinds, for which nothing then has to wait, on the CPU."""
        crops, targets = (tensor.to(self.device, non_blocking=True) for tensor in (batch[0], batch[2]))
        generator = torch.Generator(self.device).manual_seed(self.settings.seed * 1_000_003 + step)
        augmenting = generator if self.settings.augment else None
        inputs, targets = network_inputs(crops, targets, self.architecture, augmenting)
        return inputs.contiguous(memory_format=torch.channels_last), batch[1], targets


def network_inputs(
    crops: torch.Tensor, targets: torch.Tensor, architecture: Architecture, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Network inputs and targets from stored crops; augmented if there is a generator."""
    size, window = architecture.input_size, architecture.window
    if generator is None:
        margin = (crops.shape[1] - size) // 2
        inner = crops[:, margin : margin + size, margin : margin + size].permute(0, 3, 1, 2)
        return normalise(inner.float()), targets
    crops, targets = crop_randomly(crops, targets, size, window, generator)
    mirrored = torch.rand(len(crops), generator=generator, device=generator.device) < 0.5
    crops, targets = mirror(crops, targets, mirrored)
    return normalise(occlude(recolour(crops, generator), generator)), targets


def split(samples: Samples, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation indices; the validation part is the last one.

    Samples lie photo by photo, so one photo at most has samples in both parts.
    """
    cut = int(len(samples) * (1 - share))
    return np.arange(cut), np.arange(cut, len(samples))
