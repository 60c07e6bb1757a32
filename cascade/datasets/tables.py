"""Faces as a table, CSV or Parquet: a row for each face, and one without a box for a photo without faces."""

from __future__ import annotations

import csv
import importlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from cascade.csv_text import csv_line, text_cell, text_of
from cascade.face_records import csv_header
from cascade.private_files import replacing

from ._images import ProblemLog
from ._listing import (
    MODE,
    NAME,
    SCORE,
    Add,
    LabelledFace,
    Listed,
    checked_text,
    faces_of,
    size_of,
    writing_text,
)
from .photo import Dataset, DatasetError, Photo
from .results import named_photos

__all__ = ["open_csv", "open_parquet", "read_csv", "read_parquet"]

EDGES = ("x1", "y1", "x2", "y2")
COLUMNS = (*csv_header(), "width", "height", "ignored")
"""Those of ``cascade detect --format csv``, and what its rows do not say."""

POINTS = COLUMNS[7:17]
FIRST = 1 << 12
"""Photos that are looked at before the columns of further labels are fixed."""

ROWS = 1 << 14
"""Rows of a group of rows in Parquet."""

Row = dict[str, Any]
Kinds = dict[str, str]


def read_csv(
    file: str | Path, images: str | Path | None = None, *, require_images: bool = True, strict: bool = False
) -> Dataset:
    """Read a table as ``cascade detect --format csv`` or `open_csv` writes it: a row for each face.

    images          the folder that relative paths start from; by default the folder that is the current one
    require_images  False: keep photos that are not on disk

    Rows of a photo stand together. Columns beyond those of the boxes, scores and landmarks become attributes, numbers
    where all of a photo's are. A row without a box says that a photo has no face. ``size`` is read where the columns
    width and height are there. A photo with a broken row is left out.

    Raises DatasetError when the file is not such a table, or, if ``strict``, for the first problem.
    """
    return _read(Path(file), images, ProblemLog(strict), csv_entries, require_images)


def read_parquet(
    file: str | Path, images: str | Path | None = None, *, require_images: bool = True, strict: bool = False
) -> Dataset:
    """Read the same table from a Parquet file, in which an attribute can be a list of numbers, as embeddings are.

    Raises ImportError without pyarrow (the extra "archive"), and DatasetError as `read_csv`.
    """
    return _read(Path(file), images, ProblemLog(strict), parquet_entries, require_images)


def _read(file: Path, images: str | Path | None, log: ProblemLog, entries: Any, require_images: bool) -> Dataset:
    photos = tuple(named_photos(file, images, entries(file, log), log, require_images=require_images))
    return Dataset(file.stem, photos, tuple(log.problems))


def csv_entries(file: Path, log: ProblemLog) -> Iterator[Listed]:
    """Yield the photos of a CSV file. Raises DatasetError."""
    try:
        with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
            rows = csv.reader(text)
            heading = next(rows, [])
            _check_columns(heading, file)
            yield from _entries(_csv_rows(rows, heading, file, log), file, log)
    except (OSError, csv.Error) as error:
        raise DatasetError.unreadable(file, error) from error


def _csv_rows(rows: Any, heading: list[str], file: Path, log: ProblemLog) -> Iterator[tuple[int, Row]]:
    for cells in rows:
        if len(cells) == len(heading):
            row: Row = {name: value for name, value in zip(heading, cells, strict=True) if value != ""}
            row["path"] = text_of(row.get("path", ""))
            yield rows.line_num, row
        elif cells:
            log.add(file, rows.line_num, f"expected {len(heading)} cells, got {len(cells)}")


def parquet_entries(file: Path, log: ProblemLog) -> Iterator[Listed]:
    """Yield the photos of a Parquet file, group of rows by group. Raises DatasetError and ImportError."""
    parquet = _pyarrow("pyarrow.parquet")
    try:
        with parquet.ParquetFile(file) as table:
            _check_columns(table.schema_arrow.names, file)
            rows = (row for batch in table.iter_batches(ROWS) for row in batch.to_pylist())
            told = ({name: value for name, value in row.items() if value is not None} for row in rows)
            yield from _entries(enumerate(told, start=1), file, log)
    except (OSError, ValueError) as error:  # pyarrow's own are of these
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{file}: not a readable Parquet file: {error}") from error


