"""Photos with URLs: in memory, in a zip file, in a store that fails, and on an S3 server where one is installed."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec")

import fsspec

from cascade import ImageError, read_image
from cascade.archive import ArchiveError, Index, remote
from cascade.archive import photos as photos_module
from cascade.archive.indexing import ShardWriter, index_archive, planned
from cascade.archive.locations import is_below, read_photo
from cascade.archive.photos import PhotoIndexer
from cascade.archive.plan import Plan
from cascade.archive.scan import Scan
from cascade.archive.store import Store


def update(out: Path, indexer: PhotoIndexer, *paths: str) -> Plan:
    """A run in this process, which alone sees the store in its memory."""
    with Store.open(out, indexer.manifest) as store:
        plan = planned(Scan(list(paths), str(out)), store)
        writer = ShardWriter(store, plan)
        for path in plan.todo:
            writer.add(indexer.index(path))
        writer.flush()
    return plan


def rows(out: Path) -> dict[str, tuple[int, str | None]]:
    """Faces and error of each photo by its path; fails if one is there twice."""
    found = Index.open(out).photos(["path", "faces", "error"]).to_pylist()
    assert len({row["path"] for row in found}) == len(found)
    return {row["path"]: (row["faces"], row["error"]) for row in found}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "faces.index"


@pytest.fixture
def memory(photos: Path) -> Iterator[Any]:
    """The folder ``photos`` at memory://archive, with what is to be left out."""
    files = fsspec.filesystem("memory")
    files.put(str(photos), "/archive", recursive=True)
    for name in ("film.mp4", "raw.nef", "notes.txt", ".hidden.jpg", ".thumbs/a.jpg"):
        files.pipe_file(f"/archive/{name}", b"x")
    yield files
    files.rm("/archive", recursive=True)


def test_a_store_is_searched_like_a_folder(memory: Any) -> None:
    scan = Scan(["memory://archive"])
    found = {os.fsdecode(each.path): each for each in scan.photos()}
    wanted = ["2024/two.jpg", "none.png", "one.jpg"]
    assert sorted(found) == [f"memory:///archive/{name}" for name in wanted]
    assert found["memory:///archive/one.jpg"].size == len(memory.cat_file("/archive/one.jpg"))
    assert (scan.videos, dict(scan.left_out), scan.problems) == (1, {".nef": 1}, [])


def test_changed_and_deleted_objects_are_noticed(memory: Any, out: Path, indexer: PhotoIndexer) -> None:
    memory.pipe_file("/archive/bad.jpg", b"no photo")
    assert len(update(out, indexer, "memory://archive").todo) == 4
    found = rows(out)
    assert str(found.pop("memory:///archive/bad.jpg")[1]).startswith("expected JPEG, PNG")
    assert {path.rpartition("/")[2]: faces for path, (faces, _) in found.items()} == {
        "one.jpg": 1,
        "two.jpg": 2,
        "none.png": 0,
    }
    plan = update(out, indexer, "memory://archive")
    assert (plan.todo, plan.deleted, plan.unchanged) == ([], [], 4)

    memory.pipe_file("/archive/one.jpg", memory.cat_file("/archive/2024/two.jpg"))
    memory.rm_file("/archive/none.png")
    plan = update(out, indexer, "memory://archive/")
    assert (len(plan.changed), len(plan.deleted), plan.unchanged) == (1, 1, 2)
    assert rows(out)["memory:///archive/one.jpg"] == (2, None)


def test_photos_are_named_by_url_and_in_lists(memory: Any, out: Path, photos: Path, indexer: PhotoIndexer) -> None:
    names = ["memory:///archive/one.jpg", "memory:///archive/gone.jpg", str(photos / "one.jpg"), "nowhere://one.jpg"]
    (photos.parent / "list.txt").write_text("\n".join(names))
    plan = update(out, indexer, str(photos.parent / "list.txt"), "memory:///archive/none.png", "memory:///archive")
    assert len(plan.todo) == 4
    assert rows(out)[names[0]] == rows(out)[names[2]] == (1, None)
    scan = Scan([str(photos.parent / "list.txt")])
    assert [found.size is None for found in scan.photos()] == [False, True, False, True]
    assert scan.problems[1] == "nowhere://one.jpg: Protocol not known: nowhere"
    ids = Index.open(out).photos(["sha256"])["sha256"].to_pylist()
    assert len(set(ids)) == 3


