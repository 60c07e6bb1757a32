"""Which files a command may replace: those that it wrote itself, as they were written. Others get another name.

A picture carries a mark: a JPEG comment with the hash of all else. Results are known by their form. Links are never
followed: what stands behind one is not ours.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

from cascade.private_files import whole_file

IsOurs = Callable[[IO[bytes]], bool]
"""Tells from the content of a file whether a command wrote it."""

MARK = b"written by cascade, sha256 "
MARK_BYTES = len(MARK) + 2 * hashlib.sha256().digest_size
LONGEST_LINE = 1 << 26
"""Bytes of a line of results; a photo of 100,000 faces has half as many."""


def first_usable(path: Path, is_ours: IsOurs) -> Path:
    """The path, or name-2, name-3 … beside it: the first that is free or holds a file of ours."""
    names = chain([path], (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2)))
    return next(candidate for candidate in names if usable(candidate, is_ours))


def usable(path: Path, is_ours: IsOurs) -> bool:
    """Whether nothing has that name, or a file of ours. Raises OSError for a folder that cannot be searched."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(path, flags), "rb") as file:
            return is_ours(file)
    except FileNotFoundError:
        return True
    except PermissionError:
        return not os.path.lexists(path)


@contextmanager
def replacing(path: Path, mode: str, **options: Any) -> Iterator[IO[Any]]:
    """A new file that replaces ``path`` once it is complete, and is deleted if that fails.

    ``mode`` is "w" or "wb", ``options`` are those of `io.TextIOWrapper`. A link of that name is replaced itself.
    """
    with whole_file(path) as binary:
        if mode == "w":
            text = io.TextIOWrapper(binary, **options)
            yield text
            text.detach()  # writes what it holds, and leaves the file open for the other to complete
        else:
            yield binary


def create(path: Path, **options: Any) -> IO[str]:
    """Opens a text file that does not exist yet, nor a link of that name. Raises OSError."""
    stream: IO[str] = open(path, "x", **options)  # noqa: SIM115
    return stream


# --------------------------------------------------------------------------------------------------
# Pictures


def marked(jpeg: bytes) -> bytes:
    """The JPEG data with our mark, a comment behind the first segment."""
    at = _end_of_first_segment(jpeg)
    comment = MARK + hashlib.sha256(jpeg).hexdigest().encode()
    return jpeg[:at] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[at:]


def is_our_picture(file: IO[bytes]) -> bool:
    """Whether a file is a JPEG with our mark that has not been changed since."""
    head = file.read(4096)
    at = _end_of_first_segment(head)
    end = at + 4 + MARK_BYTES
    if head[at : at + 2] != b"\xff\xfe" or head[at + 4 : at + 4 + len(MARK)] != MARK or len(head) < end:
        return False
    digest = hashlib.sha256(head[:at] + head[end:])
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest().encode() == head[end - 2 * digest.digest_size : end]


def _end_of_first_segment(jpeg: bytes) -> int:
    return 4 + int.from_bytes(jpeg[4:6], "big")  # FFD8, then FFE0, a length that counts itself, and the rest


# --------------------------------------------------------------------------------------------------
# Results

_RECORD = re.compile(rb'\{"path": ".*", "width": \d+, "height": \d+, "faces": \[.*\]\}')
_BEGINNING = b'{"path": "'


def is_our_jsonl(file: IO[bytes]) -> bool:
    """Whether all lines are records, but for a last one that a killed run left incomplete."""
    for line in _lines(file):
        if not (_RECORD.fullmatch(line.rstrip(b"\n")) or (line.startswith(_BEGINNING) and not line.endswith(b"\n"))):
            return False
    return True


def is_our_json(file: IO[bytes]) -> bool:
    """Whether a file is an array of records, one per line."""
    lines = [line.rstrip(b"\n") for line in _lines(file)]
    if lines == [b"[]"]:
        return True
    return (
        len(lines) > 2
        and (lines[0], lines[-1]) == (b"[", b"]")
        and all(_RECORD.fullmatch(line.removesuffix(b",")) for line in lines[1:-1])
    )


def is_our_csv(header: str) -> IsOurs:
    """What tells a table whose first line is ``header``."""
    return lambda file: next(_lines(file), b"").rstrip(b"\r\n") == header.encode()


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(LONGEST_LINE):
        yield line
