"""Which faces a step learns from, and which are held out to measure on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import permutations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from train.attributes.features import CachedMaps, dequantise
from train.attributes.sources import AttributeSource
from train.attributes.store import UNKNOWN, LabelledCrops
from train.attributes.tasks import LabelTable, Task, TaskError, label_table
from train.common.checkpoints import TrainingError
from train.common.order import PoolOrder
from train.detection.augment import normalise
from train.recognition.augment import augment_pixels


@dataclass(frozen=True)
class Batch:
    """Inputs (n, C, side, side), maps of the trunk or crops in about -1..1; labels (n, tasks), −1 unknown."""

    inputs: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """A set in training: its crops, maps of the trunk if there is one, and which rows are for what."""

    source: AttributeSource
    crops: LabelledCrops
    maps: CachedMaps | None
    learned: NDArray[np.int64]
    measured: NDArray[np.int64]


def split(source: AttributeSource, crops: LabelledCrops, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of a set to learn from and to measure on, of those that ``where`` allows; the same for every seed."""
    allowed = np.ones(len(crops), bool)
    for attribute, texts in source.where.items():
        allowed &= np.isin(np.array(crops.label_texts(attribute), object), texts)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(allowed))
    if source.use == "validation":
        return rows[:0], np.sort(rows)
    held_out = round((share if source.validation is None else source.validation) * len(rows))
    return np.sort(rows[held_out:]), np.sort(rows[:held_out])


class LabelledFaces:
    """All sets of a run with the labels of its tasks: rows are numbered through the sets, one after another.

    labels    (N, tasks) int64, rows of the tasks' tables; −1 where a face has no label
    tables    the label tables of the tasks, counted over the rows to learn from
    """

    def __init__(self, sets: Sequence[LabelledSet], tasks: Sequence[Task]) -> None:
        _check_disjoint(sets)
        self.sets, self.tasks = sets, tasks
        self.starts = np.cumsum([0, *(len(each.crops) for each in sets)])
        texts = [[text for each in sets for text in each.crops.label_texts(task.attribute)] for task in tasks]
        self.learned, self.measured = (
            np.concatenate([start + getattr(each, name) for start, each in zip(self.starts, sets, strict=False)])
            for name in ("learned", "measured")
        )
        self.tables = [_table(task, known, self.learned) for task, known in zip(tasks, texts, strict=True)]
        self.labels = np.stack(
            [_numbers(table, known) for table, known in zip(self.tables, texts, strict=True)], axis=1
        )
        labelled = (self.labels != UNKNOWN).any(axis=1)
        self.learned = self.learned[labelled[self.learned]]
        self.measured = self.measured[labelled[self.measured]]
        if not len(self.learned):
            raise TrainingError("faces: none has a label of the tasks")

    def fingerprint(self) -> str:
        """SHA-256 of the tasks, the sources, their photos, and which of them are learned from and measured on."""
        about = {
            "tasks": [_told(task) for task in self.tasks],
            # photos are known by their own fingerprint, so their folder may move
            "sources": [_told(each.source, ("images", "labels", "about")) for each in self.sets],
            "photos": [each.crops.meta.get("photos") for each in self.sets],
            "names": [list(each.crops.names) for each in self.sets],
        }
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        for rows in (self.learned, self.measured):
            digest.update(f"{len(rows)} ".encode() + rows.astype("<i8").tobytes())
        return digest.hexdigest()

    def inputs(self, rows: NDArray[np.int64], views: NDArray[np.int64], seed: int | None = None) -> torch.Tensor:
        """The network's inputs for rows: cached maps of these views, or crops, augmented with the seed if there is one.

        Rows come back in their order.
        """
        number = np.searchsorted(self.starts, rows, side="right") - 1
        parts, places = [], []
        for at in np.unique(number):
            each = self.sets[at]
            for view in np.unique(views[number == at]):
                chosen = np.flatnonzero((number == at) & (views == view))
                chosen = chosen[np.argsort(rows[chosen], kind="stable")]
                local = rows[chosen] - self.starts[at]
                if each.maps is None:
                    parts.append(_crop_inputs(np.array(each.crops.crops[local]), seed))
                else:
                    parts.append(dequantise(torch.from_numpy(each.maps.take(local, int(view))), each.maps.scale))
                places.append(chosen)
        order = np.argsort(np.concatenate(places), kind="stable")
        return torch.cat(parts)[torch.from_numpy(order)].contiguous(memory_format=torch.channels_last)


def _check_disjoint(sets: Sequence[LabelledSet]) -> None:
    """Raises TrainingError if a photo is learned from through one entry of a set and measured on through another."""
    for one, other in permutations(sets, 2):
        if one.source.name == other.source.name and np.intersect1d(one.learned, other.measured).size:
            raise TrainingError(
                f"source {one.source.name}: one entry learns from photos that another one holds out; "
                "let `where` divide them"
            )


def _told(entry: Task | AttributeSource, but: Sequence[str] = ()) -> dict[str, Any]:
    """Its fields that are not as they are by default: a field that is new later changes nothing then."""
    values = {each.name: (getattr(entry, each.name), each.default) for each in fields(entry) if each.name not in but}
    return {name: value for name, (value, default) in values.items() if value != default}


def _crop_inputs(crops: NDArray[np.uint8], seed: int | None) -> torch.Tensor:
    pixels = crops if seed is None else augment_pixels(crops, seed)
    return normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())


def _table(task: Task, texts: Sequence[str | None], learned: NDArray[np.int64]) -> LabelTable:
    """The task's table of all labels; those that are only measured on count as one face."""
    counts = Counter(text for text in texts if text is not None)
    used = Counter(texts[row] for row in learned.tolist())
    try:
        return label_table(task, {text: max(1, used[text]) for text in counts})
    except TaskError as error:
        raise TrainingError(f"task {task.name}: {error}") from error


def _numbers(table: LabelTable, texts: Sequence[str | None]) -> NDArray[np.int64]:
    numbers: dict[str | None, int] = {text: at for at, text in enumerate(table.texts)}
    return np.array([numbers.get(text, UNKNOWN) for text in texts], np.int64)


class AttributeBatches:
    """Endless batches of the faces to learn from, in a random order; a batch depends on the seed and the step alone."""

    def __init__(self, faces: LabelledFaces, batch: int, views: int, seed: int) -> None:
        self.faces, self.batch, self.views, self.seed = faces, batch, views, seed
        self._order = PoolOrder([faces.learned], seed)

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step: always the same one."""
        rows = self._order.take(0, step, self.batch)
        seed = self.seed * 1_000_003 + step
        views = np.random.default_rng(seed).integers(self.views, size=len(rows))
        return Batch(self.faces.inputs(rows, views, seed), torch.from_numpy(self.faces.labels[rows]))
