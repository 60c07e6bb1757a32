"""Photos that have a URL: in object stores, on servers and in archives, by the package fsspec.

`s3://bucket/photos`, `gs://bucket`, `zip://::photos.zip` and whatever else fsspec knows. What its file systems raise is
OSError here, whoever made it.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from io import BytesIO
from stat import S_IFDIR, S_IFREG
from typing import Any, BinaryIO, NamedTuple

from cascade.archive.errors import ArchiveError, import_fsspec
from cascade.imaging.errors import LONGEST, shortened
from cascade.imaging.opening import MAX_FILE_BYTES

__all__ = ["Entry", "State", "check_url", "has_entries", "is_url", "list_folder", "normal", "opened", "state_of"]

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
CHAIN = "::"
"""Between the URLs of an archive's folder and of the archive itself."""
LOCAL = "file://"

IN_MEMORY = 1 << 26  # bytes; larger objects, and those of unknown size, are read by way of a temporary file
CHUNK = 1 << 20  # bytes read at once
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "Last-Modified", "created", "date_time")
"""What fsspec's file systems call the time of change."""


class State(NamedTuple):
    """What `os.stat` tells of a file, of an object."""

    st_mode: int
    st_size: int
    st_mtime_ns: int
    """To the second, as a listing may tell more than a request for the object does; 0 where it is not told."""


@dataclass(frozen=True)
class Entry:
    """What `os.scandir` gives for a file, for an object or a folder of objects."""

    name: bytes
    path: bytes
    """Its URL."""
    state: State

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.state.st_mode == S_IFDIR

    def is_symlink(self) -> bool:
        """False: links are not told from what they link to."""
        return False

    def stat(self) -> State:
        """Its state, as it was listed."""
        return self.state


def is_url(path: str | bytes) -> bool:
    """Whether a path is a URL, such as ``s3://bucket/photos``."""
    return URL.match(os.fsdecode(path)) is not None


def check_url(url: str) -> None:
    """Makes sure that nothing is used which was read of it before.

    Raises `ArchiveError` for a protocol that fsspec does not know, ImportError without it or the protocol's package,
    and OSError.
    """
    with _os_errors():
        type(_place(url).files).clear_instance_cache()  # an archive's list of its files is read once


def normal(url: bytes) -> bytes:
    """The URL as `list_folder` spells it: without a slash at the end, and so on; an archive by its absolute path.

    One that cannot be read stays but for that path.
    """
    try:
        with _os_errors():
            place = _place(url)
            return os.fsencode(place.url(place.name))
    except (OSError, ArchiveError, ImportError):
        return os.fsencode(_with_whole_path(os.fsdecode(url)))


def _with_whole_path(url: str) -> str:
    """The URL with the absolute path of an archive of this machine, which names it wherever a run is started."""
    head, chained, archive = url.rpartition(CHAIN)
    archive = archive.removeprefix(LOCAL)
    if not chained or not archive or is_url(archive):
        return url
    return head + chained + os.path.abspath(archive)


def state_of(url: str | bytes) -> State:
    """The state of an object or a folder. Raises OSError."""
    with _os_errors():
        place = _place(url)
        return _state(place, place.files.info(place.name))


def has_entries(url: str | bytes) -> bool:
    """Whether it can be listed like a folder, as a server's page with links that is no folder by its state.

    Raises OSError.
    """
    with _os_errors():
        place = _place(url)
        return bool(place.files.isdir(place.name))


def list_folder(url: bytes) -> list[Entry]:
    """What is in a folder, as it is now. Raises OSError."""
    with _os_errors():
        place = _place(url)
        entries = []
        for info in place.files.ls(place.name, detail=True):
            name = info["name"].rstrip("/")
            if name != place.name.rstrip("/"):  # S3 has objects that stand for the folder itself
                base = os.fsencode(name.rpartition("/")[2])
                entries.append(Entry(base, os.fsencode(place.url(name)), _state(place, info)))
        return entries


@contextmanager
def opened(url: str | bytes) -> Iterator[tuple[BinaryIO, State]]:
    """The whole content of an object as a file, and its state, which is no newer than the content. Raises OSError."""
    with _os_errors():
        place = _place(url)
        state = _state(place, place.files.info(place.name))
        if state.st_mode != S_IFREG:
            raise IsADirectoryError(errno.EISDIR, "expected a photo, got a folder")
        if state.st_size > MAX_FILE_BYTES:
            raise _too_large(f"{state.st_size:,}")
        file = _fetched(place, state.st_size)
    with file:
        yield file, state