def _check_columns(names: list[str], file: Path) -> None:
    lacking = [name for name in ("path", *EDGES) if name not in names]
    if lacking or len(set(names)) < len(names):
        raise DatasetError(f"{file}: expected columns path, x1, y1, x2, y2, each once; lacking: {', '.join(lacking)}")


def _entries(rows: Iterable[tuple[int, Row]], file: Path, log: ProblemLog) -> Iterator[Listed]:
    for path, group in groupby(rows, key=lambda numbered: numbered[1].get("path", "")):
        numbered = list(group)
        line = numbered[0][0]
        try:
            if not path:
                raise ValueError("no path")
            faces = [_face(row) for _, row in numbered if not row.keys().isdisjoint(EDGES)]
            yield Listed(path, faces, _size(numbered[0][1]), line)
        except (KeyError, TypeError, ValueError) as error:
            log.add(file, line, f"{path}: {error}" if path else str(error))


def _size(row: Row) -> tuple[int, int] | None:
    if "width" not in row or "height" not in row:
        return None
    width, height = int(row["width"]), int(row["height"])
    if width < 1 or height < 1:
        raise ValueError(f"expected a width and height from 1 on, got {width}×{height}")
    return width, height


def _face(row: Row) -> LabelledFace:
    if any(edge not in row for edge in EDGES):
        raise ValueError("a box lacks a coordinate")
    points = None
    if any(name in row for name in POINTS):
        values = [float(row.get(name, math.nan)) for name in POINTS]
        points = [values[at : at + 2] for at in range(0, 10, 2)]
    labels = {
        name: text_of(value) if name == NAME else _value(value) for name, value in row.items() if name not in COLUMNS
    }
    if SCORE in row:
        labels[SCORE] = float(row[SCORE])
    ignored = str(row.get("ignored", "")).lower() in ("true", "1")
    return LabelledFace([float(row[edge]) for edge in EDGES], points, ignored, labels)


