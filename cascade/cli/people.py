"""``cascade gallery note``, ``purge``, ``remove``, ``forget``, ``export``, ``audit``: what is stored about people."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from cascade.cli.console import CommandError, counted, say, writing
from cascade.cli.keys import add_key_option, secret_of
from cascade.cli.recognition import changed_gallery, check_gallery_exists, load_gallery, new_parser

if TYPE_CHECKING:
    from cascade.gallery import Gallery

NOTING = """\
Changes what is noted of a person: what the person consented to, and the last day on which the person is matched.
What is not given stays as it is."""

PURGING = """\
Forgets the people whose date has passed: their embeddings, notes and names, as `cascade gallery forget` does."""

FORGETTING = """\
Removes people with all that tells of them: embeddings, notes, and their names in the audit. The audit still has the
times and kinds of these changes, and a line of this one, none with a name. Also for people who were removed before.

This concerns the file alone. Backups and copies have their own."""

EXPORTING = """\
Writes all that is stored about a person as JSON: name, note, date, embeddings, the network that they come from, and the
lines of the audit. It is not encrypted; a file is created for its owner alone."""

AUDITING = """\
Prints the changes of the gallery as JSON Lines, oldest first: when (UTC), who (the account that ran the program),
what, and whom it was about. Whoever can write the file can also change its audit."""


def add_parsers(actions: Any) -> None:
    """Adds the actions to the subparsers of ``cascade gallery``."""
    noting = _parser(actions, "note", "change a person's note or date", NOTING, run_note)
    noting.add_argument("name", metavar="NAME", help="a person's name")
    add_record_options(noting, " or 'never'")
    _parser(actions, "purge", "forget the people whose date has passed", PURGING, run_purge)
    forgetting = _parser(actions, "forget", "remove people and all that tells of them", FORGETTING, run_forget)
    forgetting.add_argument("paths", nargs="*", metavar="NAME", help="a person's name")
    exporting = _parser(actions, "export", "write all that is stored about a person", EXPORTING, run_export)
    exporting.add_argument("name", metavar="NAME", help="a person's name")
    exporting.add_argument("--out", metavar="FILE", help="a file that does not exist yet (default: standard output)")
    _parser(actions, "audit", "print the changes of the gallery", AUDITING, run_audit)


def _parser(actions: Any, name: str, summary: str, words: str, work: Any) -> argparse.ArgumentParser:
    parser = new_parser(actions, name, summary, words, "")
    parser.set_defaults(run=work, parser=parser)
    parser.add_argument("gallery", metavar="GALLERY", help="the file")
    add_key_option(parser)
    return parser


def add_record_options(parser: argparse.ArgumentParser, other: str = "") -> None:
    """Adds ``--note`` and ``--expires``."""
    parser.add_argument("--note", metavar="TEXT", help="what the person consented to, and where that is written")
    parser.add_argument(
        "--expires",
        metavar="DATE",
        help=f"last day on which the person is matched, such as 2027-01-31{other}",
    )


def expiry_of(args: argparse.Namespace) -> date | None:
    """The date of ``--expires``, None if there is none. Raises `CommandError`, also for a day that has passed."""
    if args.expires is None:
        return None
    try:
        found = date.fromisoformat(args.expires)
    except ValueError:
        raise CommandError(f"--expires: expected a date such as 2027-01-31, got {args.expires!r}") from None
    if found < date.today():
        raise CommandError(f"--expires: {found} has passed")
    return found


def run_note(args: argparse.Namespace) -> int:
    """Replaces the note, the date, or both."""
    if args.note is None and args.expires is None:
        args.parser.error("give --note, --expires or both")
    never = args.expires == "never"
    expires = None if never else expiry_of(args)
    check_gallery_exists(args.gallery)
    with changed_gallery(args.gallery, secret_of(args.gallery, args.key_file)) as gallery:
        from cascade.gallery import PersonRecord

        earlier = gallery.record(args.name)
        gallery.set_record(
            args.name,
            PersonRecord(
                earlier.note if args.note is None else args.note,
                expires if never or expires is not None else earlier.expires,
            ),
        )
        record = gallery.record(args.name)
    say(f"{args.name}: {'no end' if record.expires is None else f'until {record.expires}'}; {record.note or 'no note'}")
    return 0


def run_purge(args: argparse.Namespace) -> int:
    """Forgets expired people."""
    check_gallery_exists(args.gallery)
    with changed_gallery(args.gallery, secret_of(args.gallery, args.key_file)) as gallery:
        names = gallery.purge()
        left = len(gallery)
    say(f"forgot {', '.join(names) or 'nobody'}; {left:,} left")
    return 0


def run_forget(args: argparse.Namespace) -> int:
    """Forgets all people that are named, or none."""
    return _for_each_named(args, lambda gallery, name: gallery.forget(name), "forgot")


def run_remove(args: argparse.Namespace) -> int:
    """Removes all people that are named, or none."""
    return _for_each_named(args, lambda gallery, name: gallery.remove(name), "removed")


def _for_each_named(args: argparse.Namespace, change: Callable[[Gallery, str], object], done: str) -> int:
    if not args.paths:
        args.parser.error("name a person")
    check_gallery_exists(args.gallery)
    with changed_gallery(args.gallery, secret_of(args.gallery, args.key_file)) as gallery:
        for name in args.paths:
            change(gallery, name)
        left = len(gallery)
    say(f"{done} {', '.join(args.paths)}; {left:,} left")
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Writes what is stored about a person."""
    from cascade.gallery import GalleryError

    check_gallery_exists(args.gallery)
    gallery = load_gallery(args.gallery, None, secret_of(args.gallery, args.key_file))
    try:
        text = json.dumps(gallery.export(args.name), ensure_ascii=False, indent=1)
    except GalleryError as error:
        raise CommandError(f"{args.gallery}: {str(error).removeprefix('name: ')}") from error
    if args.out is None:
        with writing("to standard output"):
            print(text)
        return 0
    _write_new(args.out, f"{text}\n")
    say(f"wrote {args.name}, {counted(gallery.counts[args.name], 'embedding')}, to {args.out}")
    return 0


def run_audit(args: argparse.Namespace) -> int:
    """Prints the audit."""
    check_gallery_exists(args.gallery)
    gallery = load_gallery(args.gallery, None, secret_of(args.gallery, args.key_file))
    with writing("to standard output"):
        for line in gallery.audit:
            print(json.dumps(line.to_dict(), ensure_ascii=False))
    return 0


def _write_new(name: str, text: str) -> None:
    """Writes a file of which the owner alone can read it. Raises `CommandError` if there is one already."""
    from cascade import private_files

    if os.path.lexists(name):
        raise CommandError(f"--out {name}: there is such a file already")
    with writing(name), private_files.replacing(name) as stream:
        stream.write(text.encode())
