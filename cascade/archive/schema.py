"""The tables of an index: a row per photo and a row per face, and the ids that join them.

Names of files need not be UTF-8. The column ``path`` is text, in which bytes that are not UTF-8 are written as
``\\xff``; for such names ``raw_path`` holds the bytes, and it is null for all others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.archive.errors import import_pyarrow
from cascade.operating_point import face_sizes

__all__ = ["PhotoResult", "face_schema", "face_table", "path_of", "photo_id", "photo_schema", "photo_table"]

FACE_COLUMNS = (
    "face_id",
    "photo_id",
    "path",
    "raw_path",
    "face",
    "box",
    "score",
    "landmarks",
    "size",
    "quality",
    "embedding",
)
"""What a table of faces has beside attributes."""

ID_DIGITS = 24
"""Hexadecimal digits of a photo's id: 96 bits, by which two of a thousand million photos coincide once in 10^11."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """What one photo gave. Of a photo that could not be read all but ``path`` and ``error`` may be None or empty."""

    path: bytes
    """The absolute path as the system spells it, see `os.fsencode`, or the URL."""
    size: int | None = None
    """Bytes of the file."""
    mtime_ns: int | None = None
    """Its time of change; None if it is to be tried again by the next run."""
    sha256: bytes | None = None
    """Of the file, 32 bytes."""
    taken: datetime | None = None
    """EXIF's time of the picture, as the camera's clock had it, without a time zone."""
    width: int | None = None
    height: int | None = None
    """Pixels of the photo as displayed, which all coordinates refer to."""
    scale: float | None = None
    """Size at which it was decoded over that size."""
    error: str | None = None
    boxes: Array = field(default_factory=lambda: np.empty((0, 4), np.float32))
    """(n, 4) float32, x1, y1, x2, y2 in pixels of the photo."""
    scores: Array = field(default_factory=lambda: np.empty(0, np.float32))
    """(n,) float32, 0 to 1."""
    landmarks: Array = field(default_factory=lambda: np.empty((0, 5, 2), np.float32))
    """(n, 5, 2) float32, in pixels of the photo."""
    embeddings: Array | None = None
    """(n, D), rows of length 1; None if there is no face."""
    quality: Array | None = None
    """(n,) float32, 0 to 1, see `cascade.quality.face_quality`; None if it was not computed."""
    attributes: Mapping[str, Array] = field(default_factory=dict)
    """(n,) each, see `cascade.attributes.Attributes.data`."""


def photo_id(path: bytes, sha256: bytes | None) -> str:
    """The id of a photo: it stays while path and content do."""
    return hashlib.sha256(path + b"\0" + (sha256 or b"")).hexdigest()[:ID_DIGITS]


def path_of(text: str, raw: bytes | None) -> str:
    """A path for Python's functions from the columns ``path`` and ``raw_path``."""
    return text if raw is None else os.fsdecode(raw)


def photo_schema() -> Any:
    """The columns of the photos' tables."""
    pa = import_pyarrow()
    return pa.schema(
        [
            pa.field("photo_id", pa.string(), nullable=False),
            pa.field("path", pa.string(), nullable=False),
            ("raw_path", pa.binary()),
            ("bytes", pa.int64()),
            ("mtime_ns", pa.int64()),
            ("sha256", pa.binary(32)),
            ("taken", pa.timestamp("ms")),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("scale", pa.float32()),
            pa.field("faces", pa.int32(), nullable=False),
            ("error", pa.string()),
        ]
    )


def face_schema(dimension: int, attributes: Mapping[str, str]) -> Any:
    """`FACE_COLUMNS` with their types; ``attributes`` are further columns, "float32" or "string" each."""
    pa = import_pyarrow()
    kinds = {"float32": pa.float32(), "string": pa.string()}
    return pa.schema(
        [
            pa.field("face_id", pa.string(), nullable=False),
            pa.field("photo_id", pa.string(), nullable=False),
            pa.field("path", pa.string(), nullable=False),
            ("raw_path", pa.binary()),
            ("face", pa.int32()),
            ("box", pa.list_(pa.float32(), 4)),
            ("score", pa.float32()),
            ("landmarks", pa.list_(pa.float32(), 10)),
            ("size", pa.float32()),
            ("quality", pa.float32()),
            ("embedding", pa.list_(pa.float16(), dimension)),
            *[(name, kinds[kind]) for name, kind in attributes.items()],
        ]
    )


