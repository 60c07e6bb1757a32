"""The packets of an open file or stream, past those that are damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["MAX_FAILURES", "packets_of"]

MAX_FAILURES = 100  # damaged packets one after the other, after which the rest is given up


def packets_of(av: Any, container: Any, stream: Any, damaged: Callable[[], None]) -> Iterator[Any]:
    """The packets of a stream; ``damaged`` is called for each that cannot be read.

    After one that cannot be read more may follow, as in FLV files, so that reading goes on up to `MAX_FAILURES`.
    """
    failures = 0
    packets = container.demux(stream)
    while failures < MAX_FAILURES:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):  # PyAV's IndexError comes at the end, if new streams appeared on the way
            return
        except (av.error.FFmpegError, OSError):
            damaged()
            failures += 1
            packets = container.demux(stream)
            continue
        failures = 0
        yield packet
