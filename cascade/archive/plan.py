"""What a run has to do: the photos that are new or changed, and the rows that no longer hold."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.archive.index import Index
from cascade.archive.locations import is_below, is_gone
from cascade.archive.scan import Found, Scan
from cascade.archive.schema import path_of
from cascade.archive.store import Removal

__all__ = ["Plan", "make_plan"]

KEY = 16  # bytes of a path's hash
BATCH = 4096


@dataclass
class Plan:
    """The photos of a run, in the order in which they were found, and what becomes of earlier rows."""

    todo: list[bytes] = field(default_factory=list)
    """Absolute paths, or URLs, of new and changed photos."""
    changed: dict[bytes, Removal] = field(default_factory=dict)
    """The earlier row of each of them that has one, which holds until there is a new one."""
    deleted: list[Removal] = field(default_factory=list)
    """Rows of photos that are gone, and rows that another one of the same photo has replaced."""
    unchanged: int = 0
    notes: list[str] = field(default_factory=list)


class _Known:
    """The rows of an index by the hash of their path; 44 bytes a photo."""

    def __init__(self, index: Index, retry: bool) -> None:
        self.index = index
        parts = [_columns(table, number, retry) for number, table in enumerate(index.iter_photos(STATE))]
        keys, shards, rows, sizes, times = (
            np.concatenate([np.empty(0, kind), *(part[at] for part in parts)]) for at, kind in enumerate(KINDS)
        )
        order = np.argsort(keys, kind="stable")  # of rows of one path the newest is last
        self.keys, self.shards, self.rows = keys[order], shards[order], rows[order]
        self.sizes, self.times = sizes[order], times[order]
        self.seen = np.zeros(len(keys), bool)
        self.replaced = np.zeros(len(keys), bool)
        self.replaced[:-1] = self.keys[1:] == self.keys[:-1]

    def find(self, keys: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """The places of the newest rows of these paths; -1 where there is none."""
        places = np.searchsorted(self.keys, keys, side="right") - 1
        return np.where((places >= 0) & (self.keys[places] == keys), places, -1) if len(self.keys) else places

    def removals(self, places: npt.NDArray[np.intp]) -> Iterator[tuple[bytes, Removal]]:
        """The paths of these rows with what removes them."""
        for number in np.unique(self.shards[places]).tolist():
            shard = self.index.shards[number]
            rows = self.rows[places[self.shards[places] == number]]
            table = self.index.photos_of(shard, ["photo_id", "path", "raw_path"]).take(rows)
            for row in table.to_pylist():
                yield os.fsencode(path_of(row["path"], row["raw_path"])), {"shard": shard, "photo_id": row["photo_id"]}


STATE = ("path", "raw_path", "bytes", "mtime_ns", "error")
KINDS: tuple[npt.DTypeLike, ...] = (f"S{KEY}", np.int32, np.int32, np.int64, np.int64)
NONE = -1  # for a size or time that is not known


def make_plan(scan: Scan, index: Index | None, retry: bool = False) -> Plan:
    """Compares what there is with what the index has. With ``retry`` photos that could not be read count as changed.

    A photo is unchanged while its size and time of change are. Raises `ArchiveError`.
    """
    plan = Plan()
    known = None if index is None else _Known(index, retry)
    missing: dict[bytes, int] = {}
    for batch in _batches(scan.photos()):
        _compare(batch, known, plan, missing)
    if len(scan.paths) > 1 or not scan.folders:  # a path may have come twice
        plan.todo = list(dict.fromkeys(plan.todo))
    if known is not None:
        _note_gone(scan, known, plan, missing)
        wanted = set(plan.todo)
        places = np.flatnonzero(known.seen & ~known.replaced)
        changed = places[known.times[places] == CHANGED]
        plan.changed = {path: row for path, row in known.removals(changed) if path in wanted}
    return plan


CHANGED = np.iinfo(np.int64).min
"""Stands in ``times`` for a photo that was found to have changed."""


def _compare(batch: Sequence[Found], known: _Known | None, plan: Plan, missing: dict[bytes, int]) -> None:
    """Sorts some photos into those to do and those that are unchanged."""
    if known is None:
        plan.todo += [found.path for found in batch if found.size is not None]
        return
    places = known.find(np.array([_key(found.path) for found in batch], f"S{KEY}"))
    for found, place in zip(batch, places.tolist(), strict=True):
        if found.size is None:
            missing[found.path] = place
            continue
        if place < 0:
            plan.todo.append(found.path)
        elif known.sizes[place] == found.size and known.times[place] == found.mtime_ns:
            plan.unchanged += not known.seen[place]
        else:
            known.times[place] = CHANGED
            plan.todo.append(found.path)
        if place >= 0:
            known.seen[place] = True


def _note_gone(scan: Scan, known: _Known, plan: Plan, missing: dict[bytes, int]) -> None:
    """Finds the rows that no longer hold, but for those of changed photos."""
    plan.deleted = [row for _, row in known.removals(np.flatnonzero(known.replaced))]
    unseen = np.flatnonzero(~known.seen & ~known.replaced)
    if not scan.folders:
        unseen = np.array([place for place in missing.values() if place >= 0], np.intp)
    below: dict[bytes | None, list[Removal]] = defaultdict(list)
    for path, row in known.removals(unseen):
        root = next((root for root in scan.folders if is_below(path, root)), None)
        if (root is None and path not in missing) or any(is_below(path, folder) for folder in scan.unreadable):
            continue
        if is_gone(path):
            below[root].append(row)
    for root, rows in below.items():
        if root is not None and not scan.folders[root]:
            plan.notes.append(
                f"{os.fsdecode(root)}: no photos in this folder; the {len(rows):,} in the index stay, as a disk may be "
                "missing"
            )
        else:
            plan.deleted += rows


def _columns(table: Any, shard: int, retry: bool) -> tuple[npt.NDArray[Any], ...]:
    """Keys, shards, rows, sizes and times of the photos of a shard."""
    rows = table.to_pylist()
    again = [row["mtime_ns"] is None or (retry and row["error"] is not None) for row in rows]
    return (
        np.array([_key(os.fsencode(path_of(row["path"], row["raw_path"]))) for row in rows], KINDS[0]),
        np.full(len(rows), shard, np.int32),
        np.arange(len(rows), dtype=np.int32),
        np.array([NONE if row["bytes"] is None else row["bytes"] for row in rows], np.int64),
        np.array([NONE if anew else row["mtime_ns"] for row, anew in zip(rows, again, strict=True)], np.int64),
    )


def _key(path: bytes) -> bytes:
    return hashlib.blake2b(path, digest_size=KEY).digest()


def _batches(photos: Iterable[Found]) -> Iterator[list[Found]]:
    stream = iter(photos)
    while batch := list(islice(stream, BATCH)):
        yield batch
