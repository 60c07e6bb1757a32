"""Photos whose faces have 68 points as photos for the detector: the box around the points, and five landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cascade.datasets import Dataset, Photo, read_points68
from cascade.landmarks import five_points


def read_points_photos(images: Path) -> Dataset:
    """One face a photo, in a box that ends at the brows, the chin and the outermost points; others may be there.

    Raises DatasetError as `cascade.datasets.read_points68` does.
    """
    content = read_points68(images)
    photos = []
    for photo in content:
        box = np.concatenate([photo.points.min(axis=0), photo.points.max(axis=0)])
        landmarks = five_points(photo.points[None])
        photos.append(Photo(photo.path, photo.name, box[None], np.zeros(1, bool), landmarks, fully_labelled=False))
    return Dataset(content.name, tuple(photos), content.problems)
