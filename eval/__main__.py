"""Runs the command line: ``python -m eval``."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cascade.cli.clone import run_clone


def _load() -> Callable[[], int]:
    from eval.commands.main import main

    return main


if __name__ == "__main__":
    sys.exit(run_clone("eval", "eval", _load))
