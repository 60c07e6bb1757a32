"""Ctrl-C that waits: for what must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupts_held", "interrupts_wait"]


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Delays Ctrl-C to the end of the block, so that what it writes is complete."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    pressed: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed:  # also where the block failed, or a run that goes on after errors would miss it
            handler(*pressed[0])


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Delays Ctrl-C to the end of the block, and for ever in processes that it starts; Windows has no way to do that.

    Ignoring the signal would keep it from these processes as well, but one that comes in the block would be lost.
    """
    with interrupts_wait():  # another thread may take the signal, and tell the main one
        if not hasattr(signal, "pthread_sigmask"):
            yield
            return
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # before the first process it would start, and let the signal through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
