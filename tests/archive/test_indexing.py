"""Runs over small archives: new, changed and deleted photos, processes that are killed, and nothing lost or twice."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from multiprocessing import util
from pathlib import Path

import pytest

from cascade.archive import ArchiveError, Index
from cascade.archive.indexing import ShardWriter, index_archive, planned, run_plan
from cascade.archive.photos import PhotoIndexer
from cascade.archive.plan import Plan
from cascade.archive.pool import results_of
from cascade.archive.scan import Scan
from cascade.archive.schema import PhotoResult
from cascade.archive.store import Store
from tests.cli.helpers import portrait_photo

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs signals and links of POSIX")


def update(out: Path, indexer: PhotoIndexer, *paths: Path, retry: bool = False) -> Plan:
    """A run as `index_archive` does it, without processes, which take seconds to start."""
    with Store.open(out, indexer.manifest) as store:
        plan = planned(Scan([str(path) for path in paths], str(out)), store, retry)
        writer = ShardWriter(store, plan)
        for path in plan.todo:
            writer.add(indexer.index(path))
        writer.flush()
    return plan


def faces_by_photo(out: Path) -> dict[str, int]:
    """Every photo's number of faces; fails if a photo or face is there twice."""
    index = Index.open(out)
    photos, faces = index.photos().to_pylist(), index.faces(["face_id", "path"]).to_pylist()
    assert len({row["path"] for row in photos}) == len(photos)
    assert len({row["face_id"] for row in faces}) == len(faces)
    found = {Path(row["path"]).name: row["faces"] for row in photos}
    assert sum(found.values()) == len(faces)
    return found


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "faces.index"


