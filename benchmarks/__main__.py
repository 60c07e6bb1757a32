"""``python -m benchmarks``: fps, scaling, attributes, archive, arithmetic, decode, pareto, video and summary;
see their --help."""

from __future__ import annotations

import importlib
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence

from cascade.cli.clone import missing, run_clone


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 where a photo or a baseline failed, or 2 after a line on what is wrong.

    Raises SystemExit where argparse ends the program: with status 2 for options that it does not take.
    """
    from benchmarks import commands
    from benchmarks.arguments import parser

    given = list(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(given)
    args.command_line = shlex.join(["python", "-m", "benchmarks", *given])
    try:
        status: int = getattr(commands, f"execute_{args.command}")(args)
        return status
    except (ValueError, TypeError, OSError, subprocess.SubprocessError) as error:
        # WeightsError and ImageError are ValueErrors; each message says what to look at
        message = " ".join(str(error).split())
    except ImportError as error:
        message = missing(error, "eval")
    print(f"python -m benchmarks {args.command}: error: {message}", file=sys.stderr)
    return 2


def _load() -> Callable[[], int]:
    importlib.import_module("benchmarks.commands")  # slow
    return main


if __name__ == "__main__":
    sys.exit(run_clone("benchmarks", "eval", _load))
