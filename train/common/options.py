"""Options that several commands of `python -m train` have."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add_packed_run(to: argparse.ArgumentParser, name: str) -> None:
    """Adds where photos, packed faces and the run are, and the name of its weight file, ``name`` if not given."""
    to.add_argument("--root", type=Path, required=True, help="folder that the paths in it are below")
    to.add_argument("--out", type=Path, required=True, help="folder of the run; the same command resumes it")
    to.add_argument("--faces", type=Path, help="folder of the packed faces, for several runs to share; OUT/faces")
    to.add_argument("--name", default=name, help="name of the weight file")
    to.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that find faces")


def add_start(to: argparse.ArgumentParser) -> None:
    """Adds ``--initial``, which is the setting ``start``; not ``--start``, which torchrun takes for one of its own."""
    to.add_argument(
        "--initial", dest="start", metavar="FILE", help="begin from the checkpoint.pt of a run, or a weight file"
    )
