"""Finding photos in folders, URLs and lists, one after another, without holding all of them.

Links to folders are not followed, so loops of links do no harm; links to files are. Names that begin with a dot are
left out.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from cascade.archive import locations, remote
from cascade.archive.errors import ArchiveError, cannot_be_read
from cascade.imaging.formats import is_photo, is_unread_picture, is_video

__all__ = ["STANDARD_INPUT", "Found", "Scan"]

STANDARD_INPUT = "-"
LONGEST_LINE = 1 << 16  # bytes of a line of a list; a path has at most 4096


Entry = os.DirEntry[bytes] | remote.Entry


class Found(NamedTuple):
    """A photo by its absolute path or its URL, with the state of its file; None where it is named and not there."""

    path: bytes
    size: int | None
    mtime_ns: int | None


@dataclass
class Scan:
    """Goes through folders, lists of paths and single photos, and notes what it leaves out."""

    paths: list[str]
    """Folders, photos, URLs of both, text files with a path or URL a line (or, as `find -print0` writes, a zero byte
    after each)."""
    out: str | None = None
    """A folder that is not searched, since the index is there."""
    videos: int = 0
    linked_folders: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """How many pictures are of kinds that are not read, by suffix."""
    problems: list[str] = field(default_factory=list)
    folders: dict[bytes, int] = field(default_factory=dict)
    """How many photos are below each of the ``paths`` that is a folder."""
    unreadable: list[bytes] = field(default_factory=list)
    """Folders that could not be read, of whose photos nothing is known."""

    _roots: set[str] | None = field(default=None, repr=False)
    """Which of the ``paths`` `check` found to be folders."""

    def check(self) -> None:
        """Makes sure that there is what the paths name, before an index is created for it.

        Raises `ArchiveError` for paths that do not exist and for files that are neither photos nor lists, ImportError
        where a package is missing that a URL needs.
        """
        self._roots = {path for path in self.paths if _exists_as_folder(path)}
        for path in self.paths:
            if path in self._roots or path == STANDARD_INPUT or remote.is_url(path) or is_photo(path):
                continue
            if is_video(path):
                raise ArchiveError(f"{path}: expected a folder, a photo or a list of paths, got a video")
            if os.path.isfile(path):  # a pipe gives its list once
                with _opened_list(path) as stream:
                    next(_lines(path, stream), None)

    def photos(self) -> Iterator[Found]:
        """The photos, those of a folder by name. One that is named twice comes twice.

        Raises what `check` does.
        """
        if self._roots is None:
            self.check()
        folders = self._roots or ()
        for path in self.paths:
            if remote.is_url(path):
                url = locations.absolute(os.fsencode(path))
                yield from self._below_root(url) if path in folders else [self._named(url)]
            elif path == STANDARD_INPUT:
                yield from self._listed(path, cast(io.BufferedReader, sys.stdin.buffer))
            elif path in folders:
                yield from self._below_root(os.fsencode(os.path.abspath(path)))
            elif is_photo(path):
                yield self._named(os.fsencode(path))
            else:
                yield from self._in_list(path)

    def _below_root(self, root: bytes) -> Iterator[Found]:
        self.folders[root] = 0
        for found in self._below(root, None if self.out is None else os.path.realpath(os.fsencode(self.out))):
            self.folders[root] += 1
            yield found

    def _below(self, root: bytes, results: bytes | None) -> Iterator[Found]:
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            if results is not None and os.path.realpath(folder) == results:
                continue
            try:
                listed = _entries(folder)
            except OSError as error:
                self.unreadable.append(folder)
                self.problems.append(f"{os.fsdecode(folder)}: {error.strerror or error}")
                continue
            folders = []
            for entry in listed:
                if entry.name.startswith(b"."):
                    continue
                if _is_folder(entry):
                    self.linked_folders += entry.is_symlink()
                    folders += [] if entry.is_symlink() else [entry.path]
                elif self._is_wanted(os.fsdecode(entry.name)):
                    yield from self._file(entry)
            waiting += reversed(folders)

    def _is_wanted(self, name: str) -> bool:
        """Whether it is a photo by its name; counts what else may be missed."""
        if is_photo(name):
            return True
        if is_video(name):
            self.videos += 1
        elif is_unread_picture(name):
            self.left_out[os.path.splitext(name)[1].lower()] += 1
        return False

    def _file(self, entry: Entry) -> Iterator[Found]:
        try:
            state = entry.stat()
        except OSError as error:  # a broken link, a loop of links, a file that has just gone
            self.problems.append(f"{os.fsdecode(entry.path)}: {error.strerror or error}")
            return
        if stat.S_ISREG(state.st_mode):  # a pipe would be waited for
            yield Found(entry.path, state.st_size, state.st_mtime_ns)

    def _named(self, path: bytes) -> Found:
        """A photo that is named itself."""
        absolute = locations.absolute(path)
        try:
            state = locations.state_of(absolute)
        except OSError as error:
            self.problems.append(f"{os.fsdecode(path)}: {error.strerror or error}")
            return Found(absolute, None, None)
        except ArchiveError as error:  # a protocol that nobody knows
            self.problems.append(str(error))
            return Found(absolute, None, None)
        return Found(absolute, state.st_size, state.st_mtime_ns)

    def _in_list(self, path: str) -> Iterator[Found]:
        with _opened_list(path) as stream:
            yield from self._listed(path, stream)

    def _listed(self, name: str, stream: io.BufferedReader) -> Iterator[Found]:
        for line in _lines(name, stream):
            if b"\0" in line:
                self.problems.append(f"{os.fsdecode(line)[:80]!r}: no path, in the list {name}")
            elif os.path.isdir(line):
                self.problems.append(f"{os.fsdecode(line)}: expected photos in the list {name}, got a folder")
            elif self._is_wanted(os.fsdecode(line)):
                yield self._named(line)
            elif not is_video(os.fsdecode(line)) and not is_unread_picture(os.fsdecode(line)):
                self.problems.append(f"{os.fsdecode(line)}: no photo by its name")


def _exists_as_folder(path: str) -> bool:
    """Whether what is named is a folder. Raises `ArchiveError` where there is nothing, and ImportError."""
    missing = ArchiveError(f"{path or repr(path)}: there is no such file or folder")
    if not remote.is_url(path):
        if path != STANDARD_INPUT and not os.path.exists(path):
            raise missing
        return os.path.isdir(path)
    try:
        remote.check_url(path)
        is_folder = stat.S_ISDIR(remote.state_of(path).st_mode)
        if is_folder or is_photo(path.partition(remote.CHAIN)[0]):
            return is_folder
        if remote.has_entries(path):
            return True
    except FileNotFoundError:
        raise missing from None
    except OSError as error:
        raise ArchiveError(f"{path}: {cannot_be_read(error)}") from error
    raise ArchiveError(f"{path}: expected the URL of a folder or a photo")


def _opened_list(path: str) -> io.BufferedReader:
    """Raises `ArchiveError`."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise ArchiveError(f"{path}: {cannot_be_read(error)}") from error


def _entries(folder: bytes) -> list[Entry]:
    """What is in a folder, by name. Raises OSError."""
    if remote.is_url(folder):
        return sorted(remote.list_folder(folder), key=lambda entry: entry.name)
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: Entry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _lines(name: str, stream: io.BufferedReader) -> Iterator[bytes]:
    """The paths of a list, which are separated by line ends, or by zero bytes if there is one in the first line."""
    rest, separator, ending = b"", b"", b""
    while chunk := stream.read1(LONGEST_LINE):
        if not separator:  # behind a zero byte, a carriage return is part of the name
            separator, ending = (b"\0", b"") if b"\0" in chunk else (b"\n", b"\r")
        *lines, rest = (rest + chunk).split(separator)
        if len(rest) > LONGEST_LINE or any(len(line) > LONGEST_LINE for line in lines):
            raise ArchiveError(f"{name}: expected a folder, a photo or a list of paths, got a file with longer lines")
        yield from (line.removesuffix(ending) for line in lines if line.strip())
    if rest.strip():
        yield rest.removesuffix(ending)
