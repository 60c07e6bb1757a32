"""What the commands share: exit statuses, the error that ends a command, and what is printed where.

Standard output holds results only; messages go to standard error. `standard_streams` sees to it that neither is lost
without a word, nor mixed, where one of them is closed or full.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import re
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from cascade.imaging.errors import LONGEST, shortened

SOME_FAILED, BAD_USAGE, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141
"""Exit statuses besides 0. The last two are those of a shell for Ctrl-C and for a closed pipe."""

LONGEST_WORD = 80
"""Characters of a name in a message that is too long; the middle of a longer one is left out."""

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal acts on: escape sequences and line ends, and characters that change the direction of writing."""

_ON_TERMINAL = re.compile(f"(?![\n\t]){_CONTROLS.pattern}")
"""The same but for the line ends and tabs of what is printed there."""


class CommandError(Exception):
    """Ends the command with a message for the user and an exit status."""

    def __init__(self, message: str, status: int = BAD_USAGE) -> None:
        super().__init__(message)
        self.status = status


class Parser(argparse.ArgumentParser):
    """A parser whose errors are short and safe to print."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.color = False  # `_Results` would escape it

    def error(self, message: str) -> NoReturn:
        """Prints the usage and the message, and raises SystemExit."""
        super().error(brief(message))


def printable(text: str) -> str:
    r"""The text in one line that is safe to print: control characters become ``\x1b``, ``\u202e`` …"""
    return _CONTROLS.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    short = {9: r"\t", 10: r"\n", 13: r"\r"}
    return short.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def brief(message: str) -> str:
    """The message in one line of at most `LONGEST` printable characters."""
    if len(message) > LONGEST * 4:  # each character may become six
        message = message[: LONGEST * 2] + message[-LONGEST * 2 :]
    message = printable(message)
    if len(message) > LONGEST:  # names first, so that what is said of them stays
        message = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: shortened(word[0], LONGEST_WORD), message)
    return shortened(message, LONGEST)


def say(message: str) -> None:
    """Prints a line to stderr, above a progress bar if there is one."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:
        print(brief(message), file=sys.stderr)
    else:
        tqdm.tqdm.write(brief(message), file=sys.stderr)
    sys.stderr.flush()


@contextmanager
def short_warnings() -> Iterator[None]:
    """Prints warnings of the package in one line, without the place in its code."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
            if category.__module__.startswith("cascade."):
                say(f"warning: {message}")
            else:
                show(message, category, *place, **options)

        warnings.showwarning = shown
        yield


def counted(number: int, thing: str) -> str:
    """The number with the word in singular or plural: 1 face, 1,000 faces."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


# --------------------------------------------------------------------------------------------------
# Ctrl-C


def end_on_interrupt(program: str = "cascade") -> None:
    """Has Ctrl-C end the process at once until `raise_interrupts`: numpy's imports swallow KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _Ending(program))


def raise_interrupts() -> None:
    """Has Ctrl-C raise KeyboardInterrupt again, from the moment on that there is something to finish."""
    if isinstance(signal.getsignal(signal.SIGINT), _Ending):
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Ending:
    """Handles Ctrl-C by the end of the process, and a line that names the program."""

    def __init__(self, program: str) -> None:
        self.line = f"{program}: stopped\n".encode()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, self.line)
        os._exit(INTERRUPTED)


# --------------------------------------------------------------------------------------------------
# Standard output and standard error


class _Stream:
    """A standard stream during a command; what is not here is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class OutputError(OSError):
    """Standard output cannot be written: the results are lost, so the command ends."""


class _Results(_Stream):
    """Standard output. On a terminal, the characters that it would act on are escaped.

    What once went wrong is raised at every later flush too, since argparse swallows errors of writing.
    """

    _error: OSError | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing can be written."""
        return self._stream is None or bool(self._stream.closed)

    def write(self, text: str) -> int:
        """Writes. Raises `OutputError`, and BrokenPipeError where nobody reads any more."""
        with self._raising():
            if self._stream is None:
                raise OSError(errno.EBADF, "it is closed")
            self._stream.write(_ON_TERMINAL.sub(_escaped, text) if self._stream.isatty() else text)
        return len(text)

    def flush(self) -> None:
        """Writes what was held back. Raises the same."""
        if self._error is not None:
            raise self._error
        with self._raising():
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and bool(self._stream.isatty())

    @contextmanager
    def _raising(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            self._error = error
            raise
        except OSError as error:
            self._error = OutputError(error.errno, error.strerror or str(error))
            raise self._error from error


class _Messages(_Stream):
    """Standard error: what cannot be written is lost, and the command goes on."""

    def write(self, text: str) -> int:
        """Writes if that is possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what was held back, if that is possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


@contextmanager
def standard_streams() -> Iterator[None]:
    """Makes ``print`` safe for the time of a command, whatever the standard streams are.

    Where they are closed, as with ``>&-`` in a shell, results end the command and messages are lost. Files that are
    opened then do not take the numbers of these streams, into which libraries print.
    """
    for number in range(3):
        _occupy(number)
    before = sys.stdout, sys.stderr
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may have characters that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout = _Results(sys.stdout)
    sys.stderr = _Messages(io.StringIO() if sys.stderr is None else sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        _silence_broken_streams()


def _occupy(number: int) -> None:
    """Opens the null device under the number of a standard stream that is closed."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)


def _silence_broken_streams() -> None:
    """Keeps Python from printing an error at its exit about output that nobody read, as after ``| head``."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
