"""The crops that 68 landmarks are learned from: around each face of a set, upright, with room to move it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.datasets import PointsPhoto
from cascade.imaging.alignment import TEMPLATE_SIZE, align, similarity_transforms
from cascade.imaging.reading import read_image
from cascade.landmarks import TEMPLATE, five_points
from train.common.files import save_array, save_json

STORED = 176  # pixels a side; the crop of `TEMPLATE` is the middle of it, 112 pixels a side
MARGIN = (STORED - TEMPLATE_SIZE) / 2
WIDE_TEMPLATE = (TEMPLATE + MARGIN) * (TEMPLATE_SIZE / STORED)  # in a crop of 112 pixels, as `align` takes it


@dataclass(frozen=True, eq=False)
class PointCrops:
    """Crops (n, 176, 176, 3) uint8 and their points (n, 68, 2) float32 in pixels of the crop.

    digest  of the names and points of the photos, by which a resumed run knows that they are the same
    """

    crops: NDArray[np.uint8]
    points: NDArray[np.float32]
    digest: str = ""

    def __len__(self) -> int:
        return len(self.crops)


def pack_points(photos: Sequence[PointsPhoto], folder: Path) -> PointCrops:
    """The crops of the photos, cached in ``folder``. Raises ImageError for one that cannot be read."""
    digest = hashlib.sha256(
        "\n".join(f"{photo.name} {photo.points.sum():.3f}" for photo in photos).encode()
    ).hexdigest()
    record = folder / "points.json"
    if not record.exists() or json.loads(record.read_text()) != digest:
        folder.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        cut = [_cut(photo) for photo in tqdm(photos, desc="faces with 68 points", unit="photo")]
        save_array(folder / "crops.npy", np.stack([crop for crop, _ in cut]))
        save_array(folder / "points.npy", np.stack([points for _, points in cut]))
        save_json(record, digest)
    return PointCrops(np.load(folder / "crops.npy"), np.load(folder / "points.npy"), digest)


def _cut(photo: PointsPhoto) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    five = five_points(photo.points[None])
    crop = align(read_image(photo.path), five, STORED, WIDE_TEMPLATE)[0]
    matrix = similarity_transforms(five, WIDE_TEMPLATE * (STORED / TEMPLATE_SIZE))[0]
    points = photo.points.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return crop, points.astype(np.float32)
