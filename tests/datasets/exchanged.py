"""Photos with faces for the tests of formats: real files of known sizes, and what each format can hold of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cascade.datasets import Photo

SIZES = {"a.jpg": (120, 80), "sub/b c.png": (64, 96), "empty.jpg": (50, 40)}

BOXES = {
    "a.jpg": [[10.25, 5.5, 40.75, 45.125], [60, 20, 90, 70], [1, 2, 3.5, 4]],
    "sub/b c.png": [[0, 0, 64, 96]],
    "empty.jpg": [],
}
NAMES = {"a.jpg": ['Åsa "Q" <O\'Neil> & 47', "", "47"], "sub/b c.png": [""], "empty.jpg": []}


def landmarks_in(box: list[float]) -> list[list[float]]:
    """Five points inside a box."""
    x1, y1, x2, y2 = box
    places = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    return [[x1 + x * (x2 - x1), y1 + y * (y2 - y1)] for x, y in places]


def make_photos(root: Path) -> list[Photo]:
    """Three photos below a folder: one with three faces, of which the last is ignored, one with one, one without."""
    photos = []
    for name, size in SIZES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (90, 120, 60)).save(path)
        boxes, count = BOXES[name], len(BOXES[name])
        points = np.array([landmarks_in(box) for box in boxes], np.float32).reshape(-1, 5, 2)
        if count == 3:
            points[1] = np.nan
        photos.append(
            Photo(
                path=path,
                name=name,
                boxes=np.array(boxes, np.float32).reshape(-1, 4),
                ignored=np.arange(count) == 2,
                landmarks=points,
                fully_labelled=True,
                attributes={"score": 1 - np.arange(count) / 8, "name": np.array(NAMES[name], np.str_)},
                size=size,
            )
        )
    return photos
