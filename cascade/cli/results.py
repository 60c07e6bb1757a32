"""Writing results: records as JSON Lines, JSON or CSV, and pictures. No file is left half written.

Files that a command did not write are never replaced: see `cascade.cli.outputs`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from cascade import private_files
from cascade.cli.console import BAD_USAGE, CommandError, say, writing
from cascade.cli.outputs import (
    IsOurs,
    create,
    first_usable,
    is_our_csv,
    is_our_json,
    is_our_jsonl,
    is_our_picture,
    marked,
    replacing,
    usable,
)
from cascade.cli.photos import name_results, numbered
from cascade.csv_text import csv_line
from cascade.face_records import csv_header, csv_rows

if TYPE_CHECKING:
    from cascade.faces import Faces
    from cascade.imaging.reading import RGBImage

FORMATS = ("jsonl", "json", "csv")

Further = Sequence[Mapping[str, Any]]
"""For each face, values by name that JSON has; none for any face, or some for each."""


class Writer(Protocol):
    """Takes one record per photo."""

    where: str
    """The file that is written, or "to standard output"."""

    def add(self, path: str, width: int, height: int, faces: Faces, further: Further = ()) -> None:
        """Writes the faces of one photo, with what else is known of each."""

    def end(self) -> None:
        """Writes the end of the file."""


@contextmanager
def open_results(out: Path | None, kind: str, name: str = "faces", columns: Sequence[str] = ()) -> Iterator[Writer]:
    """A writer to ``out/<name>.<kind>``, or to standard output without ``out``. Raises `CommandError`.

    JSON Lines are written at once; JSON and CSV files appear when the block ends without an error. ``columns`` are
    those that CSV has beside the faces' own: names of what is written further.
    """
    where = "to standard output"
    path = None
    if out is not None:
        with writing(str(out), BAD_USAGE):
            path = _results_path(out / f"{name}.{kind}", kind, columns)
        where = str(path)
    with writing(where), ExitStack() as stack:
        with writing(where, BAD_USAGE):
            stream = stack.enter_context(_open(path, kind))
            writer = _Csv(stream, where, columns) if kind == "csv" else _WRITERS[kind](stream, where)
        yield writer
        writer.end()


def _results_path(wanted: Path, kind: str, columns: Sequence[str]) -> Path:
    """The file for the results, or one with a number where that is somebody else's."""
    if wanted.is_dir():
        raise CommandError(f"{wanted}: this is a folder, and results would go to a file of that name")
    ours: dict[str, IsOurs] = {
        "jsonl": is_our_jsonl,
        "json": is_our_json,
        "csv": is_our_csv(",".join(csv_header(columns))),
    }
    private_files.remove_partials(wanted.parent)
    path = first_usable(wanted, ours[kind])
    if path != wanted:
        say(f"{wanted}: left as it is, since it holds no results of cascade; results go to {path.name}")
    return path


def _open(path: Path | None, kind: str) -> AbstractContextManager[IO[str]]:
    if path is None:
        if sys.stdout.closed:
            raise CommandError("standard output is closed; give a folder for the results with --out")
        return nullcontext(sys.stdout)
    if kind == "jsonl":
        path.unlink(missing_ok=True)
        return create(path, encoding="utf-8")
    return replacing(path, "w", encoding="utf-8", errors="surrogateescape", newline="")


def save_jpeg(path: Path, image: RGBImage, private: bool = False, xmp: bytes = b"") -> None:
    """Writes a picture with our mark, in place of whatever has that name: see `Pictures`. Raises OSError.

    A new one that is ``private`` can be read by its owner alone. ``xmp`` is a packet of metadata.
    """
    from cascade.imaging.writing import encode_jpeg

    encoded = encode_jpeg(image, xmp=xmp)
    path.parent.mkdir(parents=True, exist_ok=True)
    with private_files.replacing(path) if private else replacing(path, "wb") as stream:
        stream.write(marked(encoded))


class Pictures:
    """Writes the pictures of photos into a folder, under names that neither a photo nor a file of others has."""

    def __init__(self, photos: list[str], base: str, out: Path) -> None:
        """``base`` is the folder that holds all photos: see `cascade.cli.photos.Found`."""
        self._names = name_results(photos, base, out)
        self._reserved = set(self._names.values())

    def save(self, photo: str, pictures: Mapping[str, RGBImage], xmp: Mapping[str, bytes] | None = None) -> None:
        """Writes the pictures of a photo; the keys are ends of their names, as ``_face1``. Raises OSError.

        ``xmp`` has packets of metadata under the same keys.
        """
        start = self._names[photo]
        for name in numbered(start.name):
            candidate = start.with_name(name)
            paths = {end: candidate.with_name(f"{name}{end}.jpg") for end in pictures}
            reserved = candidate != start and candidate in self._reserved
            if not reserved and all(usable(path, is_our_picture) for path in paths.values()):
                break
        self._reserved.add(candidate)
        for end, image in pictures.items():
            save_jpeg(paths[end], image, xmp=(xmp or {}).get(end, b""))


class _JsonLines:
    """One object per line, each line written at once."""

    def __init__(self, stream: IO[str], where: str) -> None:
        self.stream = stream
        self.where = where

    def add(self, path: str, width: int, height: int, faces: Faces, further: Further = ()) -> None:
        self._write(_record(path, width, height, faces, further) + "\n")

    def end(self) -> None:
        pass

    def _write(self, text: str) -> None:
        with writing(self.where):
            self.stream.write(text)
            self.stream.flush()


class _Json(_JsonLines):
    """One array of the objects, an object per line."""

    before = "[\n"

    def add(self, path: str, width: int, height: int, faces: Faces, further: Further = ()) -> None:
        self._write(self.before + _record(path, width, height, faces, further))
        self.before = ",\n"

    def end(self) -> None:
        self._write("[]\n" if self.before == "[\n" else "\n]\n")


class _Csv(_JsonLines):
    """One row per face; a photo without faces has none."""

    def __init__(self, stream: IO[str], where: str, columns: Sequence[str] = ()) -> None:
        super().__init__(stream, where)
        self._columns = columns
        self._rows([csv_header(columns)])

    def add(self, path: str, width: int, height: int, faces: Faces, further: Further = ()) -> None:
        self._rows(csv_rows(path, faces, further, self._columns))

    def _rows(self, rows: list[list[Any]]) -> None:
        self._write("".join(map(csv_line, rows)))


_WRITERS = {"jsonl": _JsonLines, "json": _Json}


def _record(path: str, width: int, height: int, faces: Faces, further: Further) -> str:
    told = [face | dict(more) for face, more in zip(faces.to_dicts(), further or [{}] * len(faces), strict=True)]
    return json.dumps({"path": path, "width": width, "height": height, "faces": told})
