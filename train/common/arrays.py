"""Arrays in files that several runs share: one that is mapped elsewhere is replaced, never written over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def save_array(file: Path, array: NDArray[np.generic]) -> None:
    """Writes an .npy file beside its place, and puts it there."""
    with partial_file(file) as partial:
        np.save(partial, array)


@contextmanager
def partial_file(file: Path) -> Iterator[Path]:
    """A file of this process alone, which takes the place of ``file`` when the block ends without an error."""
    partial = file.with_name(f"{file.stem}.{os.getpid()}{file.suffix}")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
