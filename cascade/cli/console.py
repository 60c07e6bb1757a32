"""What the commands share: exit statuses, the error that ends a command, and messages to the user."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOME_FAILED, BAD_USAGE, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141
"""Exit statuses besides 0. The last two are those of a shell for Ctrl-C and for a closed pipe."""


class CommandError(Exception):
    """Ends the command with a message for the user and an exit status."""

    def __init__(self, message: str, status: int = BAD_USAGE) -> None:
        super().__init__(message)
        self.status = status


def say(message: str) -> None:
    """Prints a line to stderr. Where a progress bar is drawn, use ``tqdm.write`` instead."""
    print(message, file=sys.stderr, flush=True)


def counted(number: int, thing: str) -> str:
    """The number with the word in singular or plural: 1 face, 1,000 faces."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


@contextmanager
def writing(where: str, status: int = SOME_FAILED) -> Iterator[None]:
    """Raises a `CommandError` where writing fails, but BrokenPipeError for a closed pipe."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"cannot write {where}: {error.strerror or error}", status) from error


def writable_folder(name: str) -> Path:
    """Creates the folder given as ``--out`` and tries to write in it. Raises `CommandError`."""
    if not name:
        raise CommandError("--out: expected a folder, got an empty name")
    if os.path.exists(name) and not os.path.isdir(name):
        raise CommandError(f"--out {name}: this is a file, not a folder")
    try:
        os.makedirs(name, exist_ok=True)
        with tempfile.TemporaryFile(dir=name):
            pass
    except OSError as error:
        raise CommandError(f"--out {name}: cannot write there: {error.strerror or error}") from error
    return Path(name)
