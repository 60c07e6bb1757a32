"""The threads on which an engine runs its C code."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from threading import Thread

from cascade import _native


class Threads:
    """A thread pool that starts on first use. It can be shared between threads and used after a fork."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pools: dict[int, _native.ThreadPool] = {}  # by process: threads do not survive a fork
        self._finalizers: dict[int, weakref.finalize[..., Threads]] = {}

    @property
    def pool(self) -> _native.ThreadPool:
        """The pool of this process. The thread that calls a function with it is one of its threads."""
        process = os.getpid()
        return self._pools.get(process) or self._start(process)

    def _start(self, process: int) -> _native.ThreadPool:
        pool = _native.ThreadPool(self.threads)
        first = self._pools.setdefault(process, pool)
        if first is not pool:  # another thread was faster
            return first
        for ancestor in set(self._pools) - {process}:
            self._pools.pop(ancestor, None)
            closing = self._finalizers.pop(ancestor, None)
            if closing is not None:  # it holds the pool, and here there are no threads to end
                closing.detach()
        # The threads hold the pool, not this object, so they end when it does. At exit they sleep and can stay asleep.
        self._finalizers[process] = closing = weakref.finalize(self, pool.close)
        closing.atexit = False
        with suppress(RuntimeError):  # where no more threads can be started, fewer do the same work
            for index in range(self.threads - 1):
                Thread(target=pool.work, args=(index,), name=f"cascade-{index + 1}", daemon=True).start()
        return pool
