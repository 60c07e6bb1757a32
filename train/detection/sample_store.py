"""The store of training samples: crops as one memory-mapped uint8 array, and what is known of each.

A folder holds
    crops.npy    (n, side, side, 3) uint8; side = input size + 2 * margin, so that crops can be shifted on the fly
    kinds.npy    (n,) uint8: NEGATIVE, POSITIVE, PART or LANDMARK
    targets.npy  (n, 14) float32: the face's box x1, y1, x2, y2 and its landmarks x1, y1 … in units of the window
                 ((0, 0) its upper left corner, (1, 1) its lower right one); NaN where there is none. Samples for
                 further heads have more columns, see `train.detection.labels`
    meta.json    how they were cut, and their heads if there are more than the detector's
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascade.nn.heads import DETECTION_HEADS, Head
from train.detection.labels import KINDS, target_width


@dataclass(frozen=True)
class Samples:
    """An open folder of samples; `crops` stays on disk."""

    crops: np.ndarray
    kinds: np.ndarray
    targets: np.ndarray
    meta: dict[str, Any]
    heads: tuple[Head, ...] = DETECTION_HEADS

    def __len__(self) -> int:
        return len(self.kinds)

    def counts(self) -> dict[str, int]:
        """Samples of each kind."""
        return {name: int((self.kinds == kind).sum()) for kind, name in enumerate(KINDS)}


def load_samples(folder: Path) -> Samples:
    """Opens a folder that `SampleWriter` finished. Raises FileNotFoundError or ValueError."""
    meta = json.loads((folder / "meta.json").read_text())
    crops = np.load(folder / "crops.npy", mmap_mode="r")
    kinds, targets = np.load(folder / "kinds.npy"), np.load(folder / "targets.npy")
    if not len(crops) == len(kinds) == len(targets):
        raise ValueError(f"{folder}: {len(crops)} crops, {len(kinds)} kinds and {len(targets)} targets")
    heads = tuple(Head(**head) for head in meta.get("heads", ())) or DETECTION_HEADS
    return Samples(crops, kinds, targets, meta, heads)


class SampleWriter:
    """Writes samples photo by photo; the folder appears only when `finish` is called.

    ``side`` is that of the crops in pixels; the targets are those of the ``heads``.
    """

    def __init__(self, folder: Path, side: int, heads: tuple[Head, ...] = DETECTION_HEADS) -> None:
        self.folder, self.side, self.heads, self.columns = folder, side, heads, target_width(heads)
        self.partial = folder.with_name(folder.name + ".partial")
        if self.partial.exists():
            shutil.rmtree(self.partial)
        self.partial.mkdir(parents=True)
        self._crops = (self.partial / "crops.npy").open("wb")
        self._write_header(0)
        self._kinds: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []

    def add(self, crops: np.ndarray, kinds: np.ndarray, targets: np.ndarray) -> None:
        """Appends crops (n, side, side, 3) with their kinds (n,) and targets (n, columns)."""
        if crops.shape[1:] != (self.side, self.side, 3) or crops.dtype != np.uint8:
            raise ValueError(f"crops: expected uint8 (n, {self.side}, {self.side}, 3), got {crops.dtype} {crops.shape}")
        if kinds.shape != (len(crops),) or targets.shape != (len(crops), self.columns):
            raise ValueError(
                f"expected kinds (n,) and targets (n, {self.columns}) of {len(crops)} crops, "
                f"got {kinds.shape} and {targets.shape}"
            )
        if len(crops):
            self._crops.write(np.ascontiguousarray(crops).tobytes())
            self._kinds.append(kinds.astype(np.uint8))
            self._targets.append(targets.astype(np.float32))

    def counts(self) -> np.ndarray:
        """Samples of each kind so far."""
        return sum((np.bincount(k, minlength=len(KINDS)) for k in self._kinds), np.zeros(len(KINDS), int))

    def finish(self, meta: dict[str, Any]) -> Samples:
        """Completes the folder and opens it."""
        kinds = np.concatenate(self._kinds) if self._kinds else np.empty(0, np.uint8)
        targets = np.concatenate(self._targets) if self._targets else np.empty((0, self.columns), np.float32)
        np.save(self.partial / "kinds.npy", kinds)
        np.save(self.partial / "targets.npy", targets)
        self._crops.seek(0)
        self._write_header(len(kinds))
        self._crops.close()
        record = {**meta, "side": self.side, "samples": len(kinds)}
        if self.heads != DETECTION_HEADS:
            record["heads"] = [asdict(head) for head in self.heads]
        (self.partial / "meta.json").write_text(json.dumps(record, indent=2))
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.partial.rename(self.folder)
        return load_samples(self.folder)

    def _write_header(self, count: int) -> None:
        """The header of crops.npy, which is of the same length for every number of crops."""
        shape = (count, self.side, self.side, 3)
        np.lib.format.write_array_header_1_0(self._crops, {"descr": "|u1", "fortran_order": False, "shape": shape})
