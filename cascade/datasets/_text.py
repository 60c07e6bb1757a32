"""Text files made of blocks: a name, a count, and that many rows of numbers.

WIDER FACE annotations and predictions and FDDB annotations and detections all look like this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade.imaging.formats import IMAGE_SUFFIXES

from .photo import DatasetError


class LineError(ValueError):
    """A line that cannot be read; ``line`` counts from 1."""

    def __init__(self, line: int, message: str, name: str | None = None) -> None:
        super().__init__(line, message, name)
        self.line = line
        self.message = message
        self.name = name

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.name is not None else self.message


@dataclass(frozen=True, slots=True)
class Block:
    """A photo's name, the line it stands on (from 1) and its rows: (N, K) float64, all finite."""

    name: str
    line: int
    rows: NDArray[np.float64]


def read_lines(file: Path) -> list[bytes]:
    """Return the lines of a text file without their ends; raises DatasetError when that fails."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    return split_lines(data, str(file))


def split_lines(data: bytes, source: str) -> list[bytes]:
    """Split the content of a text file into lines of bytes; raises DatasetError when it is binary."""
    if b"\0" in data:
        raise DatasetError(f"{source}: not a text file")
    return data.removeprefix(b"\xef\xbb\xbf").splitlines()


def parse_rows(lines: Sequence[bytes], first_line: int, widths: tuple[int, ...]) -> NDArray[np.float64]:
    """Turn lines of numbers into an (N, K) float64 array, K being one of ``widths``.

    Raises LineError for the first line with another count of numbers, something else than a number, NaN or
    infinity.
    """
    fields = [line.split() for line in lines]
    width = len(fields[0]) if fields else widths[0]
    try:
        # Bytes go straight into float(), several times as fast as numpy's own text readers.
        values = np.fromiter(map(float, chain.from_iterable(fields)), np.float64)
    except ValueError:
        values = None
    regular = width in widths and all(len(row) == width for row in fields)
    # float() takes digits grouped by underscores, which no tool writes: more likely a damaged line.
    plain = values is not None and bool(np.isfinite(values).all()) and not any(b"_" in line for line in lines)
    if values is None or not (regular and plain):
        raise _first_bad_row(fields, first_line, (width,) if width in widths else widths)
    return values.reshape(len(fields), width)


def _first_bad_row(fields: list[list[bytes]], first_line: int, widths: tuple[int, ...]) -> LineError:
    expected = " or ".join(map(str, widths))
    for line, row in enumerate(fields, first_line):
        if len(row) not in widths:
            return LineError(line, f"{expected} numbers expected, {len(row)} fields found")
        for text in row:
            value = _number(text)
            if value is None or not np.isfinite(value):
                return LineError(line, f"not a finite number: {show(text)}")
    raise AssertionError("called for rows that are all good")


def take_block(
    lines: Sequence[bytes], start: int, widths: tuple[int, ...], end: int | None = None
) -> tuple[Block, int]:
    """Read the block whose name stands at index ``start``; return it and the index behind it.

    ``end`` is the index where the next block is known to begin. After a count of 0 a single row of zeros is
    passed over: the official WIDER FACE files have it. Raises LineError.
    """
    end = len(lines) if end is None else end
    name = decode(lines[start], start + 1)
    if start + 1 >= end:
        raise LineError(start + 1, "the number of faces is missing", name)
    count = count_of(lines[start + 1])
    if count is None:
        raise LineError(start + 2, f"number of faces expected, found {show(lines[start + 1])}", name)
    first, last = start + 2, start + 2 + count
    if last > end:
        raise LineError(start + 2, f"{count} faces announced, {end - first} lines follow", name)
    try:
        rows = parse_rows(lines[first:last], first + 1, widths)
    except LineError as error:
        raise LineError(error.line, error.message, name) from None
    if count == 0 and first < end and _is_zero_row(lines[first]):
        last += 1
    return Block(name, start + 1, rows), last


def iterate_blocks(lines: Sequence[bytes], widths: tuple[int, ...]) -> Iterator[Block | LineError]:
    """Yield every block of a file, and a LineError in place of each broken one, whose end is still found."""
    starts = [at for at in range(len(lines)) if _is_header(lines, at)]
    first = starts[0] if starts else len(lines)
    stray = first_text(lines, 0, first)
    if stray is not None:
        yield LineError(stray + 1, f"name of a photo expected, found {show(lines[stray])}")
    for start, end in pairwise([*starts, len(lines)]):
        try:
            block, behind = take_block(lines, start, widths, end)
            extra = first_text(lines, behind, end)
            if extra is not None:
                message = f"more lines than the {len(block.rows)} faces announced"
                raise LineError(extra + 1, message, block.name)
        except LineError as error:
            yield error
        else:
            yield block


def _is_header(lines: Sequence[bytes], at: int) -> bool:
    """Whether a line names a photo: not all numbers, and it looks like a path or a count follows."""
    fields = lines[at].split()
    if not fields or all(_number(text) is not None for text in fields):
        return False
    followed = at + 1 < len(lines) and count_of(lines[at + 1]) is not None
    return followed or b"/" in lines[at] or lines[at].strip().lower().endswith(_SUFFIXES)


_SUFFIXES = tuple(suffix.encode() for suffix in IMAGE_SUFFIXES)


def first_text(lines: Sequence[bytes], start: int, end: int | None = None) -> int | None:
    """Return the index of the first line from ``start`` to before ``end`` that is not blank, or None."""
    end = len(lines) if end is None else end
    return next((at for at in range(start, end) if lines[at].strip()), None)


def decode(text: bytes, line: int) -> str:
    """Return a line as a name without blanks around it; raises LineError when it is empty or not UTF-8."""
    try:
        name = text.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise LineError(line, f"name is not UTF-8: {show(text)}") from None
    if not name:
        raise LineError(line, "name of a photo expected, found an empty line")
    return name


def show(text: bytes) -> str:
    """Return a piece of a file in quotes, shortened, fit for a message."""
    start = text.strip()[:40].decode("utf-8", "backslashreplace")
    return repr(start + "…") if len(text.strip()) > 40 else repr(start)


def count_of(text: bytes) -> int | None:
    """Return the integer that a line consists of, or None."""
    text = text.strip()
    return int(text) if text.isdigit() and len(text) < 10 else None


def _number(text: bytes) -> float | None:
    try:
        return None if b"_" in text else float(text)
    except ValueError:
        return None


def _is_zero_row(line: bytes) -> bool:
    fields = line.split()
    return len(fields) > 1 and all(_number(text) == 0 for text in fields)
