"""Which faces a step learns from, and which are held out to measure on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cascade.datasets import read_photo_list
from train.common.checkpoints import TrainingError
from train.common.order import PoolOrder, batch_counts
from train.detection.augment import normalise
from train.recognition.augment import augment
from train.recognition.crops import FaceCrops
from train.recognition.settings import RecognitionSettings
from train.recognition.yaw_rotation import rotate_frontal

BLEND_SHARES = (0.3, 0.7)  # of one face in the average of two
RESIDENT = 0.5  # of a GPU's free memory that the faces may take; larger sets stay on disk


@dataclass(frozen=True)
class Answer:
    """A teacher's outputs for the augmented faces of a batch: embeddings (n, D) of length 1, and maps."""

    embeddings: torch.Tensor
    maps: Sequence[torch.Tensor]

    def to(self, device: torch.device, non_blocking: bool = False) -> Answer:
        """The same on a device."""
        moved = [x.to(device, non_blocking=non_blocking) for x in (self.embeddings, *self.maps)]
        return Answer(moved[0], moved[1:])


@dataclass(frozen=True)
class Batch:
    """Inputs (n, 3, 112, 112) in about -1..1, persons (n,) with -1, ages (n,) with NaN, teacher (n, D) or None.

    Inputs may be features of the frozen stages instead, with an answer that was cached with them. The teacher's
    embeddings are those of the faces as they are, without augmentation, and 0 for an average of two.
    """

    inputs: torch.Tensor
    persons: torch.Tensor
    ages: torch.Tensor
    teacher: torch.Tensor | None
    answer: Answer | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        if device.type == "cpu":
            return self
        there = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(self, **{name: found.to(device, non_blocking=True) for name, found in there.items()})


