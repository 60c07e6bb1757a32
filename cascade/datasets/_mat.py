"""Reads MATLAB's .mat files of version 5: cells, structs, text and plain numbers, which is all that annotations use.

Downloaded files may be damaged, and scipy's reader can crash the process on those. This one checks every size before it
uses it, and knows no types that it does not need: no objects, functions, sparse or complex arrays.

Layout: The MathWorks, "MAT-File Format", version 5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .photo import DatasetError

# The largest official file, wider_face_train.mat, inflates to 10 MB.
LARGEST = 128 << 20
DEEPEST = 16

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_ENCODINGS = {1: "ascii", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)
_COMPLEX = 0x800

Elements = Iterator[tuple[int, memoryview]]


def read_mat_file(file: Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Return the variables among ``names`` that the file holds, as scipy's ``loadmat`` does.

    A cell is an array of objects, a struct one with a field of objects per name, text an array of str with one element
    per row, and numbers have the type in which they are stored.

    Raises DatasetError for a file that is missing, damaged, or of more than 128 MiB, and for other types of arrays.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
        return dict(_variables(memoryview(file.read_bytes()), names))
    except (OSError, ValueError, struct.error, zlib.error) as error:
        raise DatasetError(f"{file}: cannot be read as a .mat file: {error}") from error


def _variables(data: memoryview, names: Collection[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    order = _byte_order(data)
    left = LARGEST
    for kind, content in _elements(data[_HEADER:], order):
        inner, matrix = kind, content
        if kind == _COMPRESSED:
            inflated = _inflate(content, left)
            left -= len(inflated)
            inner, matrix = next(_elements(inflated, order), (0, inflated))
        if inner != _MATRIX:
            raise ValueError(f"an array expected, found an element of type {inner}")
        parts = _elements(matrix, order)
        next(parts, None), next(parts, None)
        name = bytes(next(parts, (0, memoryview(b"")))[1]).decode("latin-1")
        if name in names:
            yield name, _matrix(matrix, order, DEEPEST)


def _byte_order(data: memoryview) -> str:
    mark = bytes(data[126:_HEADER])
    if bytes(data[:10]) == b"MATLAB 7.3":
        raise ValueError("it is of version 7.3; save it again with -v7")
    if mark not in (b"IM", b"MI"):
        raise ValueError("it has no header of version 5")
    return "<" if mark == b"IM" else ">"


def _inflate(content: memoryview, limit: int) -> memoryview:
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(content, limit + 1)
    if len(inflated) > limit:
        raise ValueError(f"it inflates to more than {LARGEST >> 20} MiB")
    if not inflater.eof:
        raise ValueError("compressed data are cut short")
    return memoryview(inflated)


def _elements(data: memoryview, order: str) -> Elements:
    """Yield type and content of each element; raises ValueError for one that does not fit into ``data``."""
    at, end = 0, len(data)
    while at < end:
        if at + 8 > end:
            raise ValueError("an element is cut short")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # up to four bytes lie in the tag itself
            kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            fits = size <= 4
        else:
            start = at + 8
            after = start + (size if kind == _COMPRESSED else (size + 7) // 8 * 8)
            fits = start + size <= end
        if not fits:
            raise ValueError(f"an element of {size} bytes does not fit into its place")
        yield kind, data[start : start + size]
        at = after


def _matrix(content: memoryview, order: str, depth: int) -> NDArray[Any]:
    """Return the array of a matrix element. ``depth`` is how many more may lie inside each other."""
    if not len(content):  # how MATLAB stores an empty cell
        return np.empty((0, 0))
    if depth == 0:
        raise ValueError(f"cells are nested more than {DEEPEST} deep")
    parts = _elements(content, order)
    flags = int(_numbers(_part(parts), order, 2)[0])
    dimensions = tuple(map(int, _numbers(_part(parts), order)))
    _part(parts)  # the name, which only a variable has
    if not 2 <= len(dimensions) <= 8 or min(dimensions) < 0:
        raise ValueError(f"an array of dimensions {dimensions[:9]}")
    kind = flags & 0xFF
    if kind == _CELL:
        cells = _cells(parts, prod(dimensions), len(content), order, depth)
        return cells.reshape(dimensions, order="F")
    if kind == _STRUCT:
        return _struct(parts, dimensions, len(content), order, depth)
    if kind == _CHAR:
        return _rows_of_text(_part(parts), dimensions, order)
    if kind not in _NUMERIC or flags & _COMPLEX:
        raise ValueError(f"an array of class {kind}{' of complex numbers' if flags & _COMPLEX else ''}")
    return _numbers(_part(parts), order, prod(dimensions)).reshape(dimensions, order="F")


def _part(parts: Elements) -> tuple[int, memoryview]:
    part = next(parts, None)
    if part is None:
        raise ValueError("an array is cut short")
    return part


def _numbers(part: tuple[int, memoryview], order: str, count: int | None = None) -> NDArray[Any]:
    kind, content = part
    if kind not in _NUMBERS:
        raise ValueError(f"numbers expected, found an element of type {kind}")
    values = np.frombuffer(content, f"{order}{_NUMBERS[kind]}")
    if count is not None and len(values) != count:
        raise ValueError(f"{count} numbers expected, found {len(values)}")
    return values.astype(values.dtype.newbyteorder("="))  # a copy: it outlives the file's bytes and may be written to


def _cells(parts: Elements, count: int, room: int, order: str, depth: int) -> NDArray[Any]:
    """Return ``count`` arrays, each of which takes 8 of ``room`` bytes or more, as one array of objects."""
    if count > room // 8:
        raise ValueError(f"{count} cells in {room} bytes")
    cells = np.empty(count, object)
    found = 0
    for kind, content in islice(parts, count):
        if kind != _MATRIX:
            raise ValueError(f"a cell expected, found an element of type {kind}")
        cells[found] = _matrix(content, order, depth - 1)
        found += 1
    if found != count:
        raise ValueError(f"{count} cells expected, found {found}")
    return cells


def _struct(parts: Elements, dimensions: tuple[int, ...], room: int, order: str, depth: int) -> NDArray[Any]:
    length = int(_numbers(_part(parts), order, 1)[0])
    text = bytes(_part(parts)[1])
    if length < 1 or not text or len(text) % length:
        raise ValueError(f"names of {len(text)} bytes, {length} each")
    names = [text[at : at + length].split(b"\0")[0].decode("latin-1") for at in range(0, len(text), length)]
    cells = _cells(parts, prod(dimensions) * len(names), room, order, depth).reshape(-1, len(names))
    fields = np.empty(len(cells), [(name, object) for name in names])
    for column, name in enumerate(names):
        fields[name] = cells[:, column]
    return fields.reshape(dimensions, order="F")


def _rows_of_text(part: tuple[int, memoryview], dimensions: tuple[int, ...], order: str) -> NDArray[Any]:
    """Return text (…, columns) as an array (…) of str."""
    kind, content = part
    if kind not in _ENCODINGS:
        raise ValueError(f"text expected, found an element of type {kind}")
    encoding = _ENCODINGS[kind]
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "<" else "-be"
    text = str(content, encoding)
    rows, columns = prod(dimensions[:-1]), dimensions[-1]
    if not text and not rows * columns:
        return np.empty(0, "U1")
    # the count of a single row may be of bytes or 16-bit units, more than there are letters
    if len(text) != rows * columns and not (rows == 1 and len(text) < columns):
        raise ValueError(f"{rows} × {columns} letters expected, found {len(text)}")
    lines = np.array(["".join(text[row::rows]) for row in range(rows)])
    return lines.reshape(dimensions[:-1], order="F")
