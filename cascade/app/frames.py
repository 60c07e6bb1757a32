"""Messages between the server and its workers: a JSON object, and bytes beside it.

Nothing is pickled: a worker decodes files of strangers, and what it answers is read as data.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, BinaryIO, NamedTuple

LENGTH = struct.Struct(">Q")
COUNT = struct.Struct(">I")
MOST_PARTS = 16
LARGEST_PART = 1 << 30


class Message(NamedTuple):
    """What is sent either way."""

    head: dict[str, Any]
    """Whatever JSON holds."""
    parts: list[bytes]
    """Files, pixels, embeddings."""


class FrameError(ValueError):
    """Bytes that are no message: the other side has gone wrong."""


def packed(head: dict[str, Any], parts: Sequence[bytes] = ()) -> list[bytes]:
    """The bytes of a message, to be written one after the other."""
    all_parts = [json.dumps(head).encode(), *parts]
    found = [COUNT.pack(len(all_parts))]
    for part in all_parts:
        found += [LENGTH.pack(len(part)), part]
    return found


def write_message(stream: BinaryIO, head: dict[str, Any], parts: Sequence[bytes] = ()) -> None:
    """Writes a message. Raises OSError."""
    for piece in packed(head, parts):
        stream.write(piece)
    stream.flush()


def read_message(stream: BinaryIO) -> Message | None:
    """The next message, None at the end of the stream. Raises `FrameError` and OSError."""
    start = stream.read(COUNT.size)
    if not start:
        return None
    parts = []
    for _ in range(_checked_count(start)):
        length = _checked_length(stream.read(LENGTH.size))
        part = stream.read(length)
        if len(part) != length:
            raise FrameError("a message is cut short")
        parts.append(part)
    return _message(parts)


async def read_message_async(read: Callable[[int], Awaitable[bytes]]) -> Message:
    """The same with a function that waits for so many bytes, and raises at the end of the stream."""
    parts = []
    for _ in range(_checked_count(await read(COUNT.size))):
        parts.append(await read(_checked_length(await read(LENGTH.size))))
    return _message(parts)


def _checked_count(data: bytes) -> int:
    if len(data) != COUNT.size or not 1 <= (count := COUNT.unpack(data)[0]) <= MOST_PARTS:
        raise FrameError("not the beginning of a message")
    return int(count)


def _checked_length(data: bytes) -> int:
    if len(data) != LENGTH.size or (length := LENGTH.unpack(data)[0]) > LARGEST_PART:
        raise FrameError("a part of a message has no possible length")
    return int(length)


def _message(parts: list[bytes]) -> Message:
    head = json.loads(parts[0])
    if not isinstance(head, dict):
        raise FrameError("a message does not begin with an object")
    return Message(head, parts[1:])
