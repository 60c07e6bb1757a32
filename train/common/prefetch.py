"""Batches prepared in the background."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Prepares the batch of the next step in a thread while a step learns from its own.

    ``prepare`` (step → batch) must depend on the step alone, so that a resumed run gets the same batches.
    """

    def __init__(self, prepare: Callable[[int], T]) -> None:
        self._prepare = prepare
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._ahead: tuple[int, Future[T]] | None = None

    def take(self, step: int) -> T:
        """The batch of this step; that of the next one is begun."""
        ready = self._ahead if self._ahead and self._ahead[0] == step else self._begin(step)
        self._ahead = self._begin(step + 1)
        return ready[1].result()

    def _begin(self, step: int) -> tuple[int, Future[T]]:
        return step, self._thread.submit(self._prepare, step)

    def close(self) -> None:
        """Ends the thread: none may be left when the sampling of a later stage forks."""
        self._thread.shutdown(cancel_futures=True)
