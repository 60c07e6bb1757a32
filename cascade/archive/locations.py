"""Where photos are: paths of this machine, or URLs. The rest of the package need not know which."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cascade.archive import remote
from cascade.archive.errors import ArchiveError, cannot_be_read
from cascade.imaging.errors import ImageError
from cascade.imaging.reading import RGBImage, read_image

__all__ = ["absolute", "is_below", "is_gone", "local_folder", "opened", "read_photo", "state_of"]

SEPARATOR = os.fsencode(os.sep)
CHAIN = os.fsencode(remote.CHAIN)


def absolute(path: bytes) -> bytes:
    """The name under which an index knows a photo: its absolute path, or its URL."""
    return remote.normal(path) if remote.is_url(path) else os.path.abspath(path)


def state_of(path: bytes) -> os.stat_result | remote.State:
    """Size and time of change of a photo. Raises OSError."""
    return remote.state_of(path) if remote.is_url(path) else os.stat(path)


def is_gone(path: bytes) -> bool:
    """Whether there is surely no such photo, which an error of another kind does not tell."""
    try:
        state_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ArchiveError, ImportError):
        pass
    return False


def is_below(path: bytes, folder: bytes) -> bool:
    """Whether a photo is in a folder or in one below it, by their names."""
    if not remote.is_url(folder):
        return path.startswith(folder.rstrip(SEPARATOR) + SEPARATOR)
    head, _, archive = folder.partition(CHAIN)
    photo, _, of_photo = path.partition(CHAIN)
    return archive == of_photo and photo.startswith(head.rstrip(b"/") + b"/")


@contextmanager
def opened(path: bytes) -> Iterator[tuple[BinaryIO, os.stat_result | remote.State]]:
    """The file of a photo, at its beginning, and its state. Raises OSError."""
    if remote.is_url(path):
        with remote.opened(path) as content:
            yield content
        return
    with open(path, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        yield file, state


def read_photo(path: str) -> RGBImage:
    """A photo as `cascade.read_image` gives it. Raises `ImageError`."""
    if not remote.is_url(path):
        return read_image(path)
    try:
        with remote.opened(path) as (file, _):
            return read_image(file)
    except (OSError, ArchiveError, ImportError) as error:
        raise ImageError(f"image: {path}: {cannot_be_read(error)}") from error


def local_folder(folder: str | Path) -> Path:
    """The folder of an index. Raises `ArchiveError` for a URL."""
    if remote.is_url(str(folder)):
        raise ArchiveError(f"{folder}: an index has to be in a folder of this machine, or one that is mounted here")
    return Path(folder)
