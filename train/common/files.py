"""The files of runs: complete or absent, even if the run that writes one is killed.

A file that another run has mapped into its memory is replaced, never written over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cascade.private_files import remove_partials, whole_file


@contextmanager
def new_file(file: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of ``file`` when the block ends without an error.

    What runs that were killed left in the folder is deleted first.
    """
    remove_partials(file.parent)
    with whole_file(file) as stream:
        yield stream


def save_array(file: Path, array: NDArray[np.generic]) -> None:
    """Writes an .npy file."""
    with new_file(file) as stream:
        np.save(stream, array)


def save_json(file: Path, value: Any) -> None:
    """Writes a JSON file."""
    with new_file(file) as stream:
        stream.write((json.dumps(value, indent=2) + "\n").encode())
