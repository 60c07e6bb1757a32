"""``cascade export onnx``: the trained networks as ONNX files."""

from __future__ import annotations

import argparse
from typing import Any

from cascade.cli.console import SOME_FAILED, CommandError, writable_folder, writing
from cascade.cli.recognition import new_parser

DESCRIPTION = """\
Writes trained networks as ONNX files, for other runtimes, browsers and phones: P-Net, R-Net, O-Net and L-Net of the
detector, recognition, attributes and 68 landmarks; and manifest.json, which says of each file what goes in and what
comes out, its licence, and the SHA-256 of the weights. Networks take RGB pixels from 0 to 255 as float32. Needs the
extra [onnx].
"""

EPILOG = """\
exit status:
  0  everything was written         2  wrong options or weights; nothing was written
  1  a file could not be written

examples:
  cascade export onnx --out models
  cascade export onnx detector landmarks --out models
  cascade export onnx attributes --tasks age smile --out models
"""


def add_parser(actions: Any) -> None:
    """Adds the action to those of ``cascade export``."""
    parser = new_parser(actions, "onnx", "write trained networks as ONNX files", DESCRIPTION, EPILOG)
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="NETWORK",
        help="some of detector, recognizer, attributes and landmarks (default: all)",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the files; those there are replaced")
    parser.add_argument("--weights", metavar="NAME|DIR", help="trained detector: one of `cascade models`, or a folder")
    parser.add_argument("--recognizer", metavar="NAME|FILE", help="trained recognition network")
    parser.add_argument("--attribute-weights", metavar="NAME|FILE", help="trained attribute network")
    parser.add_argument("--landmark-weights", metavar="FILE", help="trained network for 68 landmarks")
    parser.add_argument(
        "--tasks", nargs="+", metavar="NAME", help="attributes to export (default: all but those asked for by name)"
    )
    parser.add_argument(
        "--precision", choices=("float32", "int8"), default="float32", help="of the detector (default: %(default)s)"
    )
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Writes the files and prints their names. Raises `CommandError`."""
    try:
        from cascade.exporting.files import NETWORKS, export_onnx
    except ImportError as error:
        raise CommandError(str(error)) from error
    folder = writable_folder(args.out)
    try:
        with writing(str(folder), SOME_FAILED):
            files = export_onnx(
                folder,
                args.paths or NETWORKS,
                detector=args.weights,
                recognizer=args.recognizer,
                attributes=args.attribute_weights,
                landmarks=args.landmark_weights,
                tasks=args.tasks,
                precision=args.precision,
            )
    except ValueError as error:  # WeightsError is one
        raise CommandError(str(error)) from error
    for file in files:
        print(f"{file.path}  {file.bytes:,} bytes  SHA-256 {file.sha256[:12]}")
    return 0
