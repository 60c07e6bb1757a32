"""Peer detectors, each served by `benchmarks/baseline_worker.py` in the interpreter that has it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from benchmarks.baseline_worker import MODULES, PEERS
from benchmarks.peak import with_threads

__all__ = ["PEERS", "Peer", "PeerError", "installed"]

PATIENCE = 600.0
"""Seconds after which a peer that does not answer counts as failed."""


class PeerError(RuntimeError):
    """A peer that cannot be run or failed on a photo; the message is one line that starts with its name."""


class Peer:
    """A peer detector in a process of its own, which starts with the first photo and again after it has died.

    ``python`` is the interpreter, ``device`` "cpu" or "cuda", ``yunet_model`` YuNet's .onnx file. Leave the context,
    or call `close`, to end the process.
    """

    def __init__(
        self, name: str, python: str, threads: int, device: str = "cpu", yunet_model: str | Path | None = None
    ) -> None:
        self.name, self.python, self.threads, self.device = name, python, threads, device
        self.version: str | None = None
        self._environment = with_threads(threads)
        if yunet_model is not None:
            self._environment["CASCADE_YUNET"] = str(yunet_model)
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None

    def open(self, image: Path, min_face: float) -> None:
        """Gives it a photo to detect in, faces from ``min_face`` pixels on. Raises `PeerError`."""
        self.version = self._ask({"open": str(image), "min_face": min_face})["version"]

    def detect(self) -> tuple[float, np.ndarray]:
        """Milliseconds of one detection and its boxes (n, 4) float32 in pixels of the photo. Raises `PeerError`."""
        answer = self._ask({"detect": True})
        return float(answer["ms"]), np.array(answer["boxes"], np.float32).reshape(-1, 4)

    def close(self) -> None:
        """Ends the process, if one runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[str]:
        worker = Path(__file__).with_name("peer_worker.py")
        command = [self.python, str(worker), self.name, str(self.threads), self.device]
        # a file, not a pipe: a peer that warns for every photo would fill a pipe and wait forever
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (`close` closes it)
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(
                command, text=True, env=self._environment, stdin=pipe, stdout=pipe, stderr=self._errors
            )
        except OSError as error:
            raise PeerError(f"{self.name}: cannot run {self.python}: {error.strerror or error}") from error

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            self._process = self._start()
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            # one answer a request: nothing is left in the buffer that select does not see
            if not select.select([stdout], [], [], PATIENCE)[0]:
                self.close()
                raise PeerError(f"{self.name}: no answer within {PATIENCE:g} s")
            line = stdout.readline()
        if not line:
            raise PeerError(f"{self.name}: its process ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.name}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        """The last line that the process wrote to its standard error, or its exit status; ends it."""
        words = []
        if self._process is not None and self._errors is not None:
            self._process.wait()
            self._errors.seek(0)
            words = self._errors.read()[-4096:].decode(errors="replace").split("\n")
            words = [f"exit status {self._process.returncode}", *(line.strip() for line in words if line.strip())]
        self.close()
        return words[-1] if words else "no reason given"


def installed(yunet_model: str | Path | None) -> tuple[dict[str, str], list[str]]:
    """Return the peers that this interpreter has, by name with the interpreter, and why each other is left out."""
    found, left_out = {}, []
    for name, module in MODULES.items():
        if importlib.util.find_spec(module) is None:
            left_out.append(f"{name} (not installed)")
        elif name == "yunet" and not yunet_model:
            left_out.append("yunet (needs --yunet-model FILE.onnx)")
        else:
            found[name] = sys.executable
    return found, left_out
