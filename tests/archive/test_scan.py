"""Finding photos: what is taken, what is left out and counted, and folders that would go on for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cascade.archive import scan
from cascade.archive.errors import ArchiveError
from cascade.archive.scan import Scan

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs links and names of POSIX")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(scan: Scan, base: Path) -> list[str]:
    return [Path(os.fsdecode(found.path)).relative_to(base).as_posix() for found in scan.photos()]


def test_a_folder_by_name_and_what_is_left_out(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("b.jpg", "a.JPEG", "sub/c.png", "notes.txt", "film.MP4", "raw.CR2")))
    touch(tmp_path / ".hidden.jpg", tmp_path / ".thumbs" / "d.jpg", tmp_path / "index" / "e.jpg")
    scan = Scan([str(tmp_path)], str(tmp_path / "index"))
    assert names(scan, tmp_path) == ["a.JPEG", "b.jpg", "sub/c.png"]
    assert (scan.videos, dict(scan.left_out)) == (1, {".cr2": 1})
    assert list(scan.folders.values()) == [3]
    assert scan.problems == []


@posix_only
def test_loops_of_links(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "photo.jpg", tmp_path / "elsewhere" / "other.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self.jpg").symlink_to(tmp_path / "a" / "self.jpg")
    (tmp_path / "a" / "broken.jpg").symlink_to(tmp_path / "nothing.jpg")
    (tmp_path / "a" / "linked.jpg").symlink_to(tmp_path / "elsewhere" / "other.jpg")
    scan = Scan([str(tmp_path / "a")])
    assert names(scan, tmp_path) == ["a/linked.jpg", "a/photo.jpg"]
    assert scan.linked_folders == 1
    assert sorted(problem.rpartition("/")[2].partition(":")[0] for problem in scan.problems) == [
        "broken.jpg",
        "self.jpg",
    ]


@posix_only
def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    touch(tmp_path / "folder.jpg" / "a.jpg")
    assert names(Scan([str(tmp_path)]), tmp_path) == ["folder.jpg/a.jpg"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom a folder can keep out")
def test_an_unreadable_folder(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "closed" / "b.jpg")
    (tmp_path / "closed").chmod(0)
    scan = Scan([str(tmp_path)])
    assert names(scan, tmp_path) == ["a.jpg"]
    (tmp_path / "closed").chmod(0o700)
    assert scan.unreadable == [os.fsencode(tmp_path / "closed")]
    assert scan.problems == [f"{tmp_path / 'closed'}: Permission denied"]


@posix_only
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(path)).write_bytes(b"x")
    assert [found.path for found in Scan([str(tmp_path)]).photos()] == [path]


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
@pytest.mark.parametrize("last", [True, False])
def test_lists(tmp_path: Path, separator: str, last: bool) -> None:
    touch(tmp_path / "a b.jpg", tmp_path / "ü.jpg", tmp_path / "film.mov")
    named = [str(tmp_path / name) for name in ("a b.jpg", "ü.jpg", "gone.jpg", "film.mov", "notes.md")] + [
        str(tmp_path)
    ]
    (tmp_path / "list.txt").write_bytes((separator.join(named) + separator * last).encode())
    scan = Scan([str(tmp_path / "list.txt")])
    found = list(scan.photos())
    assert [(Path(os.fsdecode(each.path)).name, each.size) for each in found] == [
        ("a b.jpg", 1),
        ("ü.jpg", 1),
        ("gone.jpg", None),
    ]
    assert scan.videos == 1
    assert len(scan.problems) == 3


@pytest.mark.parametrize(("name", "content"), [("film.mp4", b"x"), ("data.bin", b"x" * 200_000)])
def test_what_is_no_list_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArchiveError, match="expected a folder, a photo or a list of paths"):
        list(Scan([str(tmp_path / name)]).photos())


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no such file or folder"):
        list(Scan([str(tmp_path / "nothing")]).photos())


def test_carriage_returns_in_lists(tmp_path: Path) -> None:
    """They belong to the ends of lines, also without a line feed, but to names in lists with zero bytes."""
    named = b"%s/a.jpg\r" % os.fsencode(tmp_path)
    for separator, wanted in ((b"\n", named[:-1]), (b"\0", named)):
        (tmp_path / "list.txt").write_bytes(named + separator + named)
        with (tmp_path / "list.txt").open("rb") as stream:
            assert list(scan._lines("list.txt", stream)) == [wanted, wanted]


def test_a_zero_byte_far_into_a_list(tmp_path: Path) -> None:
    """The list goes on; the system takes no such path."""
    (tmp_path / "a.jpg").touch()
    lines = [b"%s/a.jpg" % os.fsencode(tmp_path)] * 2000 + [b"b\0.jpg", b"%s/a.jpg" % os.fsencode(tmp_path)]
    (tmp_path / "list.txt").write_bytes(b"\n".join(lines))
    scan = Scan([str(tmp_path / "list.txt")])
    assert len(list(scan.photos())) == 2001
    assert len(scan.problems) == 1
