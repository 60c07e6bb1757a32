"""Indexing on a Ray cluster of several node processes on this machine, also with one that is killed."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cascade import Detector, Recognizer
from cascade.archive import ArchiveError, Index
from cascade.archive.indexing import planned
from cascade.archive.on_ray import ShardMaker, index_paths, run_plan_on_ray, shard_table
from cascade.archive.photos import PhotoIndexer
from cascade.archive.scan import Scan
from cascade.archive.store import Store
from tests.cli.helpers import portrait_photo

SHARD = 4

WAIT = 300  # seconds
PATIENCE = {
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
}
"""By default Ray gives up on its own processes after 30 seconds, which a busy machine may take to start them."""


def wait_for_nodes_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own wait for a node that starts ends after 30 seconds in releases that no variable tells otherwise."""
    from ray._private import services

    get_node = services.get_node

    def patient(*args: Any, **options: Any) -> Any:
        until = time.monotonic() + WAIT
        while True:
            try:
                return get_node(*args, **options)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    monkeypatch.setattr(services, "get_node", patient)


def free_ports() -> dict[str, int]:
    """Ports for a node. For those that are not given, it waits no more than 30 seconds until its agents chose them."""
    names = ("dashboard_agent_listen_port", "metrics_agent_port", "metrics_export_port", "runtime_env_agent_port")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}


def check_complete(out: Path, photos: int) -> None:
    """Every photo is there once, with its one face."""
    index = Index.open(out)
    paths = index.photos(["path"])["path"].to_pylist()
    faces = index.faces(["face_id", "path"]).to_pylist()
    assert len(paths) == len(set(paths)) == photos
    assert sorted(face["path"] for face in faces) == sorted(paths)
    assert len({face["face_id"] for face in faces}) == photos


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder with copies of a photo."""
    first = portrait_photo(str(tmp_path / "photos" / "000.jpg"))
    for number in range(1, 40):
        shutil.copy(first, first.with_name(f"{number:03}.jpg"))
    return first.parent


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two node processes beside the head, which computes nothing."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    for name, value in PATIENCE.items():
        monkeypatch.setenv(name, value)
    wait_for_nodes_to_start(monkeypatch)
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **free_ports()})
    nodes.workers = [nodes.add_node(num_cpus=1, **free_ports()) for _ in range(2)]
    nodes.wait_for_nodes(timeout=WAIT)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


class Slow(PhotoIndexer):
    """Takes so long for a photo that a node can be killed in between."""

    def index(self, path: str | bytes | os.PathLike[str]) -> Any:
        time.sleep(0.2)
        return super().index(path)

    def __reduce__(self) -> tuple[object, ...]:
        return Slow, (self.recognizer,)


@pytest.fixture
def slow(indexer: PhotoIndexer) -> PhotoIndexer:
    return Slow(indexer.recognizer)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kill", [False, True])
def test_a_cluster_loses_nothing_and_doubles_nothing(
    cluster: Any, many: Path, tmp_path: Path, slow: PhotoIndexer, kill: bool
) -> None:
    out = tmp_path / "faces.index"
    with Store.open(out, slow.manifest) as store:
        plan = planned(Scan([str(many)], str(out)), store)
        outcomes = run_plan_on_ray(plan, store, slow, shard_photos=SHARD)
        told = [next(outcomes)]
        if kill:
            cluster.remove_node(cluster.workers[0], allow_graceful=False)
        told += list(outcomes)
    assert {outcome.path for outcome in told} == set(plan.todo)
    assert all(outcome.faces == 1 and outcome.error is None for outcome in told)
    check_complete(out, 40)
    with Store.open(out, slow.manifest) as store:
        assert planned(Scan([str(many)], str(out)), store).unchanged == 40


def test_a_shard_that_is_made_again_is_there_once(many: Path, tmp_path: Path, indexer: PhotoIndexer) -> None:
    """What a cluster does after it lost a node whose work was done already, also two nodes at the same time."""
    out = tmp_path / "faces.index"
    with Store.open(out, indexer.manifest) as store:
        plan = planned(Scan([str(many)], str(out)), store)
        parts = [plan.todo[first : first + SHARD] for first in range(0, 40, SHARD)]
        for number, part in enumerate(parts):
            index_paths(part, indexer, out, store.shard_name(number))
        again = [
            threading.Thread(target=index_paths, args=(parts[3], indexer, out, store.shard_name(3))) for _ in range(2)
        ]
        for thread in again:
            thread.start()
        for thread in again:
            thread.join()
    check_complete(out, 40)


def test_an_actor_makes_the_shards_of_new_and_changed_photos(many: Path, tmp_path: Path, indexer: PhotoIndexer) -> None:
    """What an actor does, here without a cluster around it."""
    out = tmp_path / "faces.index"
    for _ in range(2):
        with Store.open(out, indexer.manifest) as store:
            plan = planned(Scan([str(many)], str(out)), store)
            shards = shard_table(plan, store, SHARD)
            maker = pickle.loads(pickle.dumps(ShardMaker))(indexer, str(out))
            told = [row for at in range(len(shards)) for row in maker(shards.slice(at, 1)).to_pylist()]
        assert sorted(row["path"] for row in told) == sorted(plan.todo)
        assert all(row["faces"] == 1 and row["error"] is None for row in told)
        check_complete(out, 40)
        for number in range(5):
            os.utime(many / f"{number:03}.jpg", ns=(1, 1))
    assert (len(plan.todo), len(plan.changed)) == (5, 5)


def test_no_cluster_is_named(tmp_path: Path, indexer: PhotoIndexer, many: Path) -> None:
    pytest.importorskip("ray.data")
    with Store.open(tmp_path / "faces.index", indexer.manifest) as store:
        plan = planned(Scan([str(many)]), store)
        with pytest.raises(ArchiveError, match="no cluster could be reached"):
            next(run_plan_on_ray(plan, store, indexer, "not an address"))


def test_settings_are_those_of_the_actors() -> None:
    """What crosses over to other machines has to say the same as what the driver wrote to the manifest."""
    indexer = PhotoIndexer(Recognizer(threads=1, detector=Detector(min_face=33, threads=1)))
    assert pickle.loads(pickle.dumps(indexer)).manifest.settings["min_face"] == 33
