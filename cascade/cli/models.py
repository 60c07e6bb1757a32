"""``cascade models``: the weights that come with the package, and what may be done with them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cascade.cli.console import SOME_FAILED

if TYPE_CHECKING:
    from cascade.models.detector import DetectorWeights
    from cascade.models.recognizer import RecognizerWeights

DESCRIPTION = """\
Lists the trained networks that come with this installation: their sizes, their work for one window (million
multiply-adds), licence, what they learned from, and the beginning of each file's SHA-256.
"""

COLUMNS = ("file", "weights", "M mult-adds", "SHA-256")
SHOWN = {"licence": "licence", "data": "learned from"}
"""Entries of a weight file's metadata that are shown, and what they are called."""

VERIFICATION = ("threshold", "false_accept_rate", "true_accept_rate", "measured_on")


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = commands.add_parser(
        "models",
        help="list the networks that come with it, and their licences",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Prints the table and returns the exit status: 1 if a set is damaged."""
    from cascade.models.detector import DETECTION, WeightsError, load_detector, shipped

    status = 0
    if not shipped():
        print("No weights come with this installation. Give a folder of your own: cascade detect --weights DIR")
    for number, name in enumerate(shipped()):
        default = " (used unless --weights names another)" if name == "default" else ""
        print(f"{chr(10) if number else ''}{name}{default}: {DETECTION / name}")
        try:
            lines = describe(load_detector(name))
        except WeightsError as error:
            lines, status = [f"damaged: {error}"], SOME_FAILED
        print("".join(f"  {line}\n" for line in lines), end="")
    return max(status, _list_recognizers())


def _list_recognizers() -> int:
    """Prints the networks that recognise faces and returns the exit status."""
    from cascade.models.detector import SHIPPED, WeightsError
    from cascade.models.recognizer import DEFAULT, load_recognizer, shipped_recognizers

    status = 0
    for name in shipped_recognizers():
        default = ", used unless --recognizer names another" if name == DEFAULT else ""
        print(f"\n{name} (recognition{default}): {SHIPPED / 'recognition'}")
        try:
            lines = describe_recognizer(load_recognizer(name))
        except WeightsError as error:
            lines, status = [f"damaged: {error}"], SOME_FAILED
        print("".join(f"  {line}\n" for line in lines), end="")
    return status


def describe(weights: DetectorWeights) -> list[str]:
    """The lines that are printed about a set."""
    rows = []
    for stage in weights.stages.values():
        work = stage.architecture.multiply_adds() / 1e6
        rows.append((stage.path.name, f"{stage.architecture.weights():,}", f"{work:.2f}", stage.sha256[:12]))
    lines = _table(rows)
    for key, title in SHOWN.items():
        values = {name: str(stage.metadata.get(key, "not stated")) for name, stage in weights.stages.items()}
        if len(set(values.values())) == 1:
            lines.append(f"{title}: {values['pnet']}")
        else:
            lines += [f"{title} ({name}): {value}" for name, value in values.items()]
    return lines


def describe_recognizer(weights: RecognizerWeights) -> list[str]:
    """The lines that are printed about a network that recognises faces."""
    graph, metadata = weights.graph, weights.metadata
    work = graph.multiply_adds() / 1e6
    lines = _table([(weights.path.name, f"{graph.weights():,}", f"{work:.2f}", weights.sha256[:12])])
    lines += [f"{title}: {metadata.get(key, 'not stated')}" for key, title in SHOWN.items()]
    verification = metadata.get("verification")
    if isinstance(verification, dict):
        figures = [f"{key.replace('_', ' ')} {verification[key]}" for key in VERIFICATION if key in verification]
        lines.append(f"verification: {', '.join(figures)}")
    return lines


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    """Rows below the names of the columns, numbers to the right."""
    rows = [COLUMNS, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return [
        f"{file:<{widths[0]}}  {count:>{widths[1]}}  {work:>{widths[2]}}  {sha256}"
        for file, count, work, sha256 in rows
    ]
