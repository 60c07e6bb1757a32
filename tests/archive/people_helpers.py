"""Small indexes with known people, for tests of what is done with an index."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cascade.archive import Index
from cascade.archive.store import Store
from tests.archive.helpers import DIMENSION, manifest, result
from tests.photos import FACE_BOX, FACE_LANDMARKS, portrait_png

ANN, BOB, CAT = range(3)
"""People whose faces are alike, and unlike the others'."""


def face(person: int, seed: int = 0) -> np.ndarray:
    """An embedding (8,) near the person's direction."""
    row = np.eye(DIMENSION)[person] + 0.1 * np.random.default_rng([person, seed]).normal(size=DIMENSION)
    return (row / np.linalg.norm(row)).astype(np.float32)


def save_index(
    folder: Path, photos: Sequence[Sequence[np.ndarray]], *, written: bool = False, **changes: object
) -> Index:
    """An index of photos with these embeddings of faces; with ``written``, the photos are there, as portraits.

    ``changes`` are other values of each `PhotoResult`. Further calls add photos.
    """
    place = folder.parent / "photos"
    place.mkdir(exist_ok=True)
    told = manifest(attributes=None, attribute_columns={})
    with Store.open(folder, told) as store:
        first = sum(len(table) for table in Index.open(folder).iter_photos(["path"]))
        store.write([_result(place / f"{first + at}.png", rows, written, changes) for at, rows in enumerate(photos)])
    return Index.open(folder)


def _result(path: Path, rows: Sequence[np.ndarray], written: bool, changes: dict) -> object:
    count = len(rows)
    if written:
        path.write_bytes(portrait_png())
    made = result(os.fsencode(path), count)
    told = {
        "sha256": hashlib.sha256(path.name.encode()).digest(),
        "width": 512,
        "height": 512,
        "boxes": np.tile(np.array(FACE_BOX, np.float32), (count, 1)),
        "landmarks": np.tile(np.array(FACE_LANDMARKS, np.float32), (count, 1, 1)),
        "embeddings": np.stack(rows) if count else None,
        "quality": np.linspace(0.9, 0.5, count, dtype=np.float32),
        "attributes": {},
    }
    return replace(made, **(told | changes))
