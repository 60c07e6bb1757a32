"""Indexing an archive on one machine: a plan, worker processes, and shards of what they find."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from cascade.archive.cpus import available_cpus
from cascade.archive.index import Index
from cascade.archive.locations import local_folder
from cascade.archive.photos import PhotoIndexer
from cascade.archive.plan import Plan, make_plan
from cascade.archive.pool import results_of
from cascade.archive.scan import Scan
from cascade.archive.schema import PhotoResult
from cascade.archive.store import Store, shard_names
from cascade.checks import integer

__all__ = ["SHARD_PHOTOS", "SHARD_SECONDS", "Outcome", "ShardWriter", "index_archive", "planned", "run_plan"]

SHARD_PHOTOS = 4096
"""Photos of a shard, at most."""

SHARD_SECONDS = 60.0
"""After which rows are written in any case, so that a run that is killed has lost no more work."""

MOST_PROCESSES = 1024


class Outcome(NamedTuple):
    """What became of a photo, for whoever reports the progress."""

    path: bytes
    faces: int
    error: str | None


def index_archive(
    paths: Sequence[str | Path],
    out: str | Path,
    indexer: PhotoIndexer | None = None,
    *,
    processes: int | None = None,
    retry: bool = False,
) -> Plan:
    """Indexes the photos in folders and lists, as ``cascade index`` does, and returns what the plan was.

    Parameters
    ----------
    paths : folders, photos, URLs of both, or text files with the path or URL of a photo in each line.
    out : folder of the index; it is created, or brought up to date if there is one.
    indexer : what is done with each photo. None: a `PhotoIndexer` with its default settings.
    processes : worker processes; None takes one per processor that this process may use.
    retry : also try photos again that could not be read.

    Processes are started, so a script calls it within ``if __name__ == "__main__":``.

    Raises `ArchiveError`, its kinds `ArchiveLockedError` and `ArchiveMismatchError`, and OSError where the index cannot
    be written; what was written before stays, and another call goes on from there.
    """
    worker = PhotoIndexer() if indexer is None else indexer
    folder = local_folder(out)
    scan = Scan([str(path) for path in paths], str(folder))
    scan.check()
    with Store.open(folder, worker.manifest) as store:
        plan = planned(scan, store, retry)
        for _ in run_plan(plan, store, worker, processes):
            pass
    return plan


def planned(scan: Scan, store: Store, retry: bool = False) -> Plan:
    """What is to be done; rows of photos that are gone are removed at once. Raises `ArchiveError` and OSError.

    Shards that earlier runs left without a row that holds are deleted.
    """
    store.remove_orphans()
    if shard_names(store.folder):
        store.delete(Index.open(store.folder).empty_shards())
    plan = make_plan(scan, Index.open(store.folder) if shard_names(store.folder) else None, retry)
    store.remove(plan.deleted)
    return plan


def run_plan(
    plan: Plan, store: Store, indexer: PhotoIndexer, processes: int | None = None
) -> Generator[Outcome, None, None]:
    """Does it, and tells what became of each photo. When it is closed, it writes what there is.

    Raises `ArchiveError` and OSError.
    """
    count = available_cpus() if processes is None else integer("processes", processes, 1, MOST_PROCESSES)
    writer = ShardWriter(store, plan)
    with closing(results_of(plan.todo, indexer, min(count, max(1, len(plan.todo))))) as results:
        try:
            for result in results:
                writer.add(result)
                yield Outcome(result.path, len(result.scores), result.error)
        except OSError:
            writer.rows = []  # the disk is full, and would be once more
            raise
        finally:
            writer.flush()


class ShardWriter:
    """Gathers rows until there are enough for a shard."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self.rows: list[PhotoResult] = []
        self._store = store
        self._plan = plan
        self._since = time.monotonic()

    def add(self, result: PhotoResult) -> None:
        """Takes up a photo's rows, and writes a shard if it is time."""
        if not self.rows:
            self._since = time.monotonic()
        self.rows.append(result)
        if len(self.rows) >= SHARD_PHOTOS or time.monotonic() - self._since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes a shard of what there is. Raises OSError."""
        if self.rows:
            self._store.write(self.rows, self._plan.changed)
        self.rows = []
