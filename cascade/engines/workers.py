"""The threads that run work in C, and the workspaces that it borrows."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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

        Items are begun in their order, so that one may wait for what an earlier one does; none is begun once one has
        failed. Work that has work of its own mapped does that in its own thread and memory, and must not be using the
        memory itself then.
        """
        results: dict[int, Result] = {}
        waiting = deque(enumerate(items))

        def take_all(workspace: _native.Workspace) -> None:
            while waiting:
                try:
                    index, item = waiting.popleft()
                except IndexError:  # another thread was faster
                    break
                try:
                    results[index] = work(item, workspace)
                except BaseException:
                    waiting.clear()
                    raise

        lent = getattr(self._mine, "workspace", None)
        if lent is not None:
            take_all(lent)
        elif self.threads == 1 or len(waiting) < 2:
            self._lend(take_all)
        else:
            self._share(take_all, min(self.threads, len(waiting)), waiting)
        return [results[index] for index in range(len(results))]

    def _lend(self, take_all: Callable[[_native.Workspace], None]) -> None:
        """Runs this with memory of its own, which this thread's work within it shares."""
        try:
            workspace = self.workspaces.pop()
        except IndexError:
            workspace = _native.Workspace()
        self._mine.workspace = workspace
        try:
            take_all(workspace)
        finally:
            self._mine.workspace = None
            if len(self.workspaces) < self.threads:  # more callers than threads leave no more behind
                self.workspaces.append(workspace)

    def _share(
        self, take_all: Callable[[_native.Workspace], None], threads: int, waiting: deque[tuple[int, Item]]
    ) -> None:
        """Runs this in so many threads, of which the caller's is one, until nothing waits."""
        # a pool's threads do not survive a fork: the child starts its own
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = (os.getpid(), ThreadPoolExecutor(self.threads, thread_name_prefix="cascade"))
        others: list[Future[None]] = []
        try:
            for _ in range(threads - 1):
                others.append(self._pool[1].submit(self._lend, take_all))
            self._lend(take_all)
        finally:
            waiting.clear()
            # one that has not even begun is not waited for
            errors = [error for error in (other.exception() for other in others if not other.cancel()) if error]
        if errors:
            others.clear()  # an error refers to this frame, which must not refer to it
            raise errors.pop(0)
