"""Sets of drawn photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.train.drawn_faces import (
    blank,
    draw,
    random_faces,
    save_coco,
    save_empty,
    save_photo,
    save_set,
)
from tests.train.drawn_sets import CROWD, DATA, SIZE
from train.detection.sources import Source


@pytest.fixture(scope="session")
def singles(tmp_path_factory) -> Source:
    """Photos of one face each, and one photo without."""
    folder, rng = tmp_path_factory.mktemp("singles"), np.random.default_rng(5)
    photos = {}
    for number in range(8):
        photos[f"{number}.png"] = faces = random_faces(rng, *SIZE, count=1)
        save_photo(folder / f"{number}.png", draw(blank(*SIZE, rng), faces))
    save_photo(folder / "none.png", blank(*SIZE, rng))
    return Source("coco", folder, save_coco(folder, {**photos, "none.png": []}))


@pytest.fixture(scope="session")
def crowd(tmp_path_factory) -> Source:
    """One photo with two faces to learn, the first with landmarks, an ignored one and one that is too small."""
    folder = tmp_path_factory.mktemp("crowd")
    save_photo(folder / "crowd.png", draw(blank(*SIZE, np.random.default_rng(2)), CROWD))
    return Source("coco", folder, save_coco(folder, {"crowd.png": CROWD}))


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """40 photos with faces, 4 of them held out, and 8 without."""
    root = tmp_path_factory.mktemp("data")
    save_set(root / "faces", 40, seed=1)
    save_empty(root / "none", 8, seed=2)
    (root / "held_out.txt").write_text("".join(f"{number:03}.png\n" for number in range(36, 40)))
    (root / "data.toml").write_text(DATA)
    return root
