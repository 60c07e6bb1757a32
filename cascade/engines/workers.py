"""The threads that work in C for an engine, lent to one call at a time."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread

from cascade import _native


@dataclass(frozen=True, eq=False)
class _Pool:
    """A process's team, and teams that nobody has borrowed: those of one thread, then that one."""

    process: int
    team: _native.Team
    idle: deque[_native.Team] = field(default_factory=deque)


class Workers:
    """A team of a few threads, started when it is first needed; may be shared between threads and used after a fork.

    The thread that calls is one of them. While one call has the team, others work alone.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pools: dict[int, _Pool] = {}  # by process: threads do not survive a fork
        self._pool: _Pool | None = None

    @contextmanager
    def lend(self) -> Iterator[_native.Team]:
        """The team, or the caller alone; with memory that is kept for later calls."""
        pool = self._pool
        if pool is None or pool.process != os.getpid():
            pool = self._start()
        try:
            team = pool.idle.pop()
        except IndexError:
            team = _native.Team()
        try:
            yield team
        finally:
            if team is pool.team:
                pool.idle.append(team)
            elif len(pool.idle) < self.threads - 1:  # more callers than threads leave no more memory behind
                pool.idle.appendleft(team)

    def wake(self) -> None:
        """Has the threads wait awake for work that comes in a moment; to wake them takes a while."""
        pool = self._pool
        if pool is not None and pool.process == os.getpid():
            pool.team.wake()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept for later calls."""
        return sum(team.nbytes for team in self._pool.idle) if self._pool else 0

    def _start(self) -> _Pool:
        pool = _Pool(os.getpid(), _native.Team(self.threads))
        first = self._pools.setdefault(pool.process, pool)
        if first is not pool:  # another thread came first, and starts its own
            return first
        # the threads know their team, not this object, and end with it; at exit they sleep and may stay asleep
        weakref.finalize(self, pool.team.close).atexit = False
        try:
            for index in range(self.threads - 1):
                Thread(target=pool.team.help, args=(index,), name=f"cascade-{index + 1}", daemon=True).start()
        except RuntimeError:  # no more threads are to be had: the others do their share
            pass
        pool.idle.append(pool.team)
        self._pool = pool
        return pool
