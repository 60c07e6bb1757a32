"""Results and manifests for tests of the index."""

from __future__ import annotations

import hashlib
from datetime import datetime

import numpy as np

from cascade.archive.manifest import Manifest, Network
from cascade.archive.schema import PhotoResult

DIMENSION = 8
COLUMNS = {"age": "float32", "gender": "string"}


def manifest(**changes: object) -> Manifest:
    told = {
        "detector": Network("default", "0" * 64),
        "recognizer": Network("light", "1" * 64),
        "dimension": DIMENSION,
        "settings": {"min_face": 20.0, "thresholds": [0.7, 0.4, 0.8], "max_face": None},
        "attributes": Network("attributes", "2" * 64),
        "attribute_columns": COLUMNS,
    }
    return Manifest(**(told | changes))  # type: ignore[arg-type]


def result(path: bytes, faces: int, content: bytes = b"") -> PhotoResult:
    """A photo with that many faces, whose numbers follow from its path and content."""
    sha256 = hashlib.sha256(path + content).digest()
    numbers = np.random.default_rng(list(sha256))
    corners = numbers.uniform(0, 50, (faces, 2)).astype(np.float32)
    rows = numbers.normal(size=(faces, DIMENSION))
    return PhotoResult(
        path=path,
        size=1000 + len(content),
        mtime_ns=1_700_000_000_000_000_001,
        sha256=sha256,
        taken=datetime(2021, 5, 4, 3, 2, 1),
        width=100,
        height=80,
        scale=1.0,
        boxes=np.hstack([corners, corners + 20]),
        scores=np.sort(numbers.uniform(0.8, 1, faces).astype(np.float32))[::-1],
        landmarks=numbers.uniform(0, 80, (faces, 5, 2)).astype(np.float32),
        embeddings=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32) if faces else None,
        quality=numbers.uniform(size=faces).astype(np.float32) if faces % 2 else None,
        attributes={
            "age": np.array([np.nan if at == 0 else 30.0 + at for at in range(faces)], np.float32),
            "gender": np.array(["" if at == 0 else "female" for at in range(faces)], np.str_),
        },
    )
