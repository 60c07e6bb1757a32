"""Ctrl-C that waits."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from cascade.interrupts import interrupts_held, interrupts_wait
from tests.cli.helpers import posix_only


@posix_only
def test_ctrl_c_waits_for_what_is_being_written():
    done = []

    def write():
        with interrupts_wait():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@posix_only
def test_ctrl_c_is_not_lost_where_what_waits_fails():
    def write():
        with interrupts_wait():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            raise OSError("no space left")

    with pytest.raises(KeyboardInterrupt):
        write()


def test_interrupts_wait_in_other_threads_and_with_other_handlers():
    def block():
        with interrupts_wait():
            done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        block()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == [True, True]


@posix_only
@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("send", [signal.raise_signal, lambda number: os.kill(os.getpid(), number)])
def test_interrupts_are_held_also_where_another_thread_takes_them(threads, send):
    done, ended = [], threading.Event()

    def start():
        with interrupts_held():
            assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
            send(signal.SIGINT)
            time.sleep(0.01)
            done.append(True)

    others = [threading.Thread(target=ended.wait) for _ in range(threads)]
    for thread in others:
        thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
    finally:
        ended.set()
        for thread in others:
            thread.join()
    assert done == [True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
