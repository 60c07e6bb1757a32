"""Where the passphrase or key of an encrypted gallery comes from: a file, the environment, or a question.

Neither is ever an argument of a command, which other users of the machine could read in the list of processes.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

from cascade.cli.console import CommandError, say

__all__ = ["Secret", "add_creation_options", "add_key_option", "new_secret", "secret_of", "secret_to_change"]

PASSPHRASE = "CASCADE_GALLERY_PASSPHRASE"
NEW_PASSPHRASE = "CASCADE_GALLERY_NEW_PASSPHRASE"
KEY_FILE = "CASCADE_GALLERY_KEY_FILE"

LONGEST_KEY_FILE = 200  # bytes; 64 digits and a line end


class Secret(NamedTuple):
    """A passphrase or a key, or neither for a gallery that is not encrypted."""

    passphrase: str | None = None
    key: bytes | None = None

    def __repr__(self) -> str:
        return "Secret(…)"


def add_key_option(parser: argparse._ActionsContainer) -> None:
    """Adds ``--key-file``."""
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        help=f"key of an encrypted gallery (default: {KEY_FILE} has the file; a passphrase comes from {PASSPHRASE}, "
        "or is asked for)",
    )


def add_creation_options(parser: argparse._ActionsContainer) -> None:
    """Adds ``--encrypt`` and ``--key-file``, for commands that create a gallery where there is none."""
    parser.add_argument("--encrypt", action="store_true", help="have the gallery encrypted, if it is created")
    add_key_option(parser)


def secret_of(path: str | Path, key_file: str | None = None) -> Secret:
    """What decrypts the gallery in a file. Raises `CommandError`."""
    from cascade.gallery import GalleryError
    from cascade.gallery_file import needed_to_read

    if key_file is not None:
        return Secret(key=_read_key(key_file))
    try:
        needed = needed_to_read(Path(path))
    except GalleryError as error:
        raise CommandError(f"{path}: {error}") from error
    if needed == "nothing":
        return Secret()
    _check_package()
    if needed == "passphrase":
        return Secret(os.environ.get(PASSPHRASE) or _asked(f"passphrase of {path}: ", PASSPHRASE))
    if not os.environ.get(KEY_FILE):
        raise CommandError(f"{path}: is encrypted with a key; give --key-file FILE, or set {KEY_FILE}")
    return Secret(key=_read_key(os.environ[KEY_FILE]))


def secret_to_change(path: Path, key_file: str | None, encrypt: bool) -> Secret:
    """What the gallery in a file is encrypted with; if there is no file, is to be. Raises `CommandError`."""
    from cascade.gallery_file import is_encrypted

    if not path.exists():
        if encrypt:
            return new_secret(path, key_file)
        if key_file is not None:
            raise CommandError(f"{path}: there is no such gallery; --encrypt creates one that is encrypted")
        if os.environ.get(PASSPHRASE) or os.environ.get(KEY_FILE):
            say(f"{path} will not be encrypted, though there is a passphrase or key for galleries; --encrypt does that")
        return Secret()
    if encrypt and not is_encrypted(path):
        raise CommandError(f"{path}: is not encrypted; cascade gallery encrypt encrypts it")
    return secret_of(path, key_file)


def new_secret(path: str | Path, key_file: str | None, variable: str = PASSPHRASE) -> Secret:
    """What a gallery is to be encrypted with: a key file, else a passphrase. Raises `CommandError`."""
    from cascade.encryption import LEAST_PASSPHRASE

    _check_package()
    if variable == PASSPHRASE:
        key_file = key_file or os.environ.get(KEY_FILE) or None
    if key_file is not None:
        return Secret(key=_read_key(key_file))
    passphrase = os.environ.get(variable)
    if not passphrase:
        passphrase = _asked(f"new passphrase of {path}: ", variable)
        if passphrase != _asked("the same again: ", variable):
            raise CommandError("the two passphrases differ; nothing was done")
    if len(passphrase) < LEAST_PASSPHRASE:
        raise CommandError(f"passphrase: expected at least {LEAST_PASSPHRASE} characters, got {len(passphrase)}")
    return Secret(passphrase)


def _check_package() -> None:
    from cascade.encryption import check_package

    try:
        check_package()
    except ImportError as error:
        raise CommandError(str(error)) from error


def _asked(question: str, variable: str) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        what = question.removesuffix(": ")
        raise CommandError(f"the {what} is needed, and there is no terminal to ask for it; set {variable}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(question)
    except EOFError:
        raise CommandError("no passphrase was given") from None
    except getpass.GetPassWarning:
        raise CommandError(f"the terminal would show the passphrase; set {variable}") from None


def _read_key(name: str) -> bytes:
    """The key in a file: 32 bytes, or 64 hexadecimal digits."""
    try:
        with open(name, "rb") as stream:
            found = stream.read(LONGEST_KEY_FILE)
    except OSError as error:
        raise CommandError(f"{name}: the key cannot be read: {error.strerror or error}") from error
    if len(found) == 32:
        return found
    digits = found.strip()
    if re.fullmatch(rb"[0-9a-fA-F]{64}", digits):
        return bytes.fromhex(digits.decode())
    raise CommandError(
        f"{name}: expected a key of 32 bytes or 64 hexadecimal digits; cascade gallery new-key writes one"
    )
