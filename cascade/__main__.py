"""``python -m cascade``, and the command ``cascade``; how it and the programs of a clone end."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable

INTERRUPTED = 130


def main() -> int:
    """Runs the command line and returns its exit status. Ctrl-C ends it in one line, even during the imports."""
    return run_program("cascade", _run)


def _run() -> int:
    from cascade.cli import main as run

    return run()


def run_program(program: str, run: Callable[[], int]) -> int:
    """Runs a program and returns its exit status. Ctrl-C ends it in one line.

    ``run`` imports what the program needs, and calls `cascade.cli.console.raise_interrupts` when that is done: until
    then Ctrl-C ends the process at once.
    """
    try:
        from cascade.cli.console import end_on_interrupt, raise_interrupts

        end_on_interrupt(program)
        try:
            status = run()
        finally:
            raise_interrupts()
    except KeyboardInterrupt:
        status = INTERRUPTED
        with contextlib.suppress(AttributeError, OSError):  # of a stderr that is closed or full
            sys.stderr.write(f"{program}: stopped\n")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done; what is left is Python's own end
    if status == INTERRUPTED:
        _end(status)
    return status


def _end(status: int) -> None:
    """Ends the process. Python itself would end it by the signal if Ctrl-C came while a module was running `exec`."""
    multiprocessing = sys.modules.get("multiprocessing")
    for child in multiprocessing.active_children() if multiprocessing else ():
        child.terminate()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