def test_processes_index_a_folder(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    (photos / "bad.jpg").write_bytes(b"no photo")
    plan = index_archive([photos], out, indexer, processes=2)
    assert len(plan.todo) == 4
    assert faces_by_photo(out) == {"one.jpg": 1, "two.jpg": 2, "none.png": 0, "bad.jpg": 0}
    assert index_archive([photos], out, indexer, processes=2).unchanged == 4


def test_the_next_run_takes_up_what_has_changed(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    update(out, indexer, photos)
    ids = {row["path"]: row["face_id"] for row in Index.open(out).faces(["path", "face_id"]).to_pylist()}
    portrait_photo(str(photos / "one.jpg"), people=3)
    portrait_photo(str(photos / "new.jpg"))
    (photos / "none.png").unlink()
    plan = update(out, indexer, photos)
    assert (len(plan.todo), len(plan.changed), len(plan.deleted), plan.unchanged) == (2, 1, 1, 1)
    assert faces_by_photo(out) == {"one.jpg": 3, "two.jpg": 2, "new.jpg": 1}
    two = str(photos / "2024" / "two.jpg")
    after = {row["path"]: row["face_id"] for row in Index.open(out).faces(["path", "face_id"]).to_pylist()}
    assert after[two] == ids[two]
    plan = update(out, indexer, photos)
    assert (plan.todo, plan.changed, plan.deleted, plan.unchanged) == ([], {}, [], 3)


def test_a_touched_photo_keeps_its_ids(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    update(out, indexer, photos)
    before = sorted(Index.open(out).faces(["face_id"])["face_id"].to_pylist())
    os.utime(photos / "one.jpg", ns=(1, 1))
    assert len(update(out, indexer, photos).changed) == 1
    assert sorted(Index.open(out).faces(["face_id"])["face_id"].to_pylist()) == before


def test_an_index_may_have_several_folders(photos: Path, out: Path, tmp_path: Path, indexer: PhotoIndexer) -> None:
    other = tmp_path / "other"
    portrait_photo(str(other / "three.jpg"), people=3)
    update(out, indexer, photos)
    plan = update(out, indexer, other)
    assert (len(plan.todo), plan.deleted) == (1, [])
    assert len(faces_by_photo(out)) == 4
    plan = update(out, indexer, photos, photos / "one.jpg", photos, other)
    assert (plan.todo, plan.unchanged) == ([], 4)


def test_shards_that_nobody_needs_are_deleted_by_the_run_after(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    """A reader that opened the index before its last row was removed has a run's time to read it."""
    update(out, indexer, photos)
    for photo in ("one.jpg", "none.png", "2024/two.jpg"):
        portrait_photo(str(photos / photo), people=3)
    before = Index.open(out)
    update(out, indexer, photos)
    assert len(before.faces()) == 3
    assert len(list((out / "photos").iterdir())) == 2
    update(out, indexer, photos)
    assert [path.stem for kind in ("photos", "faces") for path in (out / kind).iterdir()] == ["r000002-s00000000"] * 2
    assert set(faces_by_photo(out).values()) == {3}


def test_photos_that_are_named_twice_are_indexed_once(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    assert len(update(out, indexer, photos, photos / "one.jpg", photos / "2024").todo) == 3


def test_an_empty_folder_removes_nothing(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    """As where a disk is not there, and its folder is empty."""
    update(out, indexer, photos)
    shutil.rmtree(photos)
    photos.mkdir()
    plan = update(out, indexer, photos)
    assert plan.deleted == []
    assert "the 3 in the index stay, as a disk may be missing" in plan.notes[0]
    assert len(faces_by_photo(out)) == 3


def test_a_list_removes_what_it_names_and_is_gone(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    update(out, indexer, photos)
    (photos / "one.jpg").unlink()
    (photos / "none.png").unlink()
    (photos.parent / "list.txt").write_text(f"{photos / 'one.jpg'}\n{photos / 'never.jpg'}\n")
    assert len(update(out, indexer, photos.parent / "list.txt").deleted) == 1
    assert set(faces_by_photo(out)) == {"none.png", "two.jpg"}


def test_bad_photos_are_tried_again_when_they_change_or_on_request(
    photos: Path, out: Path, indexer: PhotoIndexer
) -> None:
    (photos / "bad.jpg").write_bytes(b"no photo")
    update(out, indexer, photos)
    assert update(out, indexer, photos).todo == []
    assert update(out, indexer, photos, retry=True).todo == [os.fsencode(photos / "bad.jpg")]
    assert faces_by_photo(out)["bad.jpg"] == 0
    portrait_photo(str(photos / "bad.jpg"))
    assert len(update(out, indexer, photos).todo) == 1
    assert faces_by_photo(out)["bad.jpg"] == 1
    assert Index.open(out).counts()["errors"] == 0


@posix_only
def test_names_that_are_not_utf8(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    strange = os.fsencode(photos) + b"/caf\xe9.jpg"
    shutil.copy(photos / "one.jpg", os.fsdecode(strange))
    assert strange in update(out, indexer, photos).todo
    assert update(out, indexer, photos).unchanged == 4


def test_a_photo_twice_in_the_index_is_healed(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    """As where a node of a cluster that was thought lost wrote its shard after all."""
    update(out, indexer, photos)
    with Store.open(out, indexer.manifest) as store:
        store.write([indexer.index(photos / "one.jpg")])
    assert Index.open(out).counts()["photos"] == 4
    plan = update(out, indexer, photos)
    assert (plan.todo, len(plan.deleted)) == ([], 1)
    assert len(faces_by_photo(out)) == 3


class Fatal(PhotoIndexer):
    """Ends its process at photos of some names, as the system does where there is no memory."""

    def index(self, path: str | bytes | os.PathLike[str]) -> PhotoResult:
        if b"fatal" in os.fsencode(path):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().index(path)

    def __reduce__(self) -> tuple[object, ...]:
        return Fatal, (self.recognizer,)


@posix_only
def test_a_process_that_is_killed_costs_one_photo(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    for number in range(3):
        shutil.copy(photos / "one.jpg", photos / f"zz{number}.jpg")
    shutil.copy(photos / "one.jpg", photos / "fatal.jpg")
    index_archive([photos], out, Fatal(indexer.recognizer), processes=1)
    assert faces_by_photo(out) == {
        "one.jpg": 1, "two.jpg": 2, "none.png": 0, "zz0.jpg": 1, "zz1.jpg": 1, "zz2.jpg": 1, "fatal.jpg": 0
    }  # fmt: skip
    errors = [row for row in Index.open(out).photos().to_pylist() if row["error"]]
    assert [Path(row["path"]).name for row in errors] == ["fatal.jpg"]
    assert "it was killed" in errors[0]["error"]
    assert index_archive([photos], out, indexer, processes=1).todo == []


class Unstartable(PhotoIndexer):
    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (7,)


@posix_only
def test_processes_that_cannot_start_end_the_run(photos: Path, indexer: PhotoIndexer) -> None:
    with pytest.raises(ArchiveError, match="exit status 7"):
        list(results_of([os.fsencode(photos / "one.jpg")], Unstartable(indexer.recognizer), 1))


def test_closing_a_run_writes_what_there_is(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    with Store.open(out, indexer.manifest) as store:
        plan = planned(Scan([str(photos)], str(out)), store)
        results = run_plan(plan, store, indexer, 1)
        next(results)
        results.close()
    assert len(faces_by_photo(out)) == 1
    assert len(update(out, indexer, photos).todo) == 2
    assert len(faces_by_photo(out)) == 3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_worker_has_one_thread_and_ends_with_the_run(photos: Path, indexer: PhotoIndexer) -> None:
    results = results_of([os.fsencode(photos / "one.jpg")] * 6, indexer, 1)
    next(results)
    (worker,) = _children()
    status = Path(f"/proc/{worker}/status").read_text()
    assert "Threads:\t1\n" in status
    results.close()
    until = time.monotonic() + 10
    while _children() and time.monotonic() < until:
        time.sleep(0.05)
    assert _children() == []


@posix_only
@pytest.mark.parametrize("number", [1, 2])
def test_ctrl_c_while_processes_start_is_not_lost(
    photos: Path, indexer: PhotoIndexer, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes as the system starts the process, reaches none of them, and ends the run once this one has started."""
    launch, launched, masks = util.spawnv_passfds, [], []

    def interrupted(path: bytes, args: list[str], fds: list[int]) -> int:
        if any("spawn_main" in str(each) for each in args):
            launched.append(args)
            masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
            if len(launched) == number:
                os.kill(os.getpid(), signal.SIGINT)
        return launch(path, args, fds)

    monkeypatch.setattr(util, "spawnv_passfds", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(results_of([os.fsencode(photos / "one.jpg")] * 6, indexer, 3))
    assert len(launched) == number
    assert all(signal.SIGINT in mask for mask in masks)
    assert multiprocessing.active_children() == []
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _children() -> list[int]:
    """The worker processes, without multiprocessing's own."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(each) for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]
