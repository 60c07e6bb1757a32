"""Files that a benchmark leaves behind, and lines above a progress bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eval.report.files import output_folder, plain

__all__ = ["failed", "maybe_folder", "say", "write_json"]


def say(text: str) -> None:
    """Print to standard output, above a progress bar if one is drawn."""
    tqdm.write(text, file=sys.stdout)


def failed(text: str) -> None:
    """Print that something failed, in a line on standard error."""
    tqdm.write(f"failed: {' '.join(text.split())}", file=sys.stderr)


@contextmanager
def maybe_folder(out: Path | None) -> Iterator[Path | None]:
    """Give a folder whose files move to ``out`` when the block ends well, or None if ``out`` is None.

    Raises OSError at once where that cannot be written.
    """
    if out is None:
        yield None
        return
    with output_folder(out) as folder:
        yield folder


def write_json(file: Path, value: Any) -> None:
    """Write JSON: keys in the order given, numpy values as plain ones, numbers that are not finite as null."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")
