"""The process that decodes photos and runs the networks on them, started by `cascade.app.pool`.

It reads requests from standard input and writes answers to standard output (`cascade.app.frames`). Decoders read files
of strangers, so it has limits: of memory, and none of its own files on the disk, nor a core file. When the server ends,
however it ends, its pipe is closed and the worker ends too, also in the middle of a photo.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from cascade.app.frames import Message, read_message, write_message

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["main"]


def main() -> None:
    """Answers requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends its workers
    answers = _private_output()
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    settings = requests.get().head

    from cascade.app.tasks import Networks, answer

    networks = Networks(float(settings["min_face"]), int(settings["photo_pixels"]))
    networks.warm_up()
    limit_resources(int(settings["worker_bytes"]))
    write_message(answers, networks.about())
    while True:
        write_message(answers, *answer(networks, requests.get()))


def _private_output() -> BinaryIO:
    """Standard output for answers alone; what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _read(stream: BinaryIO, requests: queue.SimpleQueue[Message]) -> None:
    """Passes requests on; ends the process where they end."""
    try:
        while (message := read_message(stream)) is not None:
            requests.put(message)
    finally:
        os._exit(0)


def limit_resources(more_bytes: int) -> None:
    """Limits the address space to so many bytes more than now, and forbids files, where the system can."""
    if resource is None:
        return
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_FSIZE, 0)
    status = Path("/proc/self/statm")
    if status.exists():  # elsewhere the size now is not known, and the limit is not kept anyway
        pages = int(status.read_text().split()[0])
        _set_limit(resource.RLIMIT_AS, pages * resource.getpagesize() + more_bytes)


def _set_limit(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (most, most))


if __name__ == "__main__":
    main()
