"""The threads that work in C for an engine."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from threading import Thread

from cascade import _native


class Threads:
    """A pool of a few threads, started when it is first needed; may be shared between threads and used after a fork."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._teams: dict[int, _native.ThreadPool] = {}  # by process: threads do not survive a fork

    @property
    def pool(self) -> _native.ThreadPool:
        """The pool; the thread that calls it is one of its threads."""
        process = os.getpid()
        return self._teams.get(process) or self._start(process)

    def _start(self, process: int) -> _native.ThreadPool:
        pool = _native.ThreadPool(self.threads)
        first = self._teams.setdefault(process, pool)
        if first is not pool:  # another thread came first
            return first
        for ancestor in set(self._teams) - {process}:
            self._teams.pop(ancestor, None)
        # the threads know the pool, not this object, and end with this; at exit they sleep and may stay asleep
        weakref.finalize(self, pool.close).atexit = False
        with suppress(RuntimeError):  # where no more threads are to be had, fewer do the same work
            for index in range(self.threads - 1):
                Thread(target=pool.work, args=(index,), name=f"cascade-{index + 1}", daemon=True).start()
        return pool