class Features(Protocol):
    """Where batches take features from instead of crops."""

    def take(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[torch.Tensor, Answer | None]:
        """Features of these faces, with a teacher's answer if it was at hand."""


def split(faces: FaceCrops, share: float, held_out: Sequence[str] = ()) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from and rows to measure on: all faces of some persons, and a share of those without a name.

    ``held_out`` are files that name persons to measure on, one a line; of sources with none of them, and without files,
    it is a share of the persons. The same for every seed of a run. Raises TrainingError for a file that cannot be read
    or that names nobody here.
    """
    rng = np.random.default_rng(0)
    persons = np.unique(faces.persons[faces.persons >= 0])
    chosen = _held_out(faces, share, held_out) if held_out else rng.permutation(persons)[: round(share * len(persons))]
    measured = np.isin(faces.persons, chosen) & (faces.persons >= 0)
    nameless = np.flatnonzero(faces.persons < 0)
    measured[rng.permutation(nameless)[: round(share * len(nameless))]] = True
    return np.flatnonzero(~measured), np.flatnonzero(measured)


def _held_out(faces: FaceCrops, share: float, files: Sequence[str]) -> NDArray[np.int64]:
    """The numbers of the persons whom these files name, and of a share of those of each source with none of them."""
    listed = np.array(_listed(faces, files), np.int64)
    found = [listed]
    for source in np.unique(faces.sources).tolist():
        persons = np.unique(faces.persons[(faces.sources == source) & (faces.persons >= 0)])
        if not np.isin(persons, listed).any():
            shuffled = np.random.default_rng([0, source]).permutation(persons)
            found.append(shuffled[: round(share * len(persons))].astype(np.int64))
    return np.concatenate(found)


def _listed(faces: FaceCrops, files: Sequence[str]) -> list[int]:
    """The numbers of the persons whom these files name."""
    numbers = {name: number for number, name in enumerate(faces.meta["persons"])}
    found: list[int] = []
    for file in files:
        try:
            known = [numbers[name] for name in read_photo_list(file) if name in numbers]
        except (OSError, ValueError) as error:
            raise TrainingError(f"held_out: {error}") from error
        if not known:
            raise TrainingError(f"held_out: {file} names nobody among the faces")
        found += known
    return found


class FaceBatches:
    """Endless batches in the shares of the settings; each pool is gone through in its own random order.

    A batch depends on the seed and the step alone, so that a resumed run sees the same batches. Each of ``world``
    processes takes its part. On a GPU the faces are stored and augmented there. Averages of two faces come only with
    ``blends``. With ``features`` these are the inputs instead of crops; an attribute, since they are computed with a
    model whose size depends on the persons here.
    """

    def __init__(
        self,
        faces: FaceCrops,
        rows: NDArray[np.int64],
        settings: RecognitionSettings,
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
        blends: bool = False,
    ) -> None:
        if settings.profiles and faces.yaws is None:
            raise TrainingError("profiles: the yaws of these faces are not known; cut them again")
        self.faces, self.settings, self.rank, self.world = faces, settings, rank, world
        self.device = device or torch.device("cpu")
        named, aged = faces.persons[rows] >= 0, ~np.isnan(faces.ages[rows])
        pools = [named, aged & ~named, ~named & ~aged, np.full_like(named, blends)]
        if settings.lambda_distillation == 0 or faces.embeddings is None:
            pools[2:] = [np.zeros_like(named)] * 2  # nothing to learn from faces without a label
        self.pools = [rows[pool] for pool in pools]
        self.counts = batch_counts(settings.batch, settings.shares, self.pools, "faces")
        self._order = PoolOrder(self.pools, settings.seed)
        numbers = np.unique(faces.persons[rows][named])
        self.persons = len(numbers)
        self._person = np.full(int(faces.persons.max(initial=-1)) + 2, -1)
        self._person[numbers] = np.arange(self.persons)
        self._resident = self._on_gpu()
        self.features: Features | None = None

    def mean_by_person(self, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> torch.Tensor:
        """The means (persons, D) of the vectors (all faces, D) of each person whom these rows show."""
        named = rows[self.faces.persons[rows] >= 0]
        numbers = self._person[self.faces.persons[named]]
        sums = np.zeros((self.persons, vectors.shape[1]), np.float32)
        np.add.at(sums, numbers, vectors[named])
        return torch.from_numpy(sums / np.bincount(numbers, minlength=self.persons)[:, None].astype(np.float32))

    def _on_gpu(self) -> torch.Tensor | None:
        """All crops in the memory of the GPU, if they are to be computed with there and fit."""
        if self.device.type != "cuda" or self.faces.crops.nbytes > RESIDENT * torch.cuda.mem_get_info(self.device)[0]:
            return None
        return torch.from_numpy(np.array(self.faces.crops)).to(self.device)

    def _crops(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """(n, 3, 112, 112) in 0..255 on the device."""
        if self._resident is not None:
            found = self._resident[torch.from_numpy(rows).to(self.device)]
        else:
            found = torch.from_numpy(self.faces.crops[rows]).to(self.device)
        return found.permute(0, 3, 1, 2).float()

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, augmented as the settings say: always the same one."""
        taken = [self._order.take(pool, step, count) for pool, count in enumerate(self.counts)]
        rows, blended = np.concatenate(taken), np.repeat([False, False, False, True], self.counts)
        others = np.concatenate([*taken[:3], np.roll(taken[3], 1)])  # whom a face is averaged with
        mine = np.argsort(rows, kind="stable")[self.rank :: self.world]
        rows, blended, others = rows[mine], blended[mine], others[mine]
        seed = (self.settings.seed * self.world + self.rank) * 1_000_003 + step
        answer = None
        if self.features is None:
            inputs = self._augmented_crops(rows, others, blended, seed)
        else:
            inputs, answer = self.features.take(rows, np.random.default_rng(seed))
        teacher = None
        if self.settings.lambda_distillation and self.faces.embeddings is not None:
            teacher = torch.from_numpy(np.where(blended[:, None], np.float32(0), self.faces.embeddings[rows]))
        persons = torch.from_numpy(np.where(blended, -1, self._person[self.faces.persons[rows]]))
        ages = torch.from_numpy(np.where(blended, np.float32(np.nan), self.faces.ages[rows]))
        return Batch(inputs, persons, ages, teacher, answer)

    def _augmented_crops(
        self, rows: NDArray[np.int64], others: NDArray[np.int64], blended: NDArray[np.bool_], seed: int
    ) -> torch.Tensor:
        """Inputs (n, 3, 112, 112), of which the ``blended`` ones are averages with the ``others``."""
        generator = torch.Generator(self.device).manual_seed(seed)
        inputs = self._crops(rows)
        if self.settings.profiles and self.faces.yaws is not None:
            inputs = rotate_frontal(inputs, self.faces.yaws[rows], self.settings.profiles, generator)
        if blended.any():
            at = torch.from_numpy(np.flatnonzero(blended)).to(self.device)
            inputs[at] = _average(inputs[at], self._crops(others[blended]), generator)
        if self.settings.augment:
            inputs = augment(inputs, generator)
        return normalise(inputs).contiguous(memory_format=torch.channels_last)


def _average(crops: torch.Tensor, others: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Weighted averages of two faces each: faces of nobody."""
    low, high = BLEND_SHARES
    share = low + (high - low) * torch.rand((len(crops), 1, 1, 1), generator=generator, device=generator.device)
    return share * crops + (1 - share) * others
