"""Runs a page's shell commands, one a line of standard input, in one process: most take less time than starting Python.

What is not a command of ours, or sends its output elsewhere, goes to a shell.
"""

from __future__ import annotations

import shlex
import subprocess
import sys

from cascade.cli import main


def run(line: str) -> int:
    """The exit status of a command, which is printed before it runs."""
    print("+", line, file=sys.stderr, flush=True)
    name, *words = shlex.split(line, comments=True)
    if name == "cascade" and ">" not in words:
        return main(words)
    return subprocess.run(["sh", "-eu", "-c", line], check=False).returncode


if __name__ == "__main__":
    for each in sys.stdin.read().splitlines():
        if status := run(each):
            sys.exit(status)