def test_an_object_is_read_like_a_file(memory: Any, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = read_image(photos / "one.jpg")
    assert (read_photo("memory:///archive/one.jpg") == pixels).all()
    monkeypatch.setattr(remote, "IN_MEMORY", 100)
    assert (read_photo("memory:///archive/one.jpg") == pixels).all()
    with pytest.raises(ImageError, match=r"memory:///archive/gone\.jpg: cannot be read"):
        read_photo("memory:///archive/gone.jpg")
    monkeypatch.setattr(remote, "MAX_FILE_BYTES", 100)
    with pytest.raises(ImageError, match="expected at most 100 bytes"):
        read_photo("memory:///archive/one.jpg")


class Endless(io.RawIOBase):
    """A file that has no end, and counts what was read of it."""

    taken = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return Endless.taken

    def read(self, size: int = -1) -> bytes:
        assert size >= 0  # nobody asks for all of it
        Endless.taken += size
        return bytes(size)


class WithoutSizes(fsspec.AbstractFileSystem):
    """A server that tells no sizes: a photo, and an answer without an end."""

    protocol = "sizeless"
    photo = b""

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {"name": path, "type": "file", "size": None}

    def open(self, path: str, *args: Any, **options: Any) -> Any:
        return Endless() if "endless" in path else io.BytesIO(self.photo)


def test_an_object_of_unknown_size_is_read_as_far_as_allowed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("sizeless", WithoutSizes, clobber=True)
    monkeypatch.setattr(WithoutSizes, "photo", (photos / "one.jpg").read_bytes())
    assert (read_photo("sizeless://one.jpg") == read_image(photos / "one.jpg")).all()
    monkeypatch.setattr(Endless, "taken", 0)
    monkeypatch.setattr(remote, "MAX_FILE_BYTES", 3 << 20)
    with pytest.raises(ImageError, match="expected at most 3,145,728 bytes, got more"):
        read_photo("sizeless://endless.jpg")
    assert Endless.taken == (3 << 20) + 1
    monkeypatch.setattr(remote, "MAX_FILE_BYTES", len(WithoutSizes.photo))
    assert (read_photo("sizeless://one.jpg") == read_image(photos / "one.jpg")).all()


def test_an_object_of_unknown_size_is_not_held_in_memory_whole(
    photos: Path, indexer: PhotoIndexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("sizeless", WithoutSizes, clobber=True)
    monkeypatch.setattr(WithoutSizes, "photo", (photos / "one.jpg").read_bytes())
    read, sources = photos_module.read_reduced, []

    def noted(source: Any, *args: Any, **options: Any) -> Any:
        sources.append(source)
        return read(source, *args, **options)

    monkeypatch.setattr(photos_module, "read_reduced", noted)
    in_memory = indexer.index("sizeless://one.jpg")
    monkeypatch.setattr(photos_module, "WHOLE", 1000)
    by_file = indexer.index("sizeless://one.jpg")
    assert [isinstance(source, bytes) for source in sources] == [True, False]
    assert len(in_memory.scores) == len(by_file.scores) == 1
    assert in_memory.sha256 == by_file.sha256


class Understating(fsspec.AbstractFileSystem):
    """A store whose objects are larger than it says."""

    protocol = "understating"
    photo = b""

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {"name": path, "type": "file", "size": 5}

    def open(self, path: str, *args: Any, **options: Any) -> Any:
        return Endless() if "endless" in path else io.BytesIO(self.photo)


def test_an_object_may_be_larger_than_its_store_says_as_far_as_memory_allows(
    photos: Path, indexer: PhotoIndexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("understating", Understating, clobber=True)
    monkeypatch.setattr(Understating, "photo", (photos / "one.jpg").read_bytes())
    assert (read_photo("understating://one.jpg") == read_image(photos / "one.jpg")).all()
    found = indexer.index("understating://one.jpg")
    assert (len(found.scores), found.size) == (1, 5)  # the size that the next run compares with
    monkeypatch.setattr(Endless, "taken", 0)
    monkeypatch.setattr(remote, "IN_MEMORY", 3 << 20)
    refused = "expected 5 bytes, as its store says, got more than 3,145,728"
    with pytest.raises(ImageError, match=refused):
        read_photo("understating://endless.jpg")
    assert Endless.taken == (3 << 20) + 1
    monkeypatch.setattr(Endless, "taken", 0)
    found = indexer.index("understating://endless.jpg")
    assert (found.error, found.mtime_ns) == (f"cannot be read: {refused}", None)  # and is tried again


def zipped(path: Path, photos: Path) -> str:
    """The URL of a zip file of these photos."""
    with zipfile.ZipFile(path, "w") as archive:
        for photo in sorted(each for each in photos.rglob("*") if each.is_file()):
            archive.write(photo, photo.relative_to(photos))
    return f"zip://::{path}"


def test_processes_index_a_zip_file(photos: Path, out: Path, tmp_path: Path, indexer: PhotoIndexer) -> None:
    url = zipped(tmp_path / "photos.zip", photos)
    assert len(index_archive([url], out, indexer, processes=2).todo) == 3
    assert rows(out)[f"zip://2024/two.jpg::{tmp_path / 'photos.zip'}"] == (2, None)
    assert index_archive([url], out, indexer, processes=1).unchanged == 3
    os.utime(photos / "one.jpg", (10**9, 10**9))
    (photos / "none.png").unlink()
    zipped(tmp_path / "photos.zip", photos)
    plan = index_archive([url], out, indexer, processes=1)
    assert (len(plan.changed), len(plan.deleted), plan.unchanged) == (1, 1, 1)
    assert len(index_archive([f"zip://2024::{tmp_path / 'photos.zip'}"], out, indexer, processes=1).deleted) == 0


def test_a_zip_file_has_one_name_from_everywhere(
    photos: Path, out: Path, tmp_path: Path, indexer: PhotoIndexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipped(tmp_path / "photos.zip", photos)
    monkeypatch.chdir(tmp_path)
    assert len(update(out, indexer, "zip://::photos.zip").todo) == 3
    assert f"zip://one.jpg::{tmp_path / 'photos.zip'}" in rows(out)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    for url in ("zip://::../photos.zip", f"zip://::file://{tmp_path / 'photos.zip'}", "zip://one.jpg::../photos.zip"):
        assert update(out, indexer, url).todo == []


@pytest.mark.parametrize(
    ("path", "folder", "below"),
    [
        ("s3://bucket/a/b.jpg", "s3://bucket/a", True),
        ("s3://bucket/a/b.jpg", "s3://bucket/a/", True),
        ("s3://bucket/ab.jpg", "s3://bucket/a", False),
        ("s3://bucket2/b.jpg", "s3://bucket", False),
        ("/bucket/b.jpg", "s3://bucket", False),
        ("zip://a/b.jpg::s3://bucket/c.zip", "zip://::s3://bucket/c.zip", True),
        ("zip://a/b.jpg::s3://bucket/c.zip", "zip://a::s3://bucket/c.zip", True),
        ("zip://a/b.jpg::s3://bucket/c.zip", "zip://a::s3://bucket/d.zip", False),
    ],
)
def test_what_is_below_a_folder(path: str, folder: str, below: bool) -> None:
    assert is_below(path.encode(), folder.encode()) is below


class Failing(fsspec.AbstractFileSystem):
    """A store whose client raises errors of its own."""

    protocol = "failing"

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {"name": path, "type": "file" if path.endswith(".jpg") else "directory", "size": 5, "mtime": 1.5}

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        if "closed" in path:
            raise RuntimeError("no credentials")
        return [{"name": f"{path}/closed", "type": "directory"}, self.info(f"{path}/a.jpg")]

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        raise RuntimeError("the connection was lost")


def test_a_store_that_fails_is_reported_and_tried_again(out: Path, indexer: PhotoIndexer) -> None:
    fsspec.register_implementation("failing", Failing, clobber=True)
    scan = Scan(["failing://photos"])
    assert [(found.path, found.size, found.mtime_ns) for found in scan.photos()] == [
        (b"failing://photos/a.jpg", 5, 10**9)
    ]
    assert scan.problems == ["failing://photos/closed: RuntimeError: no credentials"]
    for _ in range(2):
        assert len(update(out, indexer, "failing://photos").todo) == 1
    assert rows(out) == {"failing://photos/a.jpg": (0, "cannot be read: RuntimeError: the connection was lost")}


class Unreachable(fsspec.AbstractFileSystem):
    """A store that says of a lost connection what fsspec says of it for HTTP."""

    protocol = "unreachable"
    lost: BaseException | None = None

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        if self.lost is not None:
            raise FileNotFoundError(path) from self.lost
        return {"name": path, "type": "file", "size": 5}

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        return b"photo"


@pytest.mark.parametrize(
    ("lost", "left"), [(ConnectionResetError("lost"), 1), (TimeoutError(), 1), (FileNotFoundError("404"), 0)]
)
def test_photos_stay_where_nobody_said_that_they_are_gone(
    lost: BaseException, left: int, out: Path, tmp_path: Path, indexer: PhotoIndexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("unreachable", Unreachable, clobber=True)
    (tmp_path / "list.txt").write_text("unreachable://a.jpg\n")
    update(out, indexer, str(tmp_path / "list.txt"))
    monkeypatch.setattr(Unreachable, "lost", lost)
    update(out, indexer, str(tmp_path / "list.txt"))
    assert len(rows(out)) == left


def test_a_server_that_lists_its_folders(photos: Path, out: Path, indexer: PhotoIndexer) -> None:
    pytest.importorskip("aiohttp", reason="needs a client of HTTP: pip install aiohttp requests")
    pytest.importorskip("requests")
    handler = partial(SimpleHTTPRequestHandler, directory=str(photos))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        assert len(update(out, indexer, f"{root}/").todo) == 3
        assert rows(out)[f"{root}/2024/two.jpg"] == (2, None)
        (photos / "one.jpg").unlink()
        assert update(out, indexer, root).unchanged == 2
        server.shutdown()
    assert len(rows(out)) == 2
    (photos.parent / "list.txt").write_text(f"{root}/none.png\n")
    update(out, indexer, str(photos.parent / "list.txt"))
    assert len(rows(out)) == 2
    with pytest.raises(ArchiveError, match="cannot be read: ClientConnectorError"):
        update(out, indexer, root)


def test_what_is_wrong_with_a_url_is_said_first(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import known_implementations

    monkeypatch.setitem(
        known_implementations, "far", {"class": "no_such_package.Files", "err": "Install no_such_package"}
    )
    with pytest.raises(ImportError, match=r"far://bucket: Install no_such_package"):
        next(Scan(["far://bucket"]).photos())
    with pytest.raises(ArchiveError, match="nowhere://bucket: Protocol not known: nowhere"):
        next(Scan(["nowhere://bucket"]).photos())
    with pytest.raises(ArchiveError, match="memory://nothing: there is no such file or folder"):
        next(Scan(["memory://archive", "memory://nothing"]).photos())
    with pytest.raises(ArchiveError, match=r"memory://archive/notes\.txt: expected the URL of a folder or a photo"):
        next(Scan(["memory://archive/notes.txt"]).photos())


def test_an_index_is_in_a_local_folder(photos: Path, indexer: PhotoIndexer) -> None:
    for refused in (lambda: Index.open("s3://bucket/index"), lambda: index_archive([photos], "s3://bucket/i", indexer)):
        with pytest.raises(ArchiveError, match="has to be in a folder of this machine"):
            refused()


@pytest.fixture
def bucket(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 server with the photos in a bucket."""
    server = pytest.importorskip("moto.server", reason="needs an S3 server: pip install 'moto[server]'")
    pytest.importorskip("s3fs", reason="needs a client of S3: pip install s3fs")
    running = server.ThreadedMotoServer(port=0)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    files.mkdir("bucket")
    files.put(str(photos), "bucket/photos", recursive=True)
    yield files
    running.stop()


def test_processes_index_a_bucket(bucket: Any, out: Path, indexer: PhotoIndexer) -> None:
    bucket.pipe_file("bucket/photos/bad #1.jpg", b"no photo")
    assert len(index_archive(["s3://bucket/photos"], out, indexer, processes=2).todo) == 4
    found = rows(out)
    assert str(found.pop("s3://bucket/photos/bad #1.jpg")[1]).startswith("expected JPEG, PNG")
    assert found == {
        "s3://bucket/photos/one.jpg": (1, None),
        "s3://bucket/photos/2024/two.jpg": (2, None),
        "s3://bucket/photos/none.png": (0, None),
    }
    assert index_archive(["s3://bucket"], out, indexer, processes=1).unchanged == 4
    bucket.copy("bucket/photos/2024/two.jpg", "bucket/photos/one.jpg")
    bucket.rm_file("bucket/photos/none.png")
    plan = index_archive(["s3://bucket/photos"], out, indexer, processes=1)
    assert (len(plan.changed), len(plan.deleted), plan.unchanged) == (1, 1, 2)
    with pytest.raises(ArchiveError, match="s3://other: there is no such file or folder"):
        index_archive(["s3://other"], out, indexer, processes=1)