def _value(value: Any) -> Any:
    """A label of a table: text that is a number becomes one."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return text_of(value)


# --------------------------------------------------------------------------------------------------
# Writing


@contextmanager
def open_csv(file: str | Path) -> Iterator[Add]:
    """Write a CSV file: yields the function that adds a photo.

    The columns are those of ``cascade detect --format csv``, width, height, ignored, and the labels that are one number
    or text each. These are the ones that the first 4,096 photos have: a later photo with another label raises
    ValueError. A path that a spreadsheet would take for a formula has a ' before it. Raises OSError, and ValueError for
    a photo whose size is not known.
    """
    with writing_text(file, errors="surrogateescape") as stream:

        def write(rows: list[Row], kinds: Kinds, first: bool) -> None:
            if first:
                stream.write(csv_line([*COLUMNS, *kinds]))
            for row in rows:
                stream.write(csv_line(_cell(row.get(name)) for name in (*COLUMNS, *kinds)))

        with _collecting(write, parquet=False) as add:
            yield add


@contextmanager
def open_parquet(file: str | Path) -> Iterator[Add]:
    """Write a Parquet file (zstd): yields the function that adds a photo.

    The columns are those of `open_csv`; labels may be lists of numbers, such as embeddings. Raises ImportError without
    pyarrow (the extra "archive"), OSError, and ValueError as `open_csv`, and for paths that are not UTF-8.
    """
    arrow, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    writers: list[Any] = []
    with replacing(file, mode=MODE) as stream:

        def write(rows: list[Row], kinds: Kinds, first: bool) -> None:
            if first:
                writers.append(parquet.ParquetWriter(stream, _schema(arrow, kinds), compression="zstd"))
            table = arrow.Table.from_pylist(rows, schema=writers[0].schema)
            writers[0].write_table(table, row_group_size=ROWS)

        with _collecting(write, parquet=True) as add:
            yield add
        writers[0].close()


@contextmanager
def _collecting(write: Callable[[list[Row], Kinds, bool], None], parquet: bool) -> Iterator[Add]:
    """Calls ``write`` with rows, the kinds of the labels by name, and whether these are the first rows."""
    rows: list[Row] = []
    kinds: Kinds = {}
    photos = 0
    started = False

    def add(photo: Photo) -> None:
        nonlocal photos, started
        new = list(_rows(photo, parquet))
        wider = _widened(kinds, new)
        if started and wider != kinds:
            other = ", ".join(name for name, kind in wider.items() if kinds.get(name) != kind)
            raise ValueError(f"{photo.name}: labels that the photos before had not, or of another kind: {other}")
        kinds.update(wider)
        rows.extend(new)
        photos += 1
        if photos == FIRST or (started and len(rows) >= ROWS):
            write(rows, kinds, not started)
            started = True
            rows.clear()

    yield add
    if rows or not started:
        write(rows, kinds, not started)


def _widened(kinds: Kinds, rows: list[Row]) -> Kinds:
    """The kinds of the labels, with those of further rows. Raises ValueError for labels of two kinds."""
    found = dict(kinds)
    for row in rows:
        for name, value in row.items():
            if name in COLUMNS:
                continue
            kind, before = _kind(value), found.get(name)
            if before in (None, kind) or {before, kind} == {"int", "float"}:
                found[name] = "float" if before == "float" else kind
            else:
                raise ValueError(f"{row['path']}: the label {name} is {kind}, of other faces {before}")
    return found


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "lists" if value and isinstance(value[0], list) else "list"
    return {bool: "bool", int: "int", float: "float"}.get(type(value), "text")


def _rows(photo: Photo, parquet: bool) -> Iterator[Row]:
    width, height = size_of(photo)
    place = {"path": _text(str(photo.path), parquet), "width": width, "height": height}
    number = 0
    for number, face in enumerate(faces_of(photo), start=1):
        row: Row = {**place, "face": number, "ignored": face.ignored, **dict(zip(EDGES, face.box, strict=True))}
        axes = [axis for point in face.landmarks or () for axis in point]
        row |= {name: value for name, value in zip(POINTS, axes, strict=False) if not math.isnan(value)}
        labels = {name: value for name, value in face.labels.items() if name == SCORE or name not in COLUMNS}
        for name, value in labels.items():
            if parquet or not isinstance(value, list):
                row[name] = _text(value, parquet) if isinstance(value, str) else value
        yield row
    if not number:
        yield place


def _text(text: str, parquet: bool) -> str:
    """The text. Raises ValueError for what a file cannot hold; CSV takes names of files that are no UTF-8."""
    try:
        text.encode("utf-8", "strict" if parquet else "surrogateescape")
    except UnicodeEncodeError:
        return checked_text(text, "text")
    return text


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return text_cell(value) if isinstance(value, str) else str(value) if isinstance(value, int) else f"{value:.7g}"


def _schema(arrow: Any, kinds: Kinds) -> Any:
    numbers = arrow.list_(arrow.float32())
    types: Mapping[str, Any] = {
        "path": arrow.string(),
        "face": arrow.int32(),
        "width": arrow.int32(),
        "height": arrow.int32(),
        "ignored": arrow.bool_(),
    }
    of_kind: Mapping[str, Any] = {
        "bool": arrow.bool_(),
        "int": arrow.int64(),
        "float": arrow.float64(),
        "text": arrow.string(),
        "list": numbers,
        "lists": arrow.list_(numbers),
    }
    fields = [(name, types.get(name, arrow.float32())) for name in COLUMNS]
    return arrow.schema(fields + [(name, of_kind[kind]) for name, kind in kinds.items()])


def _pyarrow(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError("Parquet needs pyarrow: pip install 'cascade-faces[archive]'") from error
