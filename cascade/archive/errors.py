"""What can be wrong with an index, and the one place that imports pyarrow, fsspec and Ray."""

from __future__ import annotations

from typing import Any

from cascade.imaging.errors import LONGEST, shortened

__all__ = [
    "ArchiveError",
    "ArchiveLockedError",
    "ArchiveMismatchError",
    "cannot_be_read",
    "import_fsspec",
    "import_pyarrow",
    "import_ray",
]


class ArchiveError(ValueError):
    """An index that cannot be read or written. The message names its folder or file and the reason."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, LONGEST))


class ArchiveLockedError(ArchiveError):
    """An index that another run is writing."""


class ArchiveMismatchError(ArchiveError):
    """An index of another format, of other networks or of other settings: its rows cannot be compared with new ones."""


def cannot_be_read(error: BaseException) -> str:
    """What a message says of a file, folder or object that could not be read, and why."""
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def import_pyarrow() -> Any:
    """The package ``pyarrow``, ``parquet`` and ``compute`` too. Raises ImportError naming the extra that has it."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "an index needs the package pyarrow: python -m pip install 'cascade-faces[archive]'"
        ) from error
    return pyarrow


def import_fsspec() -> Any:
    """The package ``fsspec``, ``core`` too. Raises ImportError naming the extra that has it."""
    try:
        import fsspec
        import fsspec.core
    except ImportError as error:
        raise ImportError("URLs need the package fsspec: python -m pip install 'cascade-faces[archive]'") from error
    return fsspec


def import_ray() -> Any:
    """The package ``ray`` with ``data``. Raises ImportError naming the extra that installs it."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError("a cluster needs the package ray: python -m pip install 'cascade-faces[ray]'") from error
    return ray
