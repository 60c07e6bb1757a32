"""The store of attribute faces: a folder for each set, with aligned crops and what the set says of them.

A set's folder holds
    crops.npy    (n, side, side, 3) uint8 RGB, memory-mapped
    labels.npy   (n, K) int16: numbers of label texts of each of K attributes; -1 where unknown
    found.npy    (n,) bool: whether the detector found the face; otherwise it is aligned as the set's others are
    meta.json    names of the attributes, their label texts, names of the photos, and what was left out
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class LabelledCrops:
    """An open set; `crops` stays on disk.

    texts   for each attribute the label texts that its numbers stand for
    """

    crops: NDArray[np.uint8]
    labels: NDArray[np.int16]
    found: NDArray[np.bool_]
    texts: Mapping[str, Sequence[str]]
    names: Sequence[str]
    meta: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.crops)

    def __post_init__(self) -> None:
        rows = {len(self.crops), len(self.labels), len(self.found), len(self.names)}
        if len(rows) != 1 or self.labels.shape[1:] != (len(self.texts),) or self.crops.dtype != np.uint8:
            raise ValueError(f"packed faces: arrays do not fit: rows {sorted(rows)}, labels {self.labels.shape}")

    def label_texts(self, attribute: str) -> list[str | None]:
        """The label of each face, None where it is unknown."""
        if attribute not in self.texts:
            return [None] * len(self)
        column, texts = list(self.texts).index(attribute), self.texts[attribute]
        return [None if number == UNKNOWN else texts[number] for number in self.labels[:, column].tolist()]


def load_labelled_crops(folder: Path) -> LabelledCrops:
    """Opens a set's folder. Raises FileNotFoundError or ValueError."""
    meta = json.loads((folder / "meta.json").read_text())
    crops = np.load(folder / "crops.npy", mmap_mode="r")
    labels, found = np.load(folder / "labels.npy"), np.load(folder / "found.npy")
    return LabelledCrops(crops, labels, found, meta.pop("texts"), meta.pop("names"), meta)


def encode_labels(labels: Sequence[Mapping[str, str]]) -> tuple[NDArray[np.int16], dict[str, list[str]]]:
    """Label texts of n faces → numbers (n, K), and the texts of each attribute, sorted."""
    texts: dict[str, list[str]] = {}
    for name in sorted({name for each in labels for name in each}):
        texts[name] = sorted({each[name] for each in labels if name in each})
    numbers = {name: {text: i for i, text in enumerate(known)} for name, known in texts.items()}
    rows = [[numbers[name][each[name]] if name in each else UNKNOWN for name in texts] for each in labels]
    return np.array(rows, np.int16).reshape(len(labels), len(texts)), texts
