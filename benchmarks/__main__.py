"""python -m benchmarks fps [--image FILE …] [--peer NAME=PYTHON …]"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import as_file, files
from pathlib import Path

from benchmarks.fps import run


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed of the detector.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    fps = commands.add_parser("fps", help="milliseconds for a photo, beside peers in the same run")
    fps.add_argument("--image", type=Path, action="append", help="photo to time (default: the bundled portrait)")
    fps.add_argument("--min-face", type=int, default=20)
    fps.add_argument("--threads", type=int, default=1)
    fps.add_argument("--runs", type=int, default=15, help="paired runs; medians are printed")
    fps.add_argument("--weights", help="shipped set or folder")
    fps.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="facenet-pytorch, mtcnn-runtime or yunet, and the interpreter that has it",
    )
    arguments = top.parse_args(argv)
    peers = dict(peer.split("=", 1) for peer in arguments.peer)
    with as_file(files("cascade") / "data" / "astronaut.jpg") as portrait:
        images = arguments.image or [portrait]
        run(images, peers, arguments.min_face, arguments.threads, arguments.runs, arguments.weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
