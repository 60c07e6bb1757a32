"""Writing results: records as JSON Lines, JSON or CSV, and pictures. No file is left half written."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from cascade.cli.console import BAD_USAGE, CommandError, writing

if TYPE_CHECKING:
    from cascade.faces import Faces
    from cascade.imaging.reading import RGBImage

FORMATS = ("jsonl", "json", "csv")

_partial_numbers = itertools.count()


class Writer(Protocol):
    """Takes one record per photo."""

    def add(self, path: str, width: int, height: int, faces: Faces) -> None:
        """Writes the faces of one photo."""

    def end(self) -> None:
        """Writes the end of the file."""


@contextmanager
def open_results(out: Path | None, kind: str) -> Iterator[Writer]:
    """A writer to ``out/faces.<kind>``, or to standard output without ``out``. Raises `CommandError`.

    JSON Lines are written at once; JSON and CSV files appear when the block ends without an error.
    """
    path = None if out is None else out / f"faces.{kind}"
    if path is not None and path.is_dir():
        raise CommandError(f"{path}: this is a folder, and results would go to a file of that name")
    where = "to standard output" if path is None else str(path)
    with writing(where), ExitStack() as stack:
        with writing(where, BAD_USAGE):
            stream = stack.enter_context(_open(path, kind))
            writer = _WRITERS[kind](stream, where)
        yield writer
        writer.end()


def _open(path: Path | None, kind: str) -> AbstractContextManager[IO[str]]:
    if path is None:
        if sys.stdout is None:
            raise CommandError("standard output is closed; give a folder for the results with --out")
        return nullcontext(sys.stdout)
    if kind == "jsonl":
        return path.open("w", encoding="utf-8")
    return replacing(path, "w", encoding="utf-8", errors="surrogateescape", newline="")


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Delays Ctrl-C to the end of the block, so that what it writes is complete."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def replacing(path: Path, mode: str, **options: Any) -> Iterator[IO[Any]]:
    """A new file that replaces ``path`` once it is complete, and is deleted if that fails."""
    partial = path.with_name(f".cascade-{os.getpid()}-{next(_partial_numbers)}.partial")
    try:
        with partial.open(mode, **options) as stream:
            yield stream
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def save_jpeg(path: Path, image: RGBImage) -> None:
    """Writes a picture. Raises OSError."""
    from cascade.imaging.writing import encode_jpeg

    encoded = encode_jpeg(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, "wb") as stream:
        stream.write(encoded)


class _JsonLines:
    """One object per line, each line written at once."""

    def __init__(self, stream: IO[str], where: str) -> None:
        self.stream = stream
        self.where = where

    def add(self, path: str, width: int, height: int, faces: Faces) -> None:
        self._write(_record(path, width, height, faces) + "\n")

    def end(self) -> None:
        pass

    def _write(self, text: str) -> None:
        with writing(self.where):
            self.stream.write(text)
            self.stream.flush()


class _Json(_JsonLines):
    """One array of the objects, an object per line."""

    before = "[\n"

    def add(self, path: str, width: int, height: int, faces: Faces) -> None:
        self._write(self.before + _record(path, width, height, faces))
        self.before = ",\n"

    def end(self) -> None:
        self._write("[]\n" if self.before == "[\n" else "\n]\n")


class _Csv(_JsonLines):
    """One row per face; a photo without faces has none."""

    def __init__(self, stream: IO[str], where: str) -> None:
        from cascade.faces import LANDMARK_NAMES

        super().__init__(stream, where)
        points = [f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy"]
        self._rows([["path", "face", "x1", "y1", "x2", "y2", "score", *points]])

    def add(self, path: str, width: int, height: int, faces: Faces) -> None:
        rows: list[list[Any]] = []
        for number, face in enumerate(faces, start=1):
            numbers = [*face.box, face.score, *face.landmarks.ravel()]
            rows.append([path, number, *(f"{value:.7g}" for value in numbers)])
        self._rows(rows)

    def _rows(self, rows: list[list[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._write(text.getvalue())


_WRITERS = {"jsonl": _JsonLines, "json": _Json, "csv": _Csv}


def _record(path: str, width: int, height: int, faces: Faces) -> str:
    return json.dumps({"path": path, "width": width, "height": height, "faces": faces.to_dicts()})
