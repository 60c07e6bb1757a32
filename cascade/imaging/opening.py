"""Opening what images come from, paths and file objects, with errors that say what someone may have meant."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from cascade.imaging.errors import ImageError, quoted
from cascade.imaging.formats import FORMATS

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_PIPE_BYTES",
    "bytes_left",
    "from_file_object",
    "from_path",
    "read_pipe",
    "type_name",
]

MAX_FILE_BYTES = max(each.largest for each in FORMATS)
MAX_PIPE_BYTES = 1 << 28  # of what has no length before it is read
SEEKABLE = (io.BufferedReader, io.FileIO, io.BytesIO)
BASE64 = re.compile(r"data:|/9j/|iVBORw0KGgo|UklGR|R0lGOD|[A-Za-z0-9+/=\s]{300}")

Result = TypeVar("Result")


def from_path(path: str | os.PathLike[Any], work: Callable[[BinaryIO, str], Result]) -> Result:
    """What ``work`` makes of the open file and its name for messages. Raises `ImageError`."""
    name = os.fspath(path)
    if not name:
        raise ImageError("image: expected a path, got an empty one")
    try:
        mode = os.stat(name).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise ImageError(f"image: expected an image file, but {quoted(name)} is {what}")
        with open(name, "rb") as file:
            return work(file, quoted(name))
    except ImageError as error:
        message = str(error)
        named = quoted(name) in message
        raise ImageError(message if named else f"{message} (file {quoted(name)})") from None
    except FileNotFoundError:
        raise ImageError(f"image: expected an image file, but there is none at {quoted(name)}{_hint(name)}") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ImageError(f"image: expected a readable file, but {quoted(name)} gives: {reason}{_hint(name)}") from error


def _hint(name: str | bytes) -> str:
    """What someone may have meant by a path to nothing."""
    text = os.fsdecode(name)
    if text.startswith("file:"):
        return " (pass the path alone, without file://)"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        return " (addresses are not fetched: download it first)"
    if BASE64.match(text):
        return " (is it base64 text? pass base64.b64decode(...) of it)"
    if text.startswith("~"):
        return " (~ is not expanded: use os.path.expanduser)"
    return ""


def from_file_object(file: Any, work: Callable[[BinaryIO, str], Result]) -> Result:
    """What ``work`` makes of a file object, read from its position, and its name for messages. Raises `ImageError`."""
    length = None
    try:
        takes_size, start = _beginning(file)
        if isinstance(start, str):
            raise ImageError('image: expected a binary file object, got one in text mode; open it with "rb"')
        length = bytes_left(file) if takes_size else None
        if isinstance(file, SEEKABLE) and length and not file.tell():
            result = work(file, _name(file))
            file.seek(0, os.SEEK_END)
            return result
        if length is not None and length > MAX_FILE_BYTES:
            raise ImageError(f"image: expected at most {MAX_FILE_BYTES:,} bytes, got {length:,}")
        data = _from_stream(file) if takes_size and length is None else file.read()
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # ValueError: the file was closed
        raise ImageError(f"image: the file object cannot be read: {error}") from error
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ImageError(f"image: expected bytes from the file object's read(), got {type_name(data)}")
    if not len(data):
        raise ImageError("image: expected an image, but the file object is empty or was read to its end")
    if length is None and len(data) > MAX_PIPE_BYTES:
        raise ImageError(f"image: expected at most {MAX_PIPE_BYTES:,} bytes from a stream, got more")
    return work(io.BytesIO(data), _name(file))


def _beginning(file: Any) -> tuple[bool, Any]:
    """Whether read() takes a size, and what it gives for 0."""
    try:
        return True, file.read(0)
    except TypeError:
        return False, b""


def _from_stream(file: Any) -> Any:
    """The bytes up to the end, which an unbuffered pipe gives in parts, but one more than is allowed at most."""
    parts, left = [], MAX_PIPE_BYTES + 1
    while left > 0 and (part := file.read(left)) != b"":
        if not isinstance(part, (bytes, bytearray, memoryview)):
            return part  # the caller says what is wrong
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _name(file: Any) -> str:
    """A file object's name for warnings."""
    name = getattr(file, "name", None)
    return quoted(name) if isinstance(name, (str, bytes)) else "file object"


def bytes_left(file: Any) -> int | None:
    """The number of bytes between a file's position and its end, if it has an end."""
    try:
        here = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(here)
    except (AttributeError, TypeError, OSError, ValueError):
        return None
    return end - here if isinstance(end, int) and isinstance(here, int) else None


def read_pipe(start: bytes, pipe: BinaryIO) -> bytes:
    """All bytes of a pipe, of which these were read. Raises `ImageError` for more than are allowed."""
    data = start + pipe.read(MAX_PIPE_BYTES)
    if len(data) > MAX_PIPE_BYTES:
        raise ImageError(f"image: expected at most {MAX_PIPE_BYTES:,} bytes from a pipe, got more")
    return data


def type_name(thing: Any) -> str:
    """A thing's class, for messages."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}".removeprefix("builtins.")
