"""The command line: ``cascade detect``, ``cascade verify``, ``cascade models`` … `main` is its entry point.

Modules here import only the standard library at the top, so that ``--help`` and ``--version`` are quick. Each command
imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cascade.cli import (
    age,
    analyze,
    anonymize,
    app,
    cluster,
    detect,
    duplicates,
    embed,
    export,
    gallery,
    index,
    index_people,
    models,
    search,
    verify,
    video,
)
from cascade.cli.console import (
    BAD_USAGE,
    BROKEN_PIPE,
    INTERRUPTED,
    SOME_FAILED,
    CommandError,
    OutputError,
    Parser,
    say,
    short_warnings,
    standard_streams,
)
from cascade.cli.photos import STANDARD_INPUT
from cascade.version import __version__

__all__ = ["main"]

COMMANDS = (
    *(detect, analyze, age, anonymize, verify, embed, gallery),
    *(index, cluster, index_people, search, duplicates),
    *(video, export, app, models),
)

EXAMPLES = """\
examples:
  cascade detect --demo                     try it on a bundled portrait
  cascade detect photo.jpg                  print the faces of one photo as JSON
  cascade detect photos --out found --draw  a whole folder; results and annotated copies go to found/
  cascade analyze photo.jpg                 how old a face looks, its expression …; read its --help first
  cascade age photo.jpg --to 10 60 --sheet  the same face at other ages; read its --help first
  cascade anonymize party --out published   copies of photos and videos with hidden faces
  cascade verify then.jpg now.jpg           whether two photos show the same person
  cascade gallery --help                    store embeddings of people and find these people in photos
  cascade index photos --out faces.index    the faces of a large archive, stopped and continued at will
  cascade cluster faces.index               the faces of an archive, grouped by person
  cascade search faces.index photo.jpg      photos of an archive with the same faces
  cascade duplicates photos --out same.html photos that are nearly the same; nothing is deleted
  cascade video clip.mp4                    follow the people in a video or before a camera
  cascade app --open                        a page on this machine to drop photos on
  cascade models                            the trained networks and their licences

"cascade detect --help" explains the options of that command; the others have --help too.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command (``sys.argv`` by default) and returns its exit status; never raises SystemExit."""
    with standard_streams(), short_warnings():
        try:
            status = _run(sys.argv[1:] if argv is None else list(argv))
            sys.stdout.flush()
            return status
        except OutputError as error:
            say(f"cascade: cannot write to standard output: {error.strerror}")
            return SOME_FAILED
        except CommandError as error:
            say(f"cascade: {error}")
            return error.status
        except KeyboardInterrupt:
            say("cascade: stopped")
            return INTERRUPTED
        except BrokenPipeError:
            return BROKEN_PIPE


def _run(argv: list[str]) -> int:
    parser = _parser()
    try:
        args, rest = parser.parse_known_args(argv)
        _take_late_paths(args, rest)
        return int(args.run(args))
    except SystemExit as exiting:  # argparse has printed help, the version or an error
        return exiting.code if isinstance(exiting.code, int) else BAD_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
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
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def _print_help(args: argparse.Namespace) -> int:
    args.parser.print_help()
    return 0


def _take_late_paths(args: argparse.Namespace, rest: list[str]) -> None:
    """Adds paths after an option to those before it: of ``detect a --draw b``, argparse does not take ``b``."""
    unknown = (
        rest
        if not hasattr(args, "paths")
        else [word for word in rest if word.startswith("-") and word != STANDARD_INPUT]
    )
    if unknown:
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        args.paths.extend(rest)
