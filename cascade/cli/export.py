"""``cascade export``: results, annotations and networks in the forms that other programs read.

What can be exported is an action each: `cascade.cli.export_faces` adds those of faces, `export_onnx` that of networks.
"""

from __future__ import annotations

import argparse
from typing import Any

from cascade.cli import export_faces, export_onnx
from cascade.cli.recognition import new_parser

DESCRIPTION = """\
Writes faces and trained networks in the forms that other programs read. What goes in is what cascade detect wrote, or a
file in another of these forms: so it converts, too; or the index of an archive. onnx writes the networks.
"""

EPILOG = """\
exit status:
  0  everything was written         2  wrong options or input; nothing was written
  1  some photos had problems     130  stopped with Ctrl-C

examples:
  cascade detect photos --out found
  cascade export coco found/faces.jsonl --out faces.json
  cascade export xmp found/faces.jsonl                     regions in photos/1.jpg.xmp, for photo managers
  cascade export xmp faces.index                           the same with the names of people
  cascade export labelstudio found/faces.jsonl --images photos --out tasks.json
  cascade export yolo annotations.xml --images photos --out dataset

"cascade export FORMAT --help" explains the options of each.
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(
        commands, "export", "write faces or networks in the forms of other programs", DESCRIPTION, EPILOG
    )
    parser.set_defaults(run=_print_help, parser=parser)
    actions = parser.add_subparsers(title="what to write", metavar="FORMAT")
    export_faces.add_parsers(actions)
    export_onnx.add_parser(actions)


def _print_help(args: argparse.Namespace) -> int:
    args.parser.print_help()
    return 0
