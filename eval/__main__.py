"""Runs the command line: ``python -m eval``."""

from __future__ import annotations

import sys

from eval.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
