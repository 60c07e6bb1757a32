"""The command line: ``cascade detect``, ``cascade verify``, ``cascade models`` … `main` is its entry point.

Modules here import only the standard library at the top, so that ``--help`` and ``--version`` are quick. Each command
imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence

from cascade.cli import detect, embed, gallery, models, verify
from cascade.cli.console import BAD_USAGE, BROKEN_PIPE, INTERRUPTED, CommandError, say, writing
from cascade.version import __version__

__all__ = ["main"]

EXAMPLES = """\
examples:
  cascade detect --demo                     try it on a bundled portrait
  cascade detect photo.jpg                  print the faces of one photo as JSON
  cascade detect photos --out found --draw  a whole folder; results and annotated copies go to found/
  cascade verify then.jpg now.jpg           whether two photos show the same person
  cascade gallery --help                    store embeddings of people and find these people in photos
  cascade models                            the trained networks and their licences

"cascade detect --help" explains the options of that command; the others have --help too.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command (``sys.argv`` by default) and returns its exit status; never raises SystemExit."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may have characters that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(sys.argv[1:] if argv is None else list(argv))
        with writing("to standard output"):
            print(end="", flush=True)
        return status
    except CommandError as error:
        say(f"cascade: {error}")
        return error.status
    except KeyboardInterrupt:
        say("cascade: stopped")
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    finally:
        _silence_broken_streams()


def _run(argv: list[str]) -> int:
    parser = _parser()
    try:
        args, rest = parser.parse_known_args(argv)
        _take_late_paths(args, rest)
        return int(args.run(args))
    except SystemExit as exiting:  # argparse has printed help, the version or an error
        return exiting.code if isinstance(exiting.code, int) else BAD_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cascade",
        description="Finds faces in photos, each with a box, a score and five points (eyes, nose, mouth corners), and "
        "compares them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"cascade {__version__}")
    parser.set_defaults(parser=parser, run=_print_help)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (detect, verify, embed, gallery, models):
        command.add_parser(commands)
    return parser


def _print_help(args: argparse.Namespace) -> int:
    args.parser.print_help()
    return 0


def _take_late_paths(args: argparse.Namespace, rest: list[str]) -> None:
    """Adds paths after an option to those before it: of ``detect a --draw b``, argparse does not take ``b``."""
    unknown = rest if not hasattr(args, "paths") else [word for word in rest if word.startswith("-")]
    if unknown:
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        args.paths.extend(rest)


def _silence_broken_streams() -> None:
    """Keeps Python from printing an error at its exit about output that nobody read, as after ``| head``."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
