"""The store of faces: aligned crops as one memory-mapped uint8 array, and what is known of each.

A folder holds
    crops.npy       (n, 112, 112, 3) uint8 RGB, aligned as `cascade.imaging.alignment.align` does
    persons.npy     (n,) int32, the number of the person; -1 where unknown
    ages.npy        (n,) float32, years; NaN where unknown
    sources.npy     (n,) uint8, number of the source
    yaws.npy        (n,) float32, degrees, rough; folders of earlier versions have none
    meta.json       names of the sources and persons, counts, and how they were cut
    embeddings.npy  (n, D) float32 of length 1, a teacher's; only once `train.recognition.teacher` has run
    teacher.json    which teacher
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.common.files import save_array, save_json

SIDE = 112


@dataclass(frozen=True, eq=False)
class FaceCrops:
    """An open folder of faces; `crops` stays on disk."""

    crops: NDArray[np.uint8]
    persons: NDArray[np.int32]
    ages: NDArray[np.float32]
    sources: NDArray[np.uint8]
    meta: dict[str, Any]
    embeddings: NDArray[np.float32] | None = None
    teacher: dict[str, Any] | None = None
    yaws: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.crops)

    def __post_init__(self) -> None:
        rows = {len(self.crops), len(self.persons), len(self.ages), len(self.sources)}
        rows |= {len(each) for each in (self.embeddings, self.yaws) if each is not None}
        if len(rows) != 1 or self.crops.shape[1:] != (SIDE, SIDE, 3) or self.crops.dtype != np.uint8:
            raise ValueError(f"packed faces: arrays do not fit: crops {self.crops.shape}, rows {sorted(rows)}")


def load_crops(folder: Path) -> FaceCrops:
    """Opens a folder that `save_crops` finished. Raises FileNotFoundError or ValueError."""
    meta = json.loads((folder / "meta.json").read_text())
    crops = np.load(folder / "crops.npy", mmap_mode="r")
    persons, ages, sources = (np.load(folder / f"{name}.npy") for name in ("persons", "ages", "sources"))
    embeddings = teacher = None
    if (folder / "teacher.json").exists():
        embeddings = np.load(folder / "embeddings.npy")
        teacher = json.loads((folder / "teacher.json").read_text())
    yaws = np.load(folder / "yaws.npy") if (folder / "yaws.npy").exists() else None
    return FaceCrops(crops, persons, ages, sources, meta, embeddings, teacher, yaws)


def save_crops(folder: Path, faces: FaceCrops) -> None:
    """Writes the arrays; meta.json comes last, so that a folder with one is complete.

    A teacher's embeddings of the faces that were there before are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("meta.json", "teacher.json", "embeddings.npy", "yaws.npy"):
        (folder / name).unlink(missing_ok=True)
    for name in ("crops", "persons", "ages", "sources"):
        save_array(folder / f"{name}.npy", getattr(faces, name))
    if faces.yaws is not None:
        save_array(folder / "yaws.npy", faces.yaws)
    save_json(folder / "meta.json", faces.meta)