def _fetched(place: _Place, size: int) -> BinaryIO:
    """The content of an object of this size, as its store says; 0 where it does not say.

    The object may be larger, as where a store unpacks it or it was replaced since: then it is read whole, up to
    `IN_MEMORY`. Raises OSError for more: a stream would end at the size that the store says.
    """
    if 0 < size <= IN_MEMORY:
        data = place.files.cat_file(place.name, end=IN_MEMORY + 1)
        if len(data) > IN_MEMORY:
            raise OSError(errno.EFBIG, f"expected {size:,} bytes, as its store says, got more than {IN_MEMORY:,}")
        return BytesIO(data)
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 whoever asked closes it
    try:
        with place.files.open(place.name, "rb") as stream:
            _copy(stream, file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _copy(stream: BinaryIO, file: BinaryIO) -> None:
    """Copies what there is. Raises OSError if it is more than is allowed."""
    left = MAX_FILE_BYTES + 1
    while left and (chunk := stream.read(min(left, CHUNK))):
        file.write(chunk)
        left -= len(chunk)
    if not left:
        raise _too_large("more")


def _too_large(size: str) -> OSError:
    return OSError(errno.EFBIG, f"expected at most {MAX_FILE_BYTES:,} bytes, got {size}")


class _Place(NamedTuple):
    """An object or folder: fsspec's file system, its name there, and what its URL has before and after the name."""

    files: Any
    name: str
    scheme: str
    chain: str

    def url(self, name: str) -> str:
        """The URL of another one in the same file system."""
        head = name if URL.match(name) else f"{self.scheme}://{name}"  # servers' names are URLs
        return head + self.chain


def _place(url: str | bytes) -> _Place:
    """Raises `ArchiveError`, ImportError, and whatever the file system raises."""
    text = _with_whole_path(os.fsdecode(url))
    fsspec = import_fsspec()
    head, chained, rest = text.partition(CHAIN)
    try:
        files, name = fsspec.core.url_to_fs(text, use_listings_cache=False)
    except ImportError as error:
        raise ImportError(f"{text}: {error}") from error
    except ValueError as error:
        raise ArchiveError(f"{text}: {error}") from error
    return _Place(files, name, head.partition("://")[0], chained + rest)


def _state(place: _Place, info: dict[str, Any]) -> State:
    if info["type"] == "directory":
        return State(S_IFDIR, 0, 0)
    if info.get("size") is None:  # as where a server's page lists it
        info = place.files.info(info["name"])
    return State(S_IFREG if info["type"] == "file" else 0, info.get("size") or 0, _time(info))


def _time(info: dict[str, Any]) -> int:
    """Nanoseconds since 1970, to the second; 0 where it is not told."""
    value = next((info[name] for name in TIMES if info.get(name) is not None), 0)
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value) if value[:1].isdigit() else parsedate_to_datetime(value)
        elif isinstance(value, tuple):
            value = datetime(*value)
        if isinstance(value, datetime):
            value = (value if value.tzinfo else value.replace(tzinfo=UTC)) - EPOCH
            value = value / timedelta(seconds=1)
        return int(value) * 10**9
    except (TypeError, ValueError, OverflowError):
        return 0


@contextmanager
def _os_errors() -> Iterator[None]:
    """Raises what clients of stores raise, of whatever kind, as OSError, but for what is wrong from the start."""
    try:
        yield
    except FileNotFoundError as error:
        if not _is_another_failure(error.__cause__):
            raise
        raise _os_error(error.__cause__) from error
    except (OSError, ArchiveError, ImportError):
        raise
    except Exception as error:
        raise _os_error(error) from error


def _os_error(error: BaseException | None) -> OSError:
    return OSError(errno.EIO, shortened(f"{type(error).__name__}: {error}", LONGEST))


def _is_another_failure(cause: BaseException | None) -> bool:
    """Whether no server said that there is no such file: fsspec takes whatever HTTP servers answer for that."""
    if isinstance(cause, (ConnectionError, TimeoutError)):
        return True
    return type(cause).__module__.startswith("aiohttp") and getattr(cause, "status", None) not in (404, 410)
