"""The threads that run work in C, and the workspaces that it borrows."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cascade import _native

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A few threads, started when they are first needed; may be shared between threads and used after a fork.

    The thread that calls is one of them.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.workspaces: deque[_native.Workspace] = deque()  # those that nobody has borrowed
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self._mine = threading.local()

    def map(self, work: Callable[[Item, _native.Workspace], Result], items: Sequence[Item]) -> list[Result]:
        """The work on each item, with memory that is kept for later calls; results in the order of the items.

        Items are begun in their order, so that one may wait for what an earlier one does. Work that has work of its own
        mapped does that in its own thread and memory, and must not be using the memory itself then.
        """
        results: dict[int, Result] = {}
        waiting = deque(enumerate(items))

        def some(workspace: _native.Workspace) -> None:
            while waiting:
                try:
                    index, item = waiting.popleft()
                except IndexError:  # another thread was faster
                    break
                results[index] = work(item, workspace)

        mine = getattr(self._mine, "workspace", None)
        if mine is not None:
            some(mine)
        elif self.threads == 1 or len(waiting) < 2:
            self._lend(some)
        else:
            self._share(some, min(self.threads, len(waiting)), waiting)
        return [results[index] for index in range(len(results))]

    def _lend(self, some: Callable[[_native.Workspace], None]) -> None:
        try:
            workspace = self.workspaces.pop()
        except IndexError:
            workspace = _native.Workspace()
        self._mine.workspace = workspace
        try:
            some(workspace)
        finally:
            self._mine.workspace = None
            self.workspaces.append(workspace)

    def _share(self, some: Callable[[_native.Workspace], None], threads: int, waiting: deque[tuple[int, Item]]) -> None:
        """Runs it in so many threads, of which this is one, until nothing waits."""
        # a pool's threads do not survive a fork: the child starts its own
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = (os.getpid(), ThreadPoolExecutor(self.threads, thread_name_prefix="cascade"))
        others = [self._pool[1].submit(self._lend, some) for _ in range(threads - 1)]
        try:
            self._lend(some)
        finally:
            waiting.clear()  # nothing more is begun where something failed
            for other in others:
                if not other.cancel():  # one that has not even begun is not waited for
                    other.result()
