"""Which faces a step learns from, and which ages it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cascade.age_groups import AGE_GROUPS, group_numbers
from cascade.imaging.pasting import mirrored_crops
from cascade.models.aging import anchor_shares
from train.attributes.pack import pack_source
from train.attributes.sources import AttributeSource
from train.attributes.store import LabelledCrops
from train.common.checkpoints import TrainingError
from train.common.device import Processes
from train.common.order import PoolOrder
from train.detection.augment import normalise
from train.synthesis.settings import ANCHORS, SynthesisSettings

GROUPS = AGE_GROUPS["nine"]
OFTEN = np.array([2, 1.5, 1, 1, 1, 1, 1, 1.5, 3])  # how often each anchor is asked for: the outer ones are the hardest
HELD_OUT = 0.02  # share of the faces that a run is measured on


@dataclass(frozen=True)
class Batch:
    """A step's faces and what is asked for.

    crops     (n, 3, size, size) in about -1..1
    ages      (n,) in years; those of a group are its anchor
    targets   (n,) in years, the ages asked for
    genders   (n,) 0 male, 1 female, -1 unknown
    """

    crops: torch.Tensor
    ages: torch.Tensor
    targets: torch.Tensor
    genders: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def packed_sets(
    sources: Sequence[AttributeSource], root: Path, folder: Path, workers: int, processes: Processes
) -> list[LabelledCrops]:
    """The sets in ``folder``, which the first process packs for all. Raises what `pack_source` does."""
    return processes.after_first(
        lambda: [pack_source(each, root, folder / each.name, workers, mirrored_crops) for each in sources]
    )


class AgedFaces:
    """All faces of known age of some packed sets, drawn evenly over the age groups.

    Raises TrainingError if a group has no faces.
    """

    def __init__(
        self, sets: Sequence[LabelledCrops], settings: SynthesisSettings, rank: int = 0, world: int = 1
    ) -> None:
        self.sets, self.settings, self.rank, self.world = sets, settings, rank, world
        self.starts = np.cumsum([0, *map(len, sets)])
        self.ages = np.concatenate([years(each) for each in sets])
        self.genders = np.concatenate([genders(each) for each in sets])
        found = np.concatenate([each.found for each in sets])
        known = np.flatnonzero(found & ~np.isnan(self.ages))
        rows = np.random.default_rng(0).permutation(known)
        held_out = max(1, round(HELD_OUT * len(rows)))
        self.measured, self.learned = np.sort(rows[:held_out]), np.sort(rows[held_out:])
        self._order = PoolOrder(age_pools(self.ages, self.learned), settings.seed)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def crops(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The crops (n, size, size, 3) of rows."""
        which = np.searchsorted(self.starts, rows, side="right") - 1
        found = [self.sets[at].crops[row - self.starts[at]] for at, row in zip(which, rows, strict=True)]
        return resized(np.stack(found), self.settings.size)

    def batch(self, step: int) -> Batch:
        """The batch of a step, always the same one; each process of several has its own."""
        settings = self.settings
        place = step * self.world + self.rank
        rng = np.random.default_rng([settings.seed, place])
        rows = self._rows(place, rng)
        targets = asked_ages(self.ages[rows], settings.own, rng)
        crops = self.crops(rows)
        mirrored = rng.random(len(rows)) < 0.5
        crops[mirrored] = crops[mirrored, :, ::-1]
        inputs = normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
        ages, asked = (torch.from_numpy(each.astype(np.float32)) for each in (self.ages[rows], targets))
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return Batch(inputs, ages, asked, torch.from_numpy(self.genders[rows]))

    def _rows(self, place: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """As many of each group, shuffled; what is left over goes to the groups in turn."""
        groups, batch = len(GROUPS), self.settings.batch
        most = -(-batch // groups)
        rows = np.stack([self._order.take(group, place, most) for group in range(groups)], axis=1).ravel()
        return np.asarray(rng.permutation(np.roll(rows, -place)[:batch]))


def age_pools(ages: NDArray[np.floating], rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each age group. Raises TrainingError if a group has none."""
    numbers = group_numbers(ages[rows], GROUPS)
    pools = [rows[numbers == number] for number in range(len(GROUPS))]
    for (name, _, _), pool in zip(GROUPS, pools, strict=True):
        if not len(pool):
            raise TrainingError(f"faces: none in the age group {name}")
    return pools


def asked_ages(ages: NDArray[np.floating], own: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Ages to ask for, up to half way to the next anchor, by `OFTEN`; a share ``own`` are the faces' own."""
    anchors = np.array(ANCHORS)
    middles = (anchors[1:] + anchors[:-1]) / 2
    edges = np.concatenate([anchors[:1], middles, anchors[-1:]])
    groups = rng.choice(len(anchors), len(ages), p=OFTEN / OFTEN.sum())
    targets = edges[groups] + rng.random(len(ages)) * (edges[groups + 1] - edges[groups])
    asked: NDArray[np.float64] = np.where(rng.random(len(ages)) < own, np.clip(ages, anchors[0], anchors[-1]), targets)
    return asked


def years(crops: LabelledCrops) -> NDArray[np.float64]:
    """The age of each face: as labelled, or the anchor of the group that its label is; NaN where unknown."""
    known = {name: anchor for (name, _, _), anchor in zip(GROUPS, ANCHORS, strict=True)}
    found = []
    for text in crops.label_texts("age"):
        found.append(np.nan if text is None else known[text] if text in known else float(text))
    return np.array(found)


def genders(crops: LabelledCrops) -> NDArray[np.int64]:
    """The gender of each face: 0 male, 1 female, -1 unknown."""
    known: dict[str | None, int] = {"male": 0, "female": 1}
    return np.array([known.get(text, -1) for text in crops.label_texts("gender")], np.int64)


def shares(ages: torch.Tensor) -> torch.Tensor:
    """The anchors' shares (n, anchors) of ages (n,)."""
    return torch.from_numpy(anchor_shares(ages.cpu().numpy(), ANCHORS)).to(ages.device)


def resized(crops: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Crops at another size, averaged."""
    if crops.shape[1] == size:
        return crops
    return np.stack([np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BOX)) for crop in crops])
