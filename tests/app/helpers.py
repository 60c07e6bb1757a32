"""What the page's tests share: settings, clients, photos and servers in processes of their own."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.photos import PORTRAIT, portrait

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90

SMALLEST = 12
"""Pixels of the smallest face that is found."""


def make_settings(limits: dict[str, Any] | None = None, **changes: Any):
    """Settings for tests: one worker, faces from 12 pixels, and the name of the test client's host."""
    from cascade.app.settings import LOOPBACK, Limits, Settings

    usual: dict[str, Any] = {"workers": 1, "min_face": SMALLEST, "hosts": (*LOOPBACK, "testserver")}
    return Settings(**{**usual, **changes, "limits": replace(Limits(), **(limits or {}))})


@contextlib.contextmanager
def client_of(settings):
    """A client of an application of its own."""
    from fastapi.testclient import TestClient

    from cascade.app.server import create_app

    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def photo(data: bytes | None = None, name: str = "photo.jpg", field: str = "photo") -> dict[str, Any]:
    """The files of a request with one photo, by default the portrait."""
    return {field: (name, PORTRAIT.read_bytes() if data is None else data)}


@cache
def png(people: int, width: int = 512, height: int = 512) -> bytes:
    """A photo with the portrait so many times side by side, or plain grey."""
    canvas = np.full((height, max(1, people) * width, 3), 128, np.uint8)
    for at in range(people):
        small = np.asarray(Image.fromarray(portrait()).resize((width, height)))
        canvas[:, at * width : (at + 1) * width] = small if at % 2 == 0 else small[:, ::-1]
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, "PNG")
    return file.getvalue()


@dataclass
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    address: str

    def workers(self) -> list[int]:
        """The numbers of its worker processes, on Linux."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(number) for number in found]

    def stop(self, number: int = signal.SIGINT) -> int:
        """Sends a signal and waits for the end; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def running_server(*options: str, folder: str | Path | None = None, temporary: str | None = None) -> Iterator[Running]:
    """``cascade app`` at a free port, with these options."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **({"TMPDIR": temporary} if temporary else {})}
    command = [sys.executable, "-c", START, "app", "--port", "0", *options]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with tempfile.TemporaryDirectory() as other:
        process = subprocess.Popen(command, env=environment, cwd=folder or other, **pipes)
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        try:
            assert process.stdout and process.stderr
            line = process.stdout.readline()
            watchdog.cancel()
            found = re.match(r"http://\S+", line)
            assert found, process.stderr.read()
            yield Running(process, found[0])
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()
            process.communicate()


# a background job of a shell ignores SIGINT, which its children inherit
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from cascade.__main__ import main
sys.exit(main())
"""
