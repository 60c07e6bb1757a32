"""The threads that run work in C, and the workspaces that it borrows."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from cascade import _native

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A few threads, started when they are first needed; may be shared between threads and used after a fork."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.workspaces: deque[_native.Workspace] = deque()  # those that nobody has borrowed
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    @contextmanager
    def workspace(self) -> Iterator[_native.Workspace]:
        """Memory for one piece of work at a time; it is kept for the next one."""
        try:
            borrowed = self.workspaces.pop()
        except IndexError:
            borrowed = _native.Workspace()
        yield borrowed
        self.workspaces.append(borrowed)

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The work on each item, results in the order of the items; in this thread if there is but one."""
        items = list(items)
        if self.threads == 1 or len(items) < 2:
            return [work(item) for item in items]
        # a pool's threads do not survive a fork: the child starts its own
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = (os.getpid(), ThreadPoolExecutor(self.threads, thread_name_prefix="cascade"))
        return list(self._pool[1].map(work, items))
