"""``python -m benchmarks``: fps, scaling, attributes, archive, arithmetic, decode, pareto, video and summary;
see their --help."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.arguments import parser
from benchmarks.commands import (
    execute_archive,
    execute_arithmetic,
    execute_attributes,
    execute_decode,
    execute_fps,
    execute_pareto,
    execute_scaling,
    execute_summary,
    execute_video,
)

COMMANDS = {
    "fps": execute_fps,
    "scaling": execute_scaling,
    "attributes": execute_attributes,
    "archive": execute_archive,
    "arithmetic": execute_arithmetic,
    "decode": execute_decode,
    "pareto": execute_pareto,
    "summary": execute_summary,
    "video": execute_video,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 where a photo or a baseline failed, or 2 after a line on what is wrong.

    Raises SystemExit where argparse ends the program: with status 2 for options that it does not take.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(given)
    args.command_line = shlex.join(["python", "-m", "benchmarks", *given])
    try:
        return COMMANDS[args.command](args)
    except (ValueError, TypeError, OSError, ImportError, subprocess.SubprocessError) as error:
        # WeightsError and ImageError are ValueErrors; each message says what to look at
        print(f"python -m benchmarks {args.command}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
