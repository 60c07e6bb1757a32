"""The worker processes, and the queue before them.

A request takes a place before its photo is received; beyond so many places it is refused for the moment. A worker that
takes too long is ended, and another one started in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cascade.app.frames import FrameError, Message, packed, read_message_async
from cascade.app.problems import Problem
from cascade.app.settings import Settings

__all__ = ["Pool"]

START_SECONDS = 120.0
END_SECONDS = 2.0
RETRY_AFTER = 2  # seconds

GONE = (asyncio.IncompleteReadError, ConnectionError, FrameError, ValueError)
"""What a worker raises that has ended, or answers what cannot be read."""


class Worker:
    """One process; one request at a time."""

    def __init__(self, process: asyncio.subprocess.Process, about: dict[str, Any]) -> None:
        self._process = process
        self._messages = asyncio.create_task(_copy_messages(process))
        self.about = about

    @classmethod
    async def start(cls, settings: Settings) -> Worker:
        """A process that has loaded its networks. Raises RuntimeError if there is none within two minutes."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # not the working directory, which may hold a queue.py
            "-m",
            "cascade.app.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,  # a log file is a file, and workers may not write to any
            env=_environment(),
            start_new_session=True,  # Ctrl-C on a terminal is for the server alone
        )
        worker = cls(process, {})
        limits = settings.limits
        wanted = {"min_face": settings.min_face, **{name: getattr(limits, name) for name in SENT}}
        try:
            async with asyncio.timeout(START_SECONDS):
                worker.about = (await worker._exchange(wanted, ())).head
        except BaseException as error:
            await worker.end()
            if isinstance(error, (TimeoutError, *GONE)):
                raise RuntimeError("the process that decodes photos did not start; its messages are above") from error
            raise
        return worker

    async def work(self, head: dict[str, Any], parts: Sequence[bytes], seconds: float) -> Message:
        """The answer. Raises `Problem` if there is none; the worker is then of no more use, see `alive`."""
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(head, parts)
        except TimeoutError as error:
            await self.end()
            words = f"This took longer than the {seconds:g} seconds that one request may take, and was stopped."
            raise Problem("too slow", words) from error
        except GONE as error:
            await self.end()
            raise Problem("crashed", "The process that decodes photos ended with this one.") from error
        except BaseException:  # cancelled: an answer would come that belongs to no request
            await self.end()
            raise

    async def _exchange(self, head: dict[str, Any], parts: Sequence[bytes]) -> Message:
        assert self._process.stdin and self._process.stdout
        for piece in packed(head, parts):
            self._process.stdin.write(piece)
        await self._process.stdin.drain()
        return await read_message_async(self._process.stdout.readexactly)

    @property
    def alive(self) -> bool:
        """Whether it can take another request."""
        return self._process.returncode is None

    async def end(self) -> None:
        """Ends the process, which has nothing to save."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._messages


async def _copy_messages(process: asyncio.subprocess.Process) -> None:
    """Copies what a process prints as errors to those of this one, until it ends."""
    assert process.stderr
    while data := await process.stderr.read(1 << 16):
        with contextlib.suppress(OSError):  # as of a full disk
            print(data.decode(errors="replace"), end="", file=sys.stderr, flush=True)


SENT = ("photo_pixels", "worker_bytes")
"""The limits that a worker knows."""


SECRET = ("CASCADE_APP_", "CASCADE_GALLERY_")
"""How variables begin that are not for workers: the token, and passphrases and keys of galleries."""


def _environment() -> dict[str, str]:
    """The environment without secrets, and with this package first on Python's path, wherever the working directory is.

    Workers decode files of strangers. Empty parts of PYTHONPATH would stand for the working directory.
    """
    paths = [str(Path(__file__).resolve().parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    passed = {name: value for name, value in os.environ.items() if not name.startswith(SECRET)}
    return {**passed, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


class Pool:
    """All workers, and the places of those who wait for one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()
        self._all: set[Worker] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self.places = settings.workers + settings.limits.waiting
        self.taken = 0
        self.about: dict[str, Any] = {}

    async def start(self) -> None:
        """Starts all workers. Raises RuntimeError."""
        await asyncio.gather(*(self._start_one() for _ in range(self._settings.workers)))

    async def stop(self) -> None:
        """Ends all workers."""
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        await asyncio.gather(*(worker.end() for worker in self._all))
        self._all.clear()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place in the queue for the time of a request. Raises `Problem` if there is none."""
        if self.taken >= self.places:
            words = f"{self.taken} requests are waiting already. Please try again in a moment."
            raise Problem("busy", words, {"Retry-After": str(RETRY_AFTER)})
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def work(
        self,
        task: str,
        options: dict[str, Any],
        parts: Sequence[bytes],
        still_wanted: Callable[[], Awaitable[bool]] | None = None,
    ) -> tuple[dict[str, Any], list[bytes]]:
        """What a task of `cascade.app.tasks` gives, once a worker is free. Raises `Problem`.

        ``still_wanted`` is asked before the work begins: whoever has gone away needs no answer.
        """
        worker = await self._idle.get()
        try:
            if still_wanted is not None and not await still_wanted():
                raise Problem("request", "The request was given up.")
            seconds = self._settings.limits.work_seconds
            answer = await worker.work({"task": task, "options": options}, parts, seconds)
        finally:
            self._give_back(worker)
        if "problem" in answer.head:
            raise Problem(answer.head["kind"], answer.head["problem"])
        return answer.head["told"], answer.parts

    def _give_back(self, worker: Worker) -> None:
        if worker.alive:
            self._idle.put_nowait(worker)
            return
        self._all.discard(worker)
        task = asyncio.get_running_loop().create_task(self._replace())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _replace(self) -> None:
        """Starts a worker in the place of one that has ended, and tries again while that fails."""
        wait = 1.0
        while True:
            try:
                await self._start_one()
                return
            except (OSError, RuntimeError) as error:
                print(f"cascade app: {error}", file=sys.stderr)
                await asyncio.sleep(wait)
                wait = min(60.0, 2 * wait)

    async def _start_one(self) -> None:
        worker = await Worker.start(self._settings)
        self._all.add(worker)
        self.about = worker.about
        self._idle.put_nowait(worker)
