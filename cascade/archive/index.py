"""Reading an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.archive.errors import ArchiveError, cannot_be_read, import_pyarrow
from cascade.archive.locations import local_folder
from cascade.archive.manifest import Manifest
from cascade.archive.schema import face_schema, photo_schema
from cascade.archive.store import FACES, PHOTOS, SUFFIX, removal_files, shard_names

__all__ = ["Index"]


class Index:
    """The photos and faces of an index, without those that were changed or deleted since.

    It is what was complete when it was opened; a run that goes on meanwhile is not seen. Rows come shard by shard,
    always in the same order. See `Index.open`.
    """

    def __init__(self, folder: Path, manifest: Manifest, shards: Sequence[str], removed: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.shards = tuple(shards)
        """Their names, oldest first."""
        self._removed = removed

    @classmethod
    def open(cls, folder: str | Path) -> Index:
        """The index in a folder.

        Raises `ArchiveError` if there is none or it cannot be read, `ArchiveMismatchError` for one of another format,
        and ImportError without the package `pyarrow`.
        """
        pa = import_pyarrow()
        place = local_folder(folder)
        manifest = Manifest.read(place)
        try:
            # Shards first: whoever adds changed photos has removed their earlier rows before.
            shards = shard_names(place)
            removals = [_read(path, None) for path in removal_files(place)]
        except OSError as error:
            raise ArchiveError(f"{place}: {cannot_be_read(error)}") from error
        removed: dict[str, Any] = {}
        if removals:
            rows = pa.concat_tables(removals).combine_chunks()
            for shard in pa.compute.unique(rows["shard"]).to_pylist():
                removed[shard] = rows.filter(pa.compute.equal(rows["shard"], shard))["photo_id"]
        return cls(place, manifest, shards, removed)

    def iter_faces(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """The faces of one shard after another, a `pyarrow.Table` each; ``columns`` are all if it is None.

        A face has face_id, photo_id, path, raw_path (the bytes of a path that is no UTF-8, else null), face (1, 2 …
        in its photo, best first), box (x1, y1, x2, y2), score, landmarks (x, y of the five points), size (pixels, the
        geometric mean of the box's sides), quality (0 to 1), embedding (float16, of length 1) and any attributes.
        Coordinates are in pixels of the photo as displayed. Raises `ArchiveError` for unknown columns and for
        damaged files.
        """
        known = face_schema(self.manifest.dimension, self.manifest.attribute_columns)
        return self._tables(FACES, columns, known)

    def iter_photos(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """The photos of one shard after another, a `pyarrow.Table` each; ``columns`` are all if it is None.

        A photo has photo_id, path, raw_path, bytes, mtime_ns, sha256, taken (EXIF), width, height, scale (at which it
        was decoded), faces (their number) and error (null for those that were read). Raises `ArchiveError`.
        """
        return self._tables(PHOTOS, columns, photo_schema())

    def photos_of(self, shard: str, columns: Sequence[str] | None = None) -> Any:
        """The photos of one of the `shards`: see `iter_photos`."""
        return self._table(PHOTOS, shard, _checked_columns(columns, photo_schema()))

    def faces(self, columns: Sequence[str] | None = None) -> Any:
        """All faces as one `pyarrow.Table`, in memory: see `iter_faces`."""
        return self._all(self.iter_faces(columns), columns, face_schema(self.manifest.dimension, self._attributes))

    def photos(self, columns: Sequence[str] | None = None) -> Any:
        """All photos as one `pyarrow.Table`, in memory: see `iter_photos`."""
        return self._all(self.iter_photos(columns), columns, photo_schema())

    def iter_embeddings(self) -> Iterator[tuple[list[str], npt.NDArray[np.float16]]]:
        """The ids and embeddings (n, D) float16 of one shard's faces after another. Shards without a face are left out.

        Raises `ArchiveError`.
        """
        for table in self.iter_faces(["face_id", "embedding"]):
            if len(table):
                yield table["face_id"].to_pylist(), embedding_rows(table, self.manifest.dimension)

    def embeddings(self) -> npt.NDArray[np.float16]:
        """The embeddings (n, D) float16 of all faces, in the order of `faces`. Raises `ArchiveError`."""
        none = np.empty((0, self.manifest.dimension), np.float16)
        return np.concatenate([none, *(rows for _, rows in self.iter_embeddings())])

    def empty_shards(self) -> list[str]:
        """The shards of which all rows were removed. Raises `ArchiveError`."""
        return [
            shard for shard in self.shards if shard in self._removed and not len(self.photos_of(shard, ["photo_id"]))
        ]

    def counts(self) -> dict[str, int]:
        """How many "photos", "faces" and "errors" there are. Raises `ArchiveError`."""
        counts = {"photos": 0, "faces": 0, "errors": 0}
        for table in self.iter_photos(["faces", "error"]):
            counts["photos"] += len(table)
            counts["faces"] += sum(table["faces"].to_pylist())
            counts["errors"] += len(table) - table["error"].null_count
        return counts

    @property
    def _attributes(self) -> dict[str, str]:
        return dict(self.manifest.attribute_columns)

    def _tables(self, kind: str, columns: Sequence[str] | None, schema: Any) -> Iterator[Any]:
        names = _checked_columns(columns, schema)
        for shard in self.shards:
            yield self._table(kind, shard, names)

    def _table(self, kind: str, shard: str, names: Sequence[str]) -> Any:
        """The rows of a shard that hold, with these columns."""
        compute = import_pyarrow().compute
        table = _read(self.folder / kind / f"{shard}{SUFFIX}", [*names, "photo_id"])
        removed = self._removed.get(shard)
        if removed is not None:
            table = table.filter(compute.invert(compute.is_in(table["photo_id"], value_set=removed)))
        return table.select(names)

    def _all(self, tables: Iterator[Any], columns: Sequence[str] | None, schema: Any) -> Any:
        pa = import_pyarrow()
        chosen = pa.schema([schema.field(name) for name in _checked_columns(columns, schema)])
        return pa.concat_tables([chosen.empty_table(), *tables])


def embedding_rows(table: Any, dimension: int) -> npt.NDArray[np.float16]:
    """The column ``embedding`` of a table as an array (n, D) float16."""
    rows: npt.NDArray[np.float16] = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return rows.reshape(-1, dimension)


def _checked_columns(columns: Sequence[str] | None, schema: Any) -> list[str]:
    if columns is None:
        return list(schema.names)
    unknown = [name for name in columns if name not in schema.names]
    if unknown:
        raise ArchiveError(f"columns: expected some of {', '.join(schema.names)}, got {unknown[0]!r}")
    return list(columns)


def _read(path: Path, columns: Sequence[str] | None) -> Any:
    """A file's table with these columns, each once; all for None. Raises `ArchiveError`."""
    pa = import_pyarrow()
    try:
        wanted = None if columns is None else list(dict.fromkeys(columns))
        return pa.parquet.ParquetFile(path, memory_map=False).read(columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise ArchiveError(f"{path}: missing, damaged or unreadable: {error}") from error