def photo_table(photos: Sequence[PhotoResult]) -> Any:
    """The rows of these photos, in their order."""
    columns: dict[str, list[Any]] = {
        "photo_id": [photo_id(photo.path, photo.sha256) for photo in photos],
        **_path_columns([photo.path for photo in photos]),
        "bytes": [photo.size for photo in photos],
        **{
            name: [getattr(photo, name) for photo in photos]
            for name in ("mtime_ns", "sha256", "taken", "width", "height", "scale", "error")
        },
        "faces": [len(photo.scores) for photo in photos],
    }
    return import_pyarrow().table(columns, schema=photo_schema())


def face_table(photos: Sequence[PhotoResult], dimension: int, attributes: Mapping[str, str]) -> Any:
    """The rows of these photos' faces, in their order, best first within a photo.

    A face's id is that of its photo with its number, from 1. Raises ValueError for embeddings of another dimension.
    """
    schema = face_schema(dimension, attributes)
    found = [photo for photo in photos if len(photo.scores)]
    owners = [photo for photo in found for _ in photo.scores]
    ids = [photo_id(photo.path, photo.sha256) for photo in found for _ in photo.scores]
    numbers = [number for photo in found for number in range(1, len(photo.scores) + 1)]
    boxes = _joined([photo.boxes for photo in found], (4,))
    columns: dict[str, Any] = {
        "face_id": [f"{owner}-{number}" for owner, number in zip(ids, numbers, strict=True)],
        "photo_id": ids,
        **_path_columns([photo.path for photo in owners]),
        "face": numbers,
        "box": _lists(boxes),
        "score": _joined([photo.scores for photo in found], ()),
        "landmarks": _lists(_joined([photo.landmarks for photo in found], (5, 2)).reshape(-1, 10)),
        "size": face_sizes(boxes).astype(np.float32),
        "quality": _optional([photo.quality for photo in found], [len(photo.scores) for photo in found]),
        "embedding": _lists(_embeddings(found, dimension)),
        **{name: _attribute([photo.attributes[name] for photo in found], kind) for name, kind in attributes.items()},
    }
    return import_pyarrow().table(columns, schema=schema)


def _path_columns(paths: Sequence[bytes]) -> dict[str, list[Any]]:
    texts: list[str] = []
    raw: list[bytes | None] = []
    for path in paths:
        try:
            texts.append(path.decode())
            raw.append(None)
        except UnicodeDecodeError:
            texts.append(path.decode(errors="backslashreplace"))
            raw.append(path)
    return {"path": texts, "raw_path": raw}


def _joined(arrays: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """The arrays (n, *shape) one after another as float32; no rows of that shape where there is none."""
    return np.concatenate([np.empty((0, *shape), np.float32), *arrays]).astype(np.float32)


def _embeddings(photos: Sequence[PhotoResult], dimension: int) -> Array:
    arrays = []
    for photo in photos:
        rows = np.asarray(photo.embeddings)
        if rows.shape != (len(photo.scores), dimension):
            raise ValueError(f"embeddings: expected shape ({len(photo.scores)}, {dimension}), got {rows.shape}")
        arrays.append(rows.astype(np.float16))
    return np.concatenate([np.empty((0, dimension), np.float16), *arrays])


def _lists(rows: Array) -> Any:
    """Rows (n, k) as a column of lists of k numbers."""
    pa = import_pyarrow()
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).reshape(-1)), rows.shape[1])


def _optional(arrays: Sequence[Array | None], counts: Sequence[int]) -> list[float | None]:
    """The numbers one after another, None for those of an array that is not there."""
    return [
        value
        for array, count in zip(arrays, counts, strict=True)
        for value in ([None] * count if array is None else array.tolist())
    ]


def _attribute(arrays: Sequence[Array], kind: str) -> list[Any]:
    """An attribute's values; null where it is not known, which is NaN or ""."""
    values = [value for array in arrays for value in array.tolist()]
    if kind == "string":
        return [value or None for value in values]
    return [None if np.isnan(value) else value for value in values]
