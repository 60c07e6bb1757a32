"""The entry of ``python -m eval``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cascade.cli.clone import missing
from cascade.models.files import WeightsError
from eval.commands import (
    age,
    anonymize,
    attributes,
    benchmark,
    clustering,
    cross_age,
    detection,
    engines,
    errors,
    false_accepts,
    fddb,
    identification,
    landmarks,
    robustness,
    synthesis,
    templates,
    tracking,
    verification,
    wider,
)
from eval.report.files import check_output

DETECTION = (fddb, wider, landmarks, detection, benchmark, errors, robustness, engines)
RECOGNITION = (verification, identification, cross_age, age, false_accepts, templates, clustering)
COMMANDS = (*DETECTION, *RECOGNITION, attributes, anonymize, tracking, synthesis)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one evaluation; return 0, or 1 after printing what is wrong with the input."""
    parser = argparse.ArgumentParser(prog="python -m eval", description="Evaluate face detectors and face recognition.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="TASK")
    for command in COMMANDS:
        command.add_parsers(verbs)
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = parser.parse_args(given)
    args.command_line = ["python", "-m", "eval", *given]
    try:
        if getattr(args, "out", None) is not None:
            check_output(args.out)  # before hours of work
        args.execute(args)
    except (WeightsError, ValueError, TypeError, OSError) as error:
        # DatasetError and ImageError are ValueErrors; each message says what to look at.
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"error: {missing(error, 'eval')}", file=sys.stderr)
        return 1
    return 0
