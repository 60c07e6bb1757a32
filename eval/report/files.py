"""What every evaluation leaves behind: a table on the terminal, summary.json, curves as CSV."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cascade.csv_text import csv_line, text_cell

__all__ = [
    "check_output",
    "markdown_table",
    "output_folder",
    "plain",
    "subset_note",
    "table",
    "write_csv",
    "write_summary",
]

SUMMARY = "summary.json"


def check_output(out: str | Path) -> None:
    """Raise OSError where `output_folder` could not write; creates nothing."""
    there = next(place for place in (Path(out), *Path(out).absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise NotADirectoryError(f"--out {out}: {there} is not a folder")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise type(error)(f"--out {out}: cannot write in {there}: {error.strerror or error}") from error


@contextmanager
def output_folder(out: str | Path) -> Iterator[Path]:
    """Give a temporary folder and move its files to ``out`` at the end, summary.json last.

    When the block raises, nothing reaches ``out``: it holds complete results or none of this run's. The temporary
    folder is in ``out`` if that exists, which may be a file system of its own, else beside it.
    """
    out = Path(out)
    check_output(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out if out.is_dir() else out.parent))
    try:
        yield partial
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: path.name == SUMMARY):
            target = out / path.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json: keys in the order given, numbers that are not finite as null."""
    text = json.dumps(plain(summary), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """Return ``value`` made of JSON's own types: numpy numbers unpacked, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(each) for each in value]
    number = float(value)
    return number if math.isfinite(number) else None


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write one table with a header line; floats get nine significant digits, and text is no formula (`text_cell`)."""
    with open(file, "w", newline="", encoding="utf-8") as stream:
        stream.write(csv_line(header))
        stream.writelines(csv_line(map(_csv_cell, row)) for row in rows)


def _csv_cell(value: Any) -> Any:
    return text_cell(value) if isinstance(value, str) else f"{value:.9g}" if isinstance(value, float) else value


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a text table: the first column to the left, the others to the right."""
    cells = [list(header), *([_cell(each) for each in row] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    lines = [
        "  ".join(text.rjust(width) if k else text.ljust(width) for k, (text, width) in enumerate(pairs)).rstrip()
        for pairs in (list(zip(row, widths, strict=True)) for row in cells)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return the same table in Markdown."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *([_cell(each) for each in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def subset_note(evaluated: int, full: int) -> str | None:
    """Return "180 of 3,226 photos" where fewer than all photos of a set were evaluated, else None."""
    return None if evaluated == full else f"{evaluated:,} of {full:,} photos"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
