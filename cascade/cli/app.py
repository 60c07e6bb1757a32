"""``cascade app``: a local web page to drop photos on."""

from __future__ import annotations

import argparse
import ipaddress
import os
import secrets
import socket
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.console import CommandError, raise_interrupts, say, writing
from cascade.cli.keys import Secret, add_creation_options, secret_to_change
from cascade.cli.recognition import NOT_PROOF, new_parser

if TYPE_CHECKING:
    from cascade.app.settings import Settings

PORT = 8765
TOKEN_VARIABLE = "CASCADE_APP_TOKEN"
EXTRA = "cascade app needs the extra [app]: python -m pip install 'cascade-faces[app]', or '.[app]' in a clone"

DESCRIPTION = f"""\
Serves a web page on this machine, at http://127.0.0.1:{PORT}: drop photos on it to see faces and how they look, compare
two photos, name people and find them, hide faces. It prints the address and runs until Ctrl-C.

Photos and results are in memory alone. Named people are too, unless --gallery names a file. The page asks no other host
for anything.

{NOT_PROOF}"""

EPILOG = f"""\
other machines:
  With --host the page can be reached from other machines. A token is required then: --token, the environment variable
  {TOKEN_VARIABLE}, or one that is made and printed. The connection is not encrypted: put a proxy with TLS before it.

exit status:
  130  stopped with Ctrl-C          2  wrong options, an address in use, or a gallery that cannot be used

examples:
  cascade app --open
  cascade app --gallery crew.gallery --encrypt
  cascade app --host 0.0.0.0 --allow-host faces.example.org
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "app", "a local web page: drop photos, compare, name people", DESCRIPTION, EPILOG)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--gallery", metavar="FILE", help="store named people in this file; it is created if it does not exist"
    )
    add_creation_options(parser)
    parser.add_argument(
        "--min-face", type=float, default=20, metavar="N", help="smallest face, in pixels of the photo (default: 20)"
    )
    server = parser.add_argument_group("the server")
    server.add_argument("--port", type=int, default=PORT, metavar="N", help=f"default: {PORT}; 0 takes any free port")
    server.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen at (default: 127.0.0.1)"
    )
    server.add_argument(
        "--token", metavar="TEXT", help="what requests must bring, 16 characters or more; others can see it in `ps`"
    )
    server.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which the server is addressed, as by a proxy; can be given several times",
    )
    server.add_argument(
        "--workers", type=int, metavar="N", help="processes for photos (default: one per core, at most 2)"
    )


def run(args: argparse.Namespace) -> int:
    """Serves the page until it is stopped. Raises `CommandError`."""
    try:
        from cascade.app.server import serve
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "cascade":
            raise
        raise CommandError(f"{EXTRA} ({error.name} is missing)") from error
    from cascade.gallery import GalleryError

    settings, is_made = make_settings(args)
    listening = _listen(args.host, args.port)
    address = _address(args.host, listening.getsockname()[1])
    if is_made:
        address += f"#token={settings.token}"

    def on_ready() -> None:
        with writing("to standard output"):
            print(address, flush=True)
        say("Open this address in a browser; Ctrl-C stops the server and forgets what is not saved.")
        if args.open:
            webbrowser.open(address)

    if not is_loopback(args.host):
        say("warning: others can reach this server, and what is sent is not encrypted: put a proxy with TLS before it")
    raise_interrupts()
    with listening:
        try:
            serve(listening, settings, on_ready)
        except (GalleryError, ImportError, OSError, RuntimeError) as error:
            raise CommandError(str(error)) from error
    return 0


def make_settings(args: argparse.Namespace) -> tuple[Settings, bool]:
    """The settings of these options, and whether the token was made here. Raises `CommandError`."""
    from cascade.app.settings import LOOPBACK, Settings

    secret = _secret(args)
    token = args.token if args.token is not None else os.environ.get(TOKEN_VARIABLE)
    local = is_loopback(args.host)
    is_made = token is None and not local
    names = [name.lower().rstrip(".") for name in args.allow_host]
    if not local:
        names += [args.host.lower(), socket.gethostname().lower()]
    chosen: dict[str, Any] = {} if args.workers is None else {"workers": args.workers}
    try:
        settings = Settings(
            min_face=args.min_face,
            token=secrets.token_urlsafe(24) if is_made else token,
            hosts=(*LOOPBACK, *names),
            any_address=not local,
            gallery=None if args.gallery is None else Path(args.gallery),
            passphrase=secret.passphrase,
            key=secret.key,
            **chosen,
        )
    except (TypeError, ValueError) as error:
        name, _, rest = str(error).partition(":")
        raise CommandError(f"--{name.replace('_', '-')}:{rest}") from error
    return settings, is_made


def _secret(args: argparse.Namespace) -> Secret:
    """What the gallery is encrypted with, or is to be. Raises `CommandError`."""
    if args.gallery is not None:
        return secret_to_change(Path(args.gallery), args.key_file, args.encrypt)
    if args.encrypt or args.key_file is not None:
        raise CommandError("--encrypt and --key-file are for --gallery")
    return Secret()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    """A socket at the address. Raises `CommandError`."""
    if not 0 <= port <= 65535:
        raise CommandError(f"--port: expected 0 to 65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "; --port 0 takes any free port" if port else ""
        raise CommandError(f"cannot listen at {host}, port {port}: {reason}{hint}") from error


def _address(host: str, port: int) -> str:
    """The address of the page, at this machine's name where it listens everywhere."""
    everywhere = host in ("0.0.0.0", "::")
    name = socket.gethostname() if everywhere else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"
