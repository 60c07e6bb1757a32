"""``cascade gallery encrypt``, ``rekey``, ``decrypt`` and ``new-key``."""

from __future__ import annotations

import argparse
import os
import secrets
from typing import Any

from cascade.cli.console import CommandError, say
from cascade.cli.keys import NEW_PASSPHRASE, PASSPHRASE, Secret, add_key_option, new_secret, secret_of
from cascade.cli.recognition import changed_gallery, check_gallery_exists, new_parser

ENCRYPTING = f"""\
Encrypts a gallery that is not encrypted, with AES-256-GCM. The passphrase is asked for twice, or comes from
{PASSPHRASE}; --key-file takes a key of `cascade gallery new-key` instead. Without the passphrase or key nobody
can read the gallery any more.

The file is replaced. What was on the disk before may still be found there, and in backups: for a gallery that is never
on the disk in the clear, create it with `cascade gallery add --encrypt`."""

REKEYING = f"""\
Encrypts a gallery with another passphrase or key. The new passphrase is asked for twice, or comes from
{NEW_PASSPHRASE}. Copies made before still open with the old one."""


def add_parsers(actions: Any) -> None:
    """Adds the actions to the subparsers of ``cascade gallery``."""
    for name, summary, words, work in (
        ("encrypt", "encrypt a gallery", ENCRYPTING, run_encrypt),
        ("rekey", "change the passphrase or key", REKEYING, run_rekey),
        ("decrypt", "write a gallery as it is without encryption", "Writes a gallery without encryption.", run_decrypt),
    ):
        parser = new_parser(actions, name, summary, words, "")
        parser.set_defaults(run=work, parser=parser)
        parser.add_argument("gallery", metavar="GALLERY", help="the file")
        add_key_option(parser)
        if name == "rekey":
            parser.add_argument("--new-key-file", metavar="FILE", help="the new key, in place of a passphrase")
    parser = new_parser(
        actions,
        "new-key",
        "write a random key to a file",
        "Writes 256 random bits to a new file, as 64 hexadecimal digits, for --key-file.",
        "",
    )
    parser.set_defaults(run=run_new_key, parser=parser)
    parser.add_argument("file", metavar="FILE", help="a file that does not exist yet")


def run_encrypt(args: argparse.Namespace) -> int:
    """Encrypts a plain gallery."""
    check_gallery_exists(args.gallery)
    if _encrypted(args.gallery):
        raise CommandError(f"{args.gallery}: is encrypted already; cascade gallery rekey changes the passphrase or key")
    new = new_secret(args.gallery, args.key_file)
    with changed_gallery(args.gallery, Secret()) as gallery:
        gallery.encrypt(passphrase=new.passphrase, key=new.key)
    say(f"encrypted {args.gallery}")
    return 0


def run_rekey(args: argparse.Namespace) -> int:
    """Encrypts an encrypted gallery with another passphrase or key."""
    old = _old_secret(args)
    new = new_secret(args.gallery, args.new_key_file, NEW_PASSPHRASE)
    with changed_gallery(args.gallery, old) as gallery:
        gallery.encrypt(passphrase=new.passphrase, key=new.key)
    say(f"{args.gallery} has a new {'passphrase' if new.key is None else 'key'}")
    return 0


def run_decrypt(args: argparse.Namespace) -> int:
    """Writes an encrypted gallery in the clear."""
    with changed_gallery(args.gallery, _old_secret(args)) as gallery:
        gallery.decrypt()
    say(f"{args.gallery} is not encrypted any more")
    return 0


def run_new_key(args: argparse.Namespace) -> int:
    """Writes a key to a file of which the owner alone can read it."""
    try:
        with os.fdopen(os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(f"{secrets.token_hex(32)}\n")
    except OSError as error:
        raise CommandError(f"{args.file}: the key cannot be written: {error.strerror or error}") from error
    say(f"wrote a key to {args.file}; without it, nobody can read what is encrypted with it")
    return 0


def _old_secret(args: argparse.Namespace) -> Secret:
    check_gallery_exists(args.gallery)
    if not _encrypted(args.gallery):
        raise CommandError(f"{args.gallery}: is not encrypted")
    return secret_of(args.gallery, args.key_file)


def _encrypted(path: str) -> bool:
    from pathlib import Path

    from cascade.gallery_file import is_encrypted

    return is_encrypted(Path(path))
