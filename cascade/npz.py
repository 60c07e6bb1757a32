"""Reading .npz files that may come from anybody: what is read is never larger than the file.

`numpy.load` inflates compressed members and believes what their headers say of their size, so that a file of some
megabytes can fill the memory. Here members must be stored as they are, as `numpy.savez` writes them, and the size that
a header states must be that of its member before anything is allocated.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

__all__ = ["NpzError", "is_replaceable", "read_npz"]

LARGEST_FILE = 8 << 30  # bytes
MOST_MEMBERS = 1000
LONGEST_HEADER = 1 << 16  # bytes of an array's description
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

Array = npt.NDArray[Any]


class NpzError(ValueError):
    """A file that is no .npz file of stored arrays. The message has the reason, without the file's name."""


def read_npz(
    path: str | Path | IO[bytes], wanted: Collection[str] | None = None, *, exactly: bool = False
) -> dict[str, Array]:
    """The arrays of a file by name, or those ``wanted`` of them that are there. Nothing is unpickled.

    ``exactly``: all that are wanted must be there, and nothing else. Raises OSError for a file that cannot be read and
    `NpzError` for anything but stored arrays.
    """
    try:
        with zipfile.ZipFile(path) as file:
            members = _checked_members(file, wanted, exactly)
            return {name: _read(file, member) for name, member in members.items()}
    except (NpzError, OSError, MemoryError):
        raise
    except Exception as error:  # the readers of zip and npy files raise whatever comes up, from KeyError to zlib.error
        raise NpzError(f"damaged or cut short ({str(error)[:100] or type(error).__name__})") from error


def is_replaceable(path: str | Path, member: str) -> bool:
    """Whether nothing is there, an empty file, or an .npz file with an array of that name: no file of others."""
    try:
        if not os.stat(path).st_size:
            return True
        with zipfile.ZipFile(path) as file:
            return f"{member}.npy" in file.namelist()
    except FileNotFoundError:
        return True
    except Exception:  # whatever the reader of zip files raises, it is none that we wrote
        return False


def _checked_members(
    file: zipfile.ZipFile, wanted: Collection[str] | None, exactly: bool
) -> dict[str, zipfile.ZipInfo]:
    """The members to read by the names of their arrays, if all of the file's fit into it."""
    infos = file.infolist()
    assert file.fp is not None
    size = file.fp.seek(0, 2)
    if size > LARGEST_FILE or len(infos) > MOST_MEMBERS:
        raise NpzError(f"expected at most {LARGEST_FILE:,} bytes and {MOST_MEMBERS:,} arrays, got {size:,} bytes")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise NpzError(f"{info.filename[:50]!r} is compressed; write the file with numpy.savez")
    if sum(info.file_size for info in infos) > size:
        raise NpzError("its arrays are larger than the file: damaged or cut short")
    members = {info.filename.removesuffix(".npy"): info for info in infos}
    if len(members) != len(infos):
        raise NpzError("two of its arrays have the same name")
    if exactly and set(members) != set(wanted or ()):
        held = ", ".join(sorted(members))[:100] or "nothing"
        raise NpzError(f"expected {', '.join(sorted(wanted or ()))}; it holds {held}")
    return {name: info for name, info in members.items() if wanted is None or name in wanted}


def _read(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in HEADERS:
            raise NpzError(f"{member.filename[:50]!r} has version {version} of the npy format, expected 1.0 or 2.0")
        shape, fortran_order, dtype = HEADERS[version](stream, max_header_size=LONGEST_HEADER)
        if dtype.hasobject:
            raise NpzError(f"{member.filename[:50]!r} holds Python objects, which are not read")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size != member.file_size - stream.tell():
            raise NpzError(f"{member.filename[:50]!r} is not as large as its header says: damaged")
        data = bytearray(size)
        if cast(zipfile.ZipExtFile, stream).readinto(data) != size or stream.read(1):  # the last read checks the sum
            raise NpzError(f"{member.filename[:50]!r} is cut short")
    array: Array = np.frombuffer(data, dtype) if size else np.empty(math.prod(shape), dtype)
    return array.reshape(shape, order="F" if fortran_order else "C")
