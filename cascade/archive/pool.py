"""The worker processes: each one a photo at a time, on one thread.

A worker has at most `AHEAD` photos waiting, so no list of results grows anywhere: whoever takes results sets the pace.
A worker that ends, as where the system kills it for its memory, costs the photo that it was at, and another one starts.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from cascade.archive.errors import ArchiveError
from cascade.archive.locations import state_of
from cascade.archive.schema import PhotoResult
from cascade.interrupts import interrupts_held

if TYPE_CHECKING:
    from cascade.archive.photos import PhotoIndexer

__all__ = ["results_of"]

AHEAD = 2
"""Photos that a worker has: one that it is at, and one so that it need not wait."""

MOST_FAILED_STARTS = 3
READY = "ready"
KILLED = 9  # the signal, which Windows has no name for

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Variables of libraries that would otherwise start a thread per processor in each worker."""


def results_of(paths: Iterable[bytes], indexer: PhotoIndexer, processes: int) -> Generator[PhotoResult, None, None]:
    """The rows of each photo as soon as they are there, so in no fixed order, by that many processes.

    Raises `ArchiveError` if processes cannot be started. When the iterator is closed, they are ended.
    """
    packed = pickle.dumps(indexer)
    workers: list[_Worker] = []
    waiting = iter(paths)
    again: deque[bytes] = deque()  # photos that a worker which ended had not begun
    failed = 0
    try:
        while True:
            more = True
            for worker in workers:
                more = worker.feed(again, waiting) and more
            if more and len(workers) < processes:
                _start(workers, processes, packed)
                continue
            if not any(worker.photos for worker in workers):
                return
            for worker in _with_news(workers):
                answer = worker.answer()
                if isinstance(answer, PhotoResult):
                    yield answer
                elif answer is None:
                    workers.remove(worker)
                    worker.end()
                    failed = 0 if worker.ready else failed + 1
                    if failed == MOST_FAILED_STARTS:
                        raise ArchiveError(f"a worker process ended while it started ({worker.how_it_ended()})")
                    lost, rest = worker.left_over()
                    again += rest
                    if lost is not None:
                        yield PhotoResult(lost, **_state(lost), error=f"the process ended ({worker.how_it_ended()})")
    finally:
        for worker in workers:
            worker.end()


def _start(workers: list[_Worker], processes: int, packed: bytes) -> None:
    """Adds workers until there are enough, and gives the new ones a pickled `PhotoIndexer`.

    They start side by side: none gets it before all of them run. Ctrl-C waits until a process is one of the workers,
    which whoever stops them ends, and never reaches the process itself. Raises `ArchiveError`.
    """
    before = len(workers)
    try:
        while len(workers) < processes:
            with interrupts_held(), _one_thread():
                workers.append(_Worker())
    except OSError as error:
        raise ArchiveError(f"a worker process cannot be started: {error}") from error
    for worker in workers[before:]:
        worker.begin(packed)


class _Worker:
    """A process, and the photos that it has."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of threads in whatever state
        self.connection, other = context.Pipe()
        self.photos: deque[bytes] = deque()
        self.ready = False
        self._process = context.Process(target=_work, args=(other,), name="cascade index", daemon=True)
        self._process.start()
        other.close()

    def begin(self, packed: bytes) -> None:
        """Gives the process a pickled `PhotoIndexer`."""
        with suppress(OSError):  # it has ended, which `answer` finds
            self.connection.send_bytes(packed)

    def feed(self, again: deque[bytes], waiting: Iterator[bytes]) -> bool:
        """Gives the process photos until it has enough. Returns whether there may be more."""
        while len(self.photos) < AHEAD:
            path = again.popleft() if again else next(waiting, None)
            if path is None:
                return False
            self.photos.append(path)
            with suppress(OSError):  # it has ended, which `answer` finds
                self.connection.send_bytes(path)
        return True

    def answer(self) -> PhotoResult | str | None:
        """A photo's rows, or `READY`; None if the process has ended."""
        try:
            answer: PhotoResult | str = self.connection.recv()
        except (EOFError, OSError):
            return None
        if isinstance(answer, PhotoResult):
            self.photos.popleft()
        else:
            self.ready = True
        return answer

    def left_over(self) -> tuple[bytes | None, list[bytes]]:
        """Of a process that has ended: the photo at which it did, and those that it had not begun."""
        rest = list(self.photos)
        return (rest[0], rest[1:]) if self.ready and rest else (None, rest)

    def how_it_ended(self) -> str:
        """Its exit status or signal in words."""
        status = self._process.exitcode or 0
        if status >= 0:
            return f"exit status {status}"
        if status == -KILLED:
            return "it was killed; there may have been too little memory"
        return f"signal {-status}"

    def end(self) -> None:
        """Ends the process, which has nothing to save, if it has not ended by itself."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _with_news(workers: list[_Worker]) -> list[_Worker]:
    ready: set[Any] = set(wait([worker.connection for worker in workers]))
    return [worker for worker in workers if worker.connection in ready]


def _state(path: bytes) -> dict[str, Any]:
    """What can be said of a file at which a process ended: the next run does not try it again as it is."""
    try:
        state = state_of(path)
    except OSError:
        return {}
    return {"size": state.st_size, "mtime_ns": state.st_mtime_ns}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Has processes that are started use one thread."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(connection: Connection) -> None:
    """What a worker does until nobody is at the other end any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends this one
    with suppress(EOFError, OSError):
        indexer: PhotoIndexer = pickle.loads(connection.recv_bytes())
        connection.send(READY)
        while True:
            connection.send(indexer.index(connection.recv_bytes()))
