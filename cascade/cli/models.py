"""``cascade models``: the weights that come with the package, and their licences."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cascade.cli.console import SOME_FAILED, CommandError

if TYPE_CHECKING:
    from cascade.models.aging import AgingWeights
    from cascade.models.attributes import AttributeWeights
    from cascade.models.detector import DetectorWeights
    from cascade.models.landmarks import LandmarkWeights
    from cascade.models.recognizer import RecognizerWeights

DESCRIPTION = """\
Lists the trained networks that come with this installation: the number of weights, the million multiply-adds for one
window, the licence, the training data, and the beginning of each file's SHA-256. With --hardware it says instead what
this machine runs them with.
"""

COLUMNS = ("file", "weights", "M mult-adds", "SHA-256")
SHOWN = {"licence": "licence", "data": "trained on"}
"""Entries of a weight file's metadata that are printed, and their titles."""

VERIFICATION = ("threshold", "false_accept_rate", "true_accept_rate", "measured_on")


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = commands.add_parser(
        "models",
        help="list the trained networks and their licences",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--hardware", action="store_true", help="say which SIMD levels this machine can run, and the precision of each"
    )
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Prints the tables and returns the exit status: 1 if a network is damaged."""
    from cascade.models import aging, attributes, detector, landmarks, recognizer

    if args.hardware:
        print("\n".join(describe_hardware()))
        return 0
    status = 0
    for number, name in enumerate(detector.shipped_detectors()):
        default = " (used unless --weights names another)" if name == detector.DEFAULT else ""
        print(f"{chr(10) if number else ''}{name}{default}: {detector.FOLDER / name}")
        status |= _print_lines(name, lambda name: describe(detector.load_detector(name)))
    for name in recognizer.shipped_recognizers():
        default = ", used unless --recognizer names another" if name == recognizer.DEFAULT else ""
        print(f"\n{name} (recognition{default}): {recognizer.FOLDER}")
        status |= _print_lines(name, lambda name: describe_recognizer(recognizer.load_recognizer(name)))
    for name in attributes.shipped_attributes():
        default = ", used unless --attribute-weights names another" if name == attributes.DEFAULT else ""
        print(f"\n{name} (attributes{default}): {attributes.FOLDER}")
        status |= _print_lines(name, lambda name: describe_attributes(attributes.load_attributes(name)))
    for path in sorted(landmarks.FOLDER.glob("*.safetensors")):
        print(f"\n{path.stem} (68 landmarks): {landmarks.FOLDER}")
        status |= _print_lines(str(path), lambda file: describe_graph(landmarks.load_landmarks(file)))
    for path in sorted(aging.FOLDER.glob("*.safetensors")):
        print(f"\n{path.stem} (age synthesis): {aging.FOLDER}")
        status |= _print_lines(str(path), lambda file: describe_graph(aging.load_aging(file)))
    return status


def describe_hardware() -> list[str]:
    """The lines that are printed about SIMD levels. Raises CommandError if CASCADE_SIMD names one that is not here."""
    from cascade import _native
    from cascade.engines.factory import default_precision
    from cascade.models.detector import load_detector

    try:
        used = _native.default_simd_level()
    except ValueError as error:
        raise CommandError(str(error)) from error
    weights = load_detector(None)
    lines = ["SIMD levels, the best one first; CASCADE_SIMD chooses another:"]
    for level in _native.simd_levels():
        used_here = ", used" if level == used else ""
        lines.append(f"  {level:10}  detector in {default_precision(weights, level)}{used_here}")
    return lines


def _print_lines(name: str, describe: Callable[[str], list[str]]) -> int:
    """Prints what there is to say of shipped weights and returns the exit status."""
    from cascade.models.files import WeightsError

    status = 0
    try:
        lines = describe(name)
    except WeightsError as error:
        lines, status = [f"damaged: {error}"], SOME_FAILED
    print("".join(f"  {line}\n" for line in lines), end="")
    return status


def describe(weights: DetectorWeights) -> list[str]:
    """The lines that are printed about a detector's networks."""
    rows = []
    for stage in weights.stages.values():
        work, set_name = stage.architecture.multiply_adds() / 1e6, stage.path.parent.name
        file = stage.path.name if set_name == weights.name else f"{set_name}/{stage.path.name}"
        rows.append((file, f"{stage.architecture.weights():,}", f"{work:.2f}", stage.sha256[:12]))
    lines = _table(rows)
    for key, title in SHOWN.items():
        values = {name: str(stage.metadata.get(key, "not stated")) for name, stage in weights.stages.items()}
        if len(set(values.values())) == 1:
            lines.append(f"{title}: {values['pnet']}")
        else:
            lines += [f"{title} ({name}): {value}" for name, value in values.items()]
    return lines


def describe_recognizer(weights: RecognizerWeights) -> list[str]:
    """The lines that are printed about a recognition network."""
    lines = describe_graph(weights)
    verification = weights.metadata.get("verification")
    if isinstance(verification, dict):
        figures = [f"{key.replace('_', ' ')} {verification[key]}" for key in VERIFICATION if key in verification]
        lines.append(f"verification: {', '.join(figures)}")
    return lines


def describe_attributes(weights: AttributeWeights) -> list[str]:
    """The lines that are printed about an attribute network."""
    return [*describe_graph(weights), f"says: {', '.join(task.name for task in weights.tasks)}"]


def describe_graph(weights: AgingWeights | AttributeWeights | LandmarkWeights | RecognizerWeights) -> list[str]:
    """The lines that are printed about any network that is a graph."""
    graph = weights.graph
    work = graph.multiply_adds() / 1e6
    lines = _table([(weights.path.name, f"{graph.weights():,}", f"{work:.2f}", weights.sha256[:12])])
    return lines + [f"{title}: {weights.metadata.get(key, 'not stated')}" for key, title in SHOWN.items()]


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    """Rows below the names of the columns, numbers to the right."""
    rows = [COLUMNS, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return [
        f"{file:<{widths[0]}}  {count:>{widths[1]}}  {work:>{widths[2]}}  {sha256}"
        for file, count, work, sha256 in rows
    ]
