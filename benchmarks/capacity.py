"""What the cores give: separate processes of one thread each, detecting at the same time.

The host of a virtual machine may give its cores less time than it counts cores, now and then: two that are threads of
one physical core together do little more than one. No detector with two threads can be faster than that.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

from cascade.detect import Detector
from cascade.imaging.reading import RGBImage

__all__ = ["DETECTIONS", "Processes", "WorkerError", "milliseconds"]

DETECTIONS = 4
"""Detections timed in each process at a time."""

PATIENCE = 300.0
"""Seconds after which a process that does not answer counts as failed."""

STOP = 0


class WorkerError(ChildProcessError):
    """A process that cannot start, failed, ended or gave no answer; the message is one line that says which and why."""


class Processes:
    """Processes with a one-thread detector each, on a core of its own where the system can see to that.

    ``settings`` are those of `Detector`, but for its threads. The processes start where the context is entered, and
    end where it is left or with this process. In between they sleep unless `time` is at work.
    """

    def __init__(self, count: int, image: RGBImage, settings: dict[str, Any]) -> None:
        self.count, self.image, self.settings = count, image, settings
        self._workers: list[tuple[BaseProcess, Connection]] = []

    def time(self, count: int) -> float:
        """Milliseconds of one detection at the rate of the first ``count`` processes together: 1 / sum(1 / time).

        All are at it for as long as any is timed. Raises `WorkerError`.
        """
        for at in range(count):
            self._tell(at, DETECTIONS)
        times = [self._answer(at) for at in range(count)]
        for at in range(count):
            self._tell(at, STOP)
        for at in range(count):
            self._answer(at)
        return 1 / sum(1 / each for each in times)

    def close(self) -> None:
        """Ends the processes."""
        workers, self._workers = self._workers, []
        for process, pipe in workers:
            pipe.close()
            process.kill()  # there is nothing that it would have to put in order
        for process, _ in workers:
            process.join()
            process.close()

    def __enter__(self) -> Processes:
        try:
            for core in own_cores(self.count):
                self._start(core)
            for at in range(self.count):  # all get ready at once
                self._answer(at)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, core: int | None) -> None:
        # not forked: the threads of this process's detectors would not be there, but their locks would, as they are
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, core, self.image, self.settings), daemon=True)
        try:
            process.start()
        except Exception as error:
            ours.close()
            raise WorkerError(f"{self._name(len(self._workers))} cannot be started: {error}") from error
        finally:
            theirs.close()  # the process alone holds it, so that its end is seen here
        self._workers.append((process, ours))

    def _tell(self, at: int, request: int) -> None:
        with suppress(OSError):  # one that has ended is noticed when it should answer
            self._workers[at][1].send(request)

    def _answer(self, at: int) -> float:
        """What a process answers. Raises `WorkerError`."""
        process, pipe = self._workers[at]
        if not pipe.poll(PATIENCE):
            raise WorkerError(f"{self._name(at)} gave no answer within {PATIENCE:g} s")
        try:
            answer = pipe.recv()
        except (EOFError, OSError) as error:
            process.join(PATIENCE)
            raise WorkerError(f"{self._name(at)} ended with {_ending(process.exitcode)}") from error
        if isinstance(answer, str):
            raise WorkerError(f"{self._name(at)} failed: {answer}")
        return float(answer)

    def _name(self, at: int) -> str:
        return f"process {at + 1} of the {self.count} that show what the cores give"


def own_cores(count: int) -> Sequence[int | None]:
    """Return a core for each process, physical ones before their second threads; None: the system chooses.

    That is where it cannot be told which, or there are fewer cores than processes.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if count > len(allowed):
        return [None] * count
    taken: Counter[str] = Counter()
    ranked = []
    for core in allowed:
        physical = _physical(core)
        ranked.append((taken[physical], core))
        taken[physical] += 1
    return [core for _, core in sorted(ranked)][:count]


def serve(pipe: Connection, core: int | None, image: RGBImage, settings: dict[str, Any]) -> None:
    """Answer each request, a number of detections, with the milliseconds of one, until the other end is closed.

    It goes on detecting until it is told to stop, and answers that with 0, as it does when it is ready. What fails is
    answered with a text.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the process that asks, and with it this one
    try:
        if core is not None:
            with suppress(OSError):  # where that is forbidden the system chooses
                os.sched_setaffinity(0, {core})
        detector = Detector(**settings, threads=1)
        detector.detect(image)
        pipe.send(0.0)
        while True:
            count = pipe.recv()
            pipe.send(milliseconds(detector, image, count))
            while not pipe.poll():  # others are being timed still, and this core must not be idle beside them
                detector.detect(image)
            pipe.recv()
            pipe.send(0.0)
    except Exception as error:
        with suppress(OSError):  # nobody listens any more: that was the error
            pipe.send(f"{type(error).__name__}: {error}")


def milliseconds(detector: Detector, image: RGBImage, count: int = 1) -> float:
    """The time of one of ``count`` detections, right after one that is not timed, as in a video: caches are warm."""
    detector.detect(image)
    started = time.perf_counter()
    for _ in range(count):
        detector.detect(image)
    return 1e3 * (time.perf_counter() - started) / count


def _physical(core: int) -> str:
    """What is the same for all cores that are threads of one physical core, as far as Linux tells."""
    file = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        return file.read_text().strip()
    except OSError:
        return str(core)


def _ending(exit_code: int | None) -> str:
    """How a process ended, in words."""
    if exit_code is None or exit_code >= 0:
        return f"exit status {exit_code}"
    return f"signal {-exit_code} ({signal.strsignal(-exit_code)})"
