"""What ``embed``, ``verify`` and ``gallery`` share: options, the Recognizer, and galleries in files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.console import CommandError, say
from cascade.cli.detect import add_detector, make_detector
from cascade.cli.keys import Secret, secret_of

if TYPE_CHECKING:
    from cascade.gallery import Gallery
    from cascade.recognize import Recognizer

NOT_PROOF = """\
A similarity is a measurement with an error rate, not proof of who somebody is. The rate differs between groups of
people. Ask the people whose faces you compare, and do not let it alone decide about a person. See the README.
"""


def new_parser(commands: Any, name: str, summary: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser for a command, whose texts are printed as they are."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the Detector and the Recognizer."""
    group = parser.add_argument_group("how faces are found and compared")
    group.add_argument(
        "--recognizer", metavar="NAME|FILE", help="trained recognition network: one of `cascade models`, or a file"
    )
    group.add_argument("--flip", action="store_true", help="also use mirror images: slightly better, twice the time")
    group.add_argument(
        "--min-face", type=float, metavar="N", help="smallest face, in pixels of the photo (default: 20)"
    )
    add_detector(parser, group)


def add_largest(parser: argparse._ActionsContainer) -> None:
    """Adds ``--largest``, for commands that expect one face in a photo."""
    parser.add_argument("--largest", action="store_true", help="where a photo has several faces, take the largest")


def add_search(parser: argparse.ArgumentParser, top: int, where: str) -> None:
    """Adds photos, ``--top`` and ``--threshold`` of commands that search for each face: in an index or a gallery.

    `check_search` checks them.
    """
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a photo, or a folder with photos")
    parser.add_argument(
        "--top", type=int, default=top, metavar="K", help=f"most matches to print for a face (default: {top})"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="least similarity of a match, -1 to 1 (default: the one measured for pairs of photos; "
        f"raise it for a large {where})",
    )


def check_search(args: argparse.Namespace) -> None:
    """Ends the program without photos. Raises `CommandError` for a wrong ``--top``."""
    if not args.paths:
        args.parser.error("name a photo or a folder")
    if args.top < 1:
        raise CommandError(f"--top: expected at least 1, got {args.top}")


def make_recognizer(args: argparse.Namespace) -> Recognizer:
    """The Recognizer of these options. Raises `CommandError`."""
    from cascade.models.files import WeightsError
    from cascade.recognize import Recognizer

    detector = make_detector(args)
    try:
        return Recognizer(args.recognizer, args.threads, detector=detector, flip=args.flip)
    except WeightsError as error:
        raise CommandError(f"--recognizer: {str(error).removeprefix('weights: ')}") from error


def checked_threshold(args: argparse.Namespace, recognizer: Recognizer) -> float:
    """The given threshold, else that of the weight file. Raises `CommandError`."""
    if args.threshold is not None:
        if not -1 <= args.threshold <= 1:
            raise CommandError(f"--threshold: expected -1 to 1, got {args.threshold}")
        return float(args.threshold)
    if recognizer.operating_point is None:
        raise CommandError(f"{recognizer.weights.name} has no measured threshold; give one with --threshold")
    return recognizer.operating_point.threshold


def check_gallery_exists(path: str) -> None:
    """Raises `CommandError` if there is no such file."""
    if not os.path.exists(path):
        raise CommandError(f"{path or repr(path)}: there is no such gallery; cascade gallery add creates one")


def load_gallery(path: str, recognizer: Recognizer | None = None, secret: Secret | None = None) -> Gallery:
    """The gallery in a file, for embeddings of this Recognizer if one is given. Raises `CommandError`.

    Without a ``secret``, that of an encrypted gallery is looked for in the environment or asked for.
    """
    from cascade.gallery import Gallery, GalleryError

    check_gallery_exists(path)
    secret = secret_of(path) if secret is None else secret
    try:
        return Gallery.load(path, recognizer, passphrase=secret.passphrase, key=secret.key)
    except (GalleryError, ImportError) as error:
        raise CommandError(str(error)) from error


def load_or_create(path: Path, recognizer: Recognizer, secret: Secret | None = None) -> Gallery:
    """The gallery in a file, or an empty one if there is no file. Raises `CommandError`."""
    from cascade.gallery import Gallery

    return load_gallery(str(path), recognizer, secret) if path.exists() else Gallery(recognizer)


@contextmanager
def changed_gallery(path: str, secret: Secret) -> Iterator[Gallery]:
    """The gallery in a file, which is written at the end of the block. Raises `CommandError`."""
    from cascade.gallery import Gallery, GalleryError

    check_gallery_exists(path)
    try:
        with Gallery.changing(path, passphrase=secret.passphrase, key=secret.key) as gallery:
            yield gallery
    except (GalleryError, ImportError) as error:
        reason = str(error).removeprefix("name: ").removeprefix(f"{path}: ")
        raise CommandError(f"{path}: {reason}") from error


def say_expired(gallery: Gallery) -> None:
    """Says who is in the gallery but not matched any more."""
    names = gallery.expired()
    if names:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        say(f"{len(names):,} expired and not matched: {shown}; cascade gallery purge removes them")
