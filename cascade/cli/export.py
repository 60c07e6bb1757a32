"""``cascade export``: results, annotations and networks in the forms that other programs read.

Each thing that can be exported is an action of its own, with the options that it needs.
"""

from __future__ import annotations

import argparse
from typing import Any

from cascade.cli import export_onnx
from cascade.cli.recognition import new_parser

DESCRIPTION = """\
Writes results, annotations and trained networks in the forms that other programs read.
"""

EPILOG = """\
exit status:
  0  everything was written         2  wrong options or input; nothing was written
  1  some photos had problems     130  stopped with Ctrl-C
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "export", "write results in the forms of other programs", DESCRIPTION, EPILOG)
    parser.set_defaults(run=_print_help, parser=parser)
    actions = parser.add_subparsers(title="what to write", metavar="FORMAT")
    for action in (export_onnx,):  # modules with `add_parser`, each of which adds one or more actions
        action.add_parser(actions)


def _print_help(args: argparse.Namespace) -> int:
    args.parser.print_help()
    return 0
