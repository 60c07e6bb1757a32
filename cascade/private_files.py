"""Files that are private and never half written, and a lock between processes: for galleries and embeddings.

Both are biometric data, so they are created for their owner alone. The lock is the operating system's, which it
releases when a process ends, however it ends: a killed program leaves nothing locked.
"""

from __future__ import annotations

import errno
import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

__all__ = [
    "LOCK_TIMEOUT",
    "locked",
    "new_partial",
    "owner_only",
    "remove_partials",
    "replacing",
    "sync_folder",
    "whole_file",
]

LOCK_TIMEOUT = 60.0
"""Seconds to wait for a lock. It is held while a file is read, changed and written, not while photos are embedded."""

POLL = 0.02  # seconds between tries

PRIVATE, PUBLIC = 0o600, 0o666
FLAGS = (
    os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOINHERIT", 0)
    | getattr(os, "O_BINARY", 0)
)
PARTIAL = re.compile(r"\.cascade-(\d{1,10})-[0-9a-f]+\.partial")


@contextmanager
def replacing(path: str | Path, *, always_private: bool = False, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """A new file that replaces ``path`` once it is complete and on the disk, and is deleted if that fails.

    It can be read by its owner alone, or has another ``mode``, less the umask; where it replaces a file, it gets that
    file's mode, unless it is ``always_private``. The target of a link is replaced, not the link. Partial files of
    programs that were killed are deleted from the folder. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    remove_partials(target.parent)
    with _put_in_place(target, mode) as (partial, stream):
        yield stream
        stream.flush()
        if not always_private:
            with suppress(FileNotFoundError):
                os.chmod(partial, target.stat().st_mode & 0o777)
        os.fsync(stream.fileno())
    sync_folder(target.parent)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that replaces ``path`` once it is complete, and is deleted if that fails; for files that are public.

    A link of that name is replaced itself. Raises OSError.
    """
    with _put_in_place(path, PUBLIC) as (_, stream):
        yield stream
        stream.flush()


@contextmanager
def _put_in_place(path: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    """A partial file beside ``path``, open, which takes its place after the block; deleted if that fails."""
    partial, stream = new_partial(path.parent, mode)
    try:
        with stream:
            yield partial, stream
            if fcntl is not None:  # while it is locked, so that nobody takes it for a dead program's
                partial.replace(path)
        if fcntl is None:  # Windows renames closed files only
            partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def remove_partials(folder: Path) -> None:
    """Deletes the partial files that programs of this machine left when they were killed."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            named = PARTIAL.fullmatch(entry.name)
            if named and entry.is_file(follow_symlinks=False) and not _runs(int(named[1])) and not _in_use(entry.path):
                with suppress(OSError):
                    os.unlink(entry.path)


@contextmanager
def locked(path: str | Path, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Keeps other processes and threads out of the same block for the same ``path`` until this one ends.

    The lock is a hidden file beside ``path``, or beside its target if it is a link. Raises TimeoutError if somebody
    else holds it for ``timeout`` seconds, and OSError where there can be no such file.
    """
    target = Path(os.path.realpath(path))
    place = target.with_name(f".{target.name}.lock")
    until = time.monotonic() + timeout
    while (stream := _try_lock(place, target)) is None:
        if time.monotonic() >= until:
            raise TimeoutError(errno.ETIMEDOUT, f"another program has been changing it for {timeout:g} seconds")
        time.sleep(POLL)
    try:
        yield
    finally:
        with stream:
            if fcntl is not None:
                with suppress(OSError):
                    place.unlink()  # before unlocking: whoever waits for this file sees that it is gone
            _unlock(stream)
        if fcntl is None:
            with suppress(OSError):  # Windows refuses it while somebody waits
                place.unlink()


def _try_lock(place: Path, target: Path) -> IO[bytes] | None:
    """The locked file; None if somebody else has it."""
    try:
        stream = os.fdopen(os.open(place, os.O_RDWR | FLAGS, PRIVATE), "r+b")
    except PermissionError:
        if fcntl is not None and not place.exists():
            raise  # the folder cannot be written
        return None  # another user's, or on Windows one that is being deleted
    try:
        with suppress(OSError):  # who may change the file may wait for its lock
            os.chmod(place, target.stat().st_mode & 0o777)
        if _lock(stream) and _is_at(stream, place):
            return stream
    except BaseException:
        stream.close()
        raise
    stream.close()
    return None


def _lock(stream: IO[bytes]) -> bool:
    """Whether the open file could be locked. Raises OSError where the file system has no locks."""
    try:
        if fcntl is not None:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK):
            return False
        raise
    return True


def _unlock(stream: IO[bytes]) -> None:
    """Unlocks the file for processes forked meanwhile too, which closing it here would not."""
    if fcntl is not None:
        fcntl.flock(stream, fcntl.LOCK_UN)
    else:
        msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)


def _is_at(stream: IO[bytes], place: Path) -> bool:
    """Whether the open file is the one of that name: its last owner may have deleted it."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(place))
    except FileNotFoundError:
        return False


def new_partial(folder: Path, mode: int = PRIVATE) -> tuple[Path, BinaryIO]:
    """A new empty file of this process that `remove_partials` deletes if it is killed; ``mode`` is less the umask.

    It is locked, which tells that it is in use where process numbers do not.
    """
    while True:
        partial = folder / f".cascade-{os.getpid()}-{os.urandom(6).hex()}.partial"
        raw = io.FileIO(partial, "w", opener=lambda name, _: os.open(name, os.O_WRONLY | os.O_EXCL | FLAGS, mode))
        stream = io.BufferedWriter(raw)  # its name is the path
        if fcntl is None:
            return partial, stream
        with suppress(OSError):  # without locks the process number must do
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(stream, partial):
            return partial, stream
        stream.close()


def owner_only(path: str, flags: int) -> int:
    """An ``opener`` for `open`: a file that it creates can be read by its owner alone."""
    return os.open(path, flags, PRIVATE)


def _runs(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    if fcntl is None:
        return False  # os.kill would end it on Windows, where files in use cannot be deleted anyway
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # another user's
    return True


def _in_use(path: str) -> bool:
    """Whether a process, perhaps in another container, has locked the file."""
    if fcntl is None:
        return False
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | FLAGS & ~os.O_CREAT), "rb") as stream:
            return not _lock(stream)
    except OSError:
        return True


def sync_folder(folder: Path) -> None:
    """Writes the folder itself to the disk, so that the new name outlasts a loss of power."""
    if fcntl is None:
        return  # Windows cannot open folders
    with suppress(OSError):  # some file systems cannot either
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
