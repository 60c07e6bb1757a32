"""Indexing an archive on a Ray cluster: actors that hold the networks, and take the paths of a shard at a time.

The driver decides which photos are in which shard before anything runs. An actor writes its shard to the folder of the
index, which all machines see, under the name that the driver gave it. So where a node is lost and Ray has its shard
made again, the same photos come into the same file, once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cascade.archive.errors import ArchiveError, import_pyarrow, import_ray
from cascade.archive.indexing import Outcome
from cascade.archive.plan import Plan
from cascade.archive.store import Removal, Store, write_shard
from cascade.checks import integer

if TYPE_CHECKING:
    from cascade.archive.photos import PhotoIndexer

__all__ = ["SHARD_PHOTOS", "index_paths", "run_plan_on_ray"]

SHARD_PHOTOS = 1024
"""Photos of a shard: what is lost with a node, and done again, is at most one shard for each of its actors."""

LOCAL = "local"


def run_plan_on_ray(
    plan: Plan,
    store: Store,
    indexer: PhotoIndexer,
    address: str | None = None,
    processes: int | None = None,
    shard_photos: int = SHARD_PHOTOS,
) -> Generator[Outcome, None, None]:
    """Does what `cascade.archive.indexing.run_plan` does, on a cluster, and tells what became of each photo.

    ``address`` is that of a cluster, "auto" for the one that runs on this machine, or "local" for a new one here; None
    takes the one that the program is connected to. ``processes`` are actors of one processor each, as many as the
    cluster has room for if it is None.

    Raises ImportError without the package `ray`, and `ArchiveError` where there is no cluster or a shard cannot be
    written; what was written before stays.
    """
    ray = import_ray()
    integer("shard_photos", shard_photos, 1)
    most = None if processes is None else integer("processes", processes, 1)
    _connect(ray, address)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    shards = shard_table(plan, store, shard_photos)
    if not len(shards):
        return
    work = ray.data.from_arrow([shards.slice(at, 1) for at in range(len(shards))]).map_batches(
        ShardMaker,
        fn_constructor_args=(indexer, str(store.folder.absolute())),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=most or 1, max_size=most or max(1, int(ray.cluster_resources().get("CPU", 1)))
        ),
    )
    try:
        for row in work.iter_rows():
            yield Outcome(row["path"], row["faces"], row["error"])
    except ray.exceptions.RayError as error:
        raise ArchiveError(f"{store.folder}: the cluster could not go on: {_cause(error)}") from error


def index_paths(
    paths: Iterable[bytes],
    indexer: PhotoIndexer,
    folder: str | Path,
    name: str,
    changed: Mapping[bytes, Removal] = MappingProxyType({}),
) -> list[Outcome]:
    """Makes one shard of the photos at these paths, and tells what became of each. Raises OSError.

    A shard of that name is replaced, so that work that is done again does no harm. It is what other schedulers than Ray
    call for each part of their work.
    """
    results = [indexer.index(path) for path in paths]
    write_shard(Path(folder), name, results, indexer.manifest, changed)
    return [Outcome(result.path, len(result.scores), result.error) for result in results]


class ShardMaker:
    """An actor: holds the networks, and makes a shard of each batch."""

    def __init__(self, indexer: PhotoIndexer, folder: str) -> None:
        self._indexer = indexer
        self._folder = folder

    def __call__(self, table: Any) -> Any:
        """What became of each photo: a table with path, faces and error."""
        pa = import_pyarrow()
        outcomes: list[Outcome] = []
        for row in table.to_pylist():
            changed = {each.pop("path"): each for each in row["changed"]}
            outcomes += index_paths(row["paths"], self._indexer, self._folder, row["name"], changed)
        schema = pa.schema([("path", pa.binary()), ("faces", pa.int32()), ("error", pa.string())])
        return pa.Table.from_pylist([outcome._asdict() for outcome in outcomes], schema=schema)


def _connect(ray: Any, address: str | None) -> None:
    """Connects this program to the cluster, unless it is connected to one. Raises `ArchiveError`."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ray.exceptions.RayError, RuntimeError, ValueError) as error:
        raise ArchiveError(f"--ray {address}: no cluster could be reached: {error}") from error
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # it tells of each plan otherwise


def shard_table(plan: Plan, store: Store, size: int) -> Any:
    """A `pyarrow.Table` with a row per shard: its name, its photos, and the earlier rows that it replaces."""
    pa = import_pyarrow()
    row = pa.struct([("path", pa.binary()), ("shard", pa.string()), ("photo_id", pa.string())])
    schema = pa.schema([("name", pa.string()), ("paths", pa.list_(pa.binary())), ("changed", pa.list_(row))])
    return pa.Table.from_pylist(list(_shards(plan, store, size)), schema=schema)


def _shards(plan: Plan, store: Store, size: int) -> Iterator[dict[str, Any]]:
    for number, first in enumerate(range(0, len(plan.todo), size)):
        paths = plan.todo[first : first + size]
        changed = [{"path": path, **plan.changed[path]} for path in paths if path in plan.changed]
        yield {"name": store.shard_name(number), "paths": paths, "changed": changed}


def _cause(error: BaseException) -> str:
    """What went wrong in an actor, without Ray's own words around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
