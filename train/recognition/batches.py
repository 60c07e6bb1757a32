"""Which faces a step learns from, and which are kept out to measure on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from train.augment import normalise
from train.loop import TrainingError
from train.progress import PoolOrder
from train.recognition.augment import augment
from train.recognition.crops import FaceCrops
from train.recognition.settings import RecognitionSettings

BLENDS = "blends"


@dataclass(frozen=True)
class Batch:
    """Inputs (n, 3, 112, 112) in about -1..1, persons (n,) with -1, ages (n,) with NaN, teacher (n, D) or None."""

    inputs: torch.Tensor
    persons: torch.Tensor
    ages: torch.Tensor
    teacher: torch.Tensor | None


def split(faces: FaceCrops, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from and rows to measure on: whole persons, and of faces without a name a share.

    The same for every seed of a run. No blend is measured on.
    """
    rng = np.random.default_rng(0)
    persons = np.unique(faces.persons[faces.persons >= 0])
    kept_out = rng.permutation(persons)[: round(share * len(persons))]
    measured = np.isin(faces.persons, kept_out) & (faces.persons >= 0)
    blends = [number for number, kind in enumerate(faces.meta["kinds"]) if kind == BLENDS]
    nameless = np.flatnonzero((faces.persons < 0) & ~np.isin(faces.sources, blends))
    measured[rng.permutation(nameless)[: round(share * len(nameless))]] = True
    return np.flatnonzero(~measured), np.flatnonzero(measured)


class FaceBatches:
    """Endless batches in the shares of the settings; each pool is gone through in its own random order.

    What a batch holds depends on the seed and the step alone, so that a resumed run sees the same batches. Of
    ``world`` processes each takes its part.
    """

    def __init__(
        self, faces: FaceCrops, rows: NDArray[np.int64], settings: RecognitionSettings, rank: int = 0, world: int = 1
    ) -> None:
        self.faces, self.settings, self.rank, self.world = faces, settings, rank, world
        blends = [number for number, kind in enumerate(faces.meta["kinds"]) if kind == BLENDS]
        named, aged = faces.persons[rows] >= 0, ~np.isnan(faces.ages[rows])
        blend = np.isin(faces.sources[rows], blends)
        pools = [named, aged & ~named, ~named & ~aged & ~blend, blend & ~named]
        if settings.lambda_distillation == 0 or faces.embeddings is None:
            pools[2:] = [np.zeros_like(named)] * 2  # nothing to learn from faces without a label
        self.pools = [rows[pool] for pool in pools]
        shares = [part if len(pool) else 0 for part, pool in zip(settings.shares, self.pools, strict=True)]
        if not sum(shares):
            raise TrainingError("faces: there is nothing to learn from")
        counts = [settings.batch * part // sum(shares) for part in shares]
        counts[int(np.argmax(shares))] += settings.batch - sum(counts)
        self.counts = counts
        self._order = PoolOrder(self.pools, settings.seed)
        numbers = np.unique(faces.persons[rows][named])
        self.persons = len(numbers)
        self._person = np.full(int(faces.persons.max(initial=-1)) + 2, -1)
        self._person[numbers] = np.arange(self.persons)

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, augmented as the settings say: the same whenever it is made."""
        rows = np.concatenate([self._order.take(pool, step, count) for pool, count in enumerate(self.counts)])
        rows = np.sort(rows)[self.rank :: self.world]
        inputs = torch.from_numpy(self.faces.crops[rows]).permute(0, 3, 1, 2).float()
        if self.settings.augment:
            seed = (self.settings.seed * self.world + self.rank) * 1_000_003 + step
            inputs = augment(inputs, torch.Generator().manual_seed(seed))
        teacher = None
        if self.settings.lambda_distillation and self.faces.embeddings is not None:
            teacher = torch.from_numpy(self.faces.embeddings[rows])
        persons = torch.from_numpy(self._person[self.faces.persons[rows]])
        inputs = normalise(inputs).contiguous(memory_format=torch.channels_last)
        return Batch(inputs, persons, torch.from_numpy(self.faces.ages[rows]), teacher)
