"""Writing an index: whole shards or nothing, by one run at a time.

A folder with an index holds ``manifest.json`` and three folders of Parquet files. A shard is a file of ``faces`` and
one of ``photos`` with the same name; the faces are written first, so a shard is there as soon as its photos are. A
file appears under its name when all of it is on the disk. ``removed`` lists rows of earlier shards that no longer hold,
since their photos were changed or deleted; a shard of changed photos has a file of its name there, which is written
before. Nothing is ever changed in place, so a run can be killed at any moment, and readers see what is complete. A
shard of which no row holds is deleted by a later run than the one that removed its last row, photos first.

Names begin with the number of the run, so that they sort by age. In each run a photo is in one shard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cascade.archive.errors import ArchiveError, ArchiveLockedError, import_pyarrow
from cascade.archive.manifest import MANIFEST, Manifest
from cascade.archive.schema import PhotoResult, face_table, photo_table
from cascade.private_files import locked, remove_partials, replacing, sync_folder

__all__ = ["FACES", "PHOTOS", "REMOVED", "Removal", "Store", "removal_files", "shard_names", "write_shard"]

PHOTOS, FACES, REMOVED = "photos", "faces", "removed"
SUFFIX = ".parquet"
SHARD = re.compile(r"r(\d{6})-s(\d{8})")
Removal = dict[str, str]
"""A row that no longer holds: its "shard" and "photo_id"."""

REMOVAL = re.compile(r"r(\d{6})(-s\d{8})?")


def shard_names(folder: Path) -> list[str]:
    """The names of the complete shards of an index, oldest first. Raises OSError."""
    return sorted(path.stem for path in _files(folder / PHOTOS, SHARD))


def removal_files(folder: Path) -> list[Path]:
    """The files that list removed rows, oldest first. Raises OSError."""
    return sorted(_files(folder / REMOVED, REMOVAL))


def _files(folder: Path, name: re.Pattern[str]) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix == SUFFIX and name.fullmatch(path.stem))


def write_shard(
    folder: Path,
    name: str,
    photos: Sequence[PhotoResult],
    manifest: Manifest,
    changed: Mapping[bytes, Removal] = MappingProxyType({}),
) -> None:
    """Writes the rows of these photos and their faces. A shard of that name is replaced.

    ``changed`` has the earlier row of each photo that has one, by its path: the new row takes its place, but where the
    file could just not be read; then what is known of it stays, and the next run tries it again. Raises OSError.
    """
    photos = [photo for photo in photos if photo.mtime_ns is not None or photo.path not in changed]
    if not photos:
        return
    _write_removals(folder, name, [changed[photo.path] for photo in photos if photo.path in changed])
    write_table(folder / FACES / f"{name}{SUFFIX}", face_table(photos, manifest.dimension, manifest.attribute_columns))
    write_table(folder / PHOTOS / f"{name}{SUFFIX}", photo_table(photos))


def write_table(path: Path, table: Any) -> None:
    """Writes a table to a file of its own, for its owner alone, which appears when it is complete. Raises OSError."""
    pa = import_pyarrow()
    with replacing(path, always_private=True) as stream:
        pa.parquet.write_table(table, stream, compression="zstd")


def _write_removals(folder: Path, name: str, rows: Sequence[Removal]) -> None:
    pa = import_pyarrow()
    if rows:
        schema = pa.schema([("shard", pa.string()), ("photo_id", pa.string())])
        write_table(folder / REMOVED / f"{name}{SUFFIX}", pa.Table.from_pylist(list(rows), schema=schema))


def _check_place(folder: Path) -> None:
    """Raises `ArchiveError` for a file, and for a folder with anything but an index: it may be the photos' own."""
    if folder.exists() and not folder.is_dir():
        raise ArchiveError(f"{folder}: this is a file, not a folder")
    if not folder.exists() or (folder / MANIFEST).exists():
        return
    others = [
        path.name for path in folder.iterdir() if path.name not in (PHOTOS, FACES, REMOVED) and path.name[0] != "."
    ]
    if others:
        raise ArchiveError(f"{folder}: there are other files, such as {others[0]}, and no index; give another folder")


class Store:
    """An index that one run is writing, see `Store.open`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.run = self._next_run()
        self._shards = 0

    @classmethod
    @contextmanager
    def open(cls, folder: Path, manifest: Manifest) -> Iterator[Store]:
        """The index in a folder, for a ``with`` block, which is created if there is none.

        Raises `ArchiveLockedError` if another run is writing it, `ArchiveMismatchError` if it is of other networks or
        settings than ``manifest``, `ArchiveError` for a folder of other files, and OSError.
        """
        import_pyarrow()
        _check_place(folder)
        for name in (PHOTOS, FACES, REMOVED):
            (folder / name).mkdir(parents=True, exist_ok=True)
        lock = locked(folder / MANIFEST, timeout=0)
        try:
            lock.__enter__()
        except TimeoutError:
            raise ArchiveLockedError(f"{folder}: another run is writing this index; wait until it has ended") from None
        try:
            earlier = Manifest.read(folder) if (folder / MANIFEST).exists() else None
            if not shard_names(folder):  # a run may have found no photos, which ties nobody to its settings
                manifest.write(folder)
            elif earlier is not None:
                earlier.check_same(manifest, folder)
            else:
                raise ArchiveError(f"{folder}: there are shards of an index, but its {MANIFEST} is gone")
            for name in (PHOTOS, FACES, REMOVED):
                remove_partials(folder / name)
            yield cls(folder, manifest)
        finally:
            lock.__exit__(None, None, None)

    def _next_run(self) -> int:
        """A number that no file of the index has, not even faces whose photos were not written any more."""
        names = [path for kind, name in ((PHOTOS, SHARD), (FACES, SHARD), (REMOVED, REMOVAL))
                 for path in _files(self.folder / kind, name)]  # fmt: skip
        return 1 + max((int(path.stem[1:7]) for path in names), default=0)

    def shard_name(self, number: int) -> str:
        """The name of a shard of this run."""
        return f"r{self.run:06}-s{number:08}"

    def write(self, photos: Sequence[PhotoResult], changed: Mapping[bytes, Removal] = MappingProxyType({})) -> None:
        """Writes the next shard: see `write_shard`. Raises OSError; what was written before stays."""
        write_shard(self.folder, self.shard_name(self._shards), photos, self.manifest, changed)
        self._shards += 1

    def remove(self, rows: Sequence[Removal]) -> None:
        """Notes, once in a run, which rows of earlier shards no longer hold. Raises OSError."""
        _write_removals(self.folder, f"r{self.run:06}", rows)

    def delete(self, shards: Sequence[str]) -> None:
        """Deletes shards of which no row holds any more. Raises OSError."""
        for kind in (PHOTOS, FACES):
            for name in shards:
                (self.folder / kind / f"{name}{SUFFIX}").unlink(missing_ok=True)
            sync_folder(self.folder / kind)  # photos without their faces would be a damaged shard

    def remove_orphans(self) -> None:
        """Deletes faces that a killed run wrote without their photos; no reader sees them. Raises OSError."""
        complete = set(shard_names(self.folder))
        for path in list(_files(self.folder / FACES, SHARD)):
            if path.stem not in complete:
                path.unlink(missing_ok=True)
