"""Running baselines from here: each in a process of its own, `eval/baselines/worker.py` in the Python that has it."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import select
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from eval.baselines.adapters import BASELINES

__all__ = ["BaselineError", "BaselineProcess", "add_options", "installed", "predict", "with_threads"]

WORKER = Path(__file__).with_name("worker.py")

PATIENCE = 600.0
"""Seconds after which a baseline that does not answer counts as failed."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class BaselineError(RuntimeError):
    """A baseline that cannot be run or failed on a photo; the message is one line that starts with its name."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add which baselines to run."""
    parser.add_argument(
        "--baseline",
        dest="baselines",
        action="append",
        default=[],
        type=name_and_python,
        metavar="NAME=PYTHON",
        help=f"run this detector too, in an interpreter that has it (may be repeated): {', '.join(BASELINES)}",
    )
    parser.add_argument(
        "--yunet-model",
        default=os.environ.get("CASCADE_YUNET") or None,
        metavar="FILE.onnx",
        help="YuNet's weights (default: the environment variable CASCADE_YUNET)",
    )


def name_and_python(text: str) -> tuple[str, str]:
    """Split NAME=PYTHON. Raises argparse.ArgumentTypeError."""
    name, _, python = text.partition("=")
    if name not in BASELINES or not python:
        raise argparse.ArgumentTypeError(f"expected {' or '.join(BASELINES)}, =, and a Python; got {text!r}")
    return name, python


def installed(yunet_model: str | Path | None) -> tuple[dict[str, str], list[str]]:
    """Return the baselines that this interpreter has, by name with the interpreter, and why each other is left out."""
    found, left_out = {}, []
    for name, baseline in BASELINES.items():
        if importlib.util.find_spec(baseline.module) is None:
            left_out.append(f"{name} (not installed)")
        elif name == "yunet" and not yunet_model:
            left_out.append("yunet (needs --yunet-model FILE.onnx)")
        else:
            found[name] = sys.executable
    return found, left_out


def predict(
    baselines: Iterable[tuple[str, str]],
    data: Path,
    photos: Sequence[tuple[float, str]],
    folder: Path,
    *,
    threads: int,
    yunet_model: str | Path | None = None,
) -> dict[str, Path]:
    """Run baselines (name, interpreter) over photos; return their files of predictions, kept in ``folder``, by name.

    ``photos`` are the smallest face to look for in pixels (0: as the baseline does by itself) and the path below
    ``data``. A file of an earlier run is taken where that ran the same command over the same photos. Raises ValueError
    where a baseline fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listing = folder / "photos.txt"
    listed = "".join(f"{size:g} {name}\n" for size, name in photos)
    listing.write_text(listed, encoding="utf-8")
    files: dict[str, Path] = {}
    for name, python in baselines:
        files[name], request = folder / f"{name}.json", folder / f"{name}.request.txt"
        paths = ["--data", data, "--photos", listing, "--out", files[name]]
        command = [*_command(name, python, threads, "cpu", yunet_model), *map(str, paths)]
        wanted = f"{shlex.join(command)}\n{listed}"
        if files[name].exists() and request.exists() and request.read_text(encoding="utf-8") == wanted:
            continue
        try:
            done = subprocess.run(command, env=with_threads(threads), check=False)
        except OSError as error:
            raise ValueError(f"--baseline {name}: cannot run {python}: {error.strerror or error}") from error
        if done.returncode:
            raise ValueError(f"--baseline {name}={python} failed with status {done.returncode}")
        request.write_text(wanted, encoding="utf-8")
    return files


class BaselineProcess:
    """A baseline in a process of its own, which starts with the first photo and again after it has died.

    ``python`` is the interpreter, ``device`` "cpu" or "cuda", ``yunet_model`` YuNet's .onnx file. Leave the context,
    or call `close`, to end the process.
    """

    def __init__(
        self, name: str, python: str, threads: int, device: str = "cpu", yunet_model: str | Path | None = None
    ) -> None:
        self.name, self.python, self.threads = name, python, threads
        self.version: str | None = None
        self._command = _command(name, python, threads, device, yunet_model)
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None

    def open(self, image: Path, min_face: float) -> np.ndarray:
        """Give it a photo to detect in, faces from ``min_face`` pixels on (0: from its own smallest size on).

        Returns the boxes of a first detection, which is not timed, as `detect` does. Raises `BaselineError`.
        """
        answer = self._ask({"open": str(image), "min_face": min_face})
        self.version = answer["version"]
        return _boxes(answer)

    def detect(self) -> tuple[float, np.ndarray]:
        """Milliseconds of one detection and its boxes (n, 4) float32 in pixels. Raises `BaselineError`."""
        answer = self._ask({"detect": True})
        return float(answer["ms"]), _boxes(answer)

    def close(self) -> None:
        """End the process, if one runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def __enter__(self) -> BaselineProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[str]:
        # a file, not a pipe: a baseline that warns for every photo would fill a pipe and wait forever
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (`close` closes it)
        pipe, environment = subprocess.PIPE, with_threads(self.threads)
        try:
            return subprocess.Popen(
                self._command, text=True, env=environment, stdin=pipe, stdout=pipe, stderr=self._errors
            )
        except OSError as error:
            raise BaselineError(f"{self.name}: cannot run {self.python}: {error.strerror or error}") from error

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
                raise BaselineError(f"{self.name}: no answer within {PATIENCE:g} s")
            line = stdout.readline()
        if not line:
            raise BaselineError(f"{self.name}: its process ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BaselineError(f"{self.name}: {answer['error']}")
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


def _boxes(answer: dict[str, Any]) -> np.ndarray:
    return np.array(answer["boxes"], np.float32).reshape(-1, 4)


def with_threads(threads: int) -> dict[str, str]:
    """Return the environment of this process with that number of threads for the usual numeric libraries."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def _command(name: str, python: str, threads: int, device: str, yunet_model: str | Path | None) -> list[str]:
    """The command line that starts the worker."""
    command = [python, str(WORKER), name, "--threads", str(threads), "--device", device]
    return [*command, "--model", str(yunet_model)] if name == "yunet" and yunet_model else command
