"""The programs of a clone, ``python -m eval`` and the like: they end as `cascade` does, and may lack packages."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from cascade.__main__ import run_program
from cascade.cli.console import SOME_FAILED, raise_interrupts

OURS = ("cascade", "eval", "train", "benchmarks")


def run_clone(package: str, group: str, load: Callable[[], Callable[[], int]]) -> int:
    """Runs ``python -m package`` and returns its exit status: 1 after a line that says which package is missing.

    ``load`` imports the program and returns what runs it. ``group`` is the dependency group of pyproject.toml that has
    the packages.
    """
    program = f"python -m {package}"

    def run() -> int:
        try:
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(
                    before=_hold_interrupts, after_in_parent=_release_interrupts, after_in_child=_end_without_a_word
                )
            main = load()
            raise_interrupts()
            return main()
        except ModuleNotFoundError as error:
            if _is_ours(error):
                raise
            print(f"{program}: error: {missing(error, group)}", file=sys.stderr)
            return SOME_FAILED

    return run_program(program, run)


def _hold_interrupts() -> None:
    """Keeps Ctrl-C waiting while a worker process begins: it would be told of in the middle of that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _release_interrupts() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end_without_a_word() -> None:
    """Has Ctrl-C end a worker process at once: the process that started it says that all is stopped."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _release_interrupts()


def missing(error: ImportError, group: str) -> str:
    """What an import that failed means: for a package that is not installed, how to install those of the group."""
    if not isinstance(error, ModuleNotFoundError) or _is_ours(error):
        return str(error)
    package = str(error.name).partition(".")[0]
    return f"this needs the package {package}: pip install -e . --group {group}"


def _is_ours(error: ModuleNotFoundError) -> bool:
    """Whether the module is of this repository: then nothing that could be installed is missing."""
    return error.name is None or error.name.partition(".")[0] in OURS
