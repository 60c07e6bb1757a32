"""Who may ask: by host name, origin and token; and the headers that keep the page to itself.

A page of another site can make a browser send requests to 127.0.0.1. Three checks keep such requests out. The Host
header must name this machine, since a foreign name can be made to point here (DNS rebinding). What browsers say of the
origin must be this page. And where there is a token it must come in the Authorization header, which browsers never add
by themselves.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import math
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cascade.app.problems import STATUS, Problem
from cascade.app.settings import Limits, Settings

__all__ = ["CONTENT_SECURITY_POLICY", "Guard", "host_name"]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
    " 'none'"
)
"""The page loads nothing but its own files and pictures that are in memory, and talks to nobody but its server."""

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}

GUARDED = ("/api/", "/openapi.json")
"""Paths of what needs the right origin and the token. The page itself holds nothing of anybody."""

DRAIN_SECONDS = 5.0
DRAIN_BYTES = 1 << 26


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive, self._settings.limits)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message)
                await body.drain()
            await send(message)

        try:
            self._check(Headers(scope=scope), scope["path"])
        except Problem as problem:
            await _refuse(problem, answer)
            return
        await self._app(scope, body.receive, answer)

    def _check(self, headers: Headers, path: str) -> None:
        """Raises `Problem` for a request that may not be answered."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._knows(hosts[0]):
            named = hosts[0][:80] if hosts else "none"
            words = f"This server does not answer to the name {named}; cascade app --allow-host NAME adds one."
            raise Problem("host", words)
        if not path.startswith(GUARDED):
            return
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        foreign = site not in (None, "same-origin", "none")
        if foreign or (origin is not None and urlsplit(origin).netloc.lower() != hosts[0].lower()):
            raise Problem("origin", "Pages of other sites may not use this server.")
        token = self._settings.token
        if token is not None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
                words = "The token is missing or wrong. `cascade app` printed it when it started."
                raise Problem("token", words, {"WWW-Authenticate": "Bearer"})

    def _knows(self, host: str) -> bool:
        name = host_name(host)
        return name in self._settings.hosts or (self._settings.any_address and _is_address(name))


def host_name(host: str) -> str:
    """The name or address in a Host header, without the port and in small letters; "" if there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _add_headers(message: MutableMapping[str, Any]) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)


async def _refuse(problem: Problem, send: Send) -> None:
    data = json.dumps({"error": problem.words, "kind": problem.kind}).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), **problem.headers}
    raw = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": STATUS[problem.kind], "headers": raw})
    await send({"type": "http.response.body", "body": data})


class _Body:
    """The body of a request, whose rest is read and dropped before an answer.

    Otherwise the connection would be closed while the client is still sending, and it would not see the answer.
    """

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._until = time.monotonic() + limits.upload_seconds
        headers = Headers(scope=scope)
        is_form = headers.get("content-type", "").lower().startswith("multipart/")
        self._left = math.inf if is_form else limits.table_bytes  # forms have their own limits
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._ended = not has_body
        self._unasked = "expect" in headers  # a client that asks first sends nothing before somebody reads

    async def receive(self) -> Message:
        """The next part. Raises `Problem` where the body takes too long, or is too large and no form."""
        self._unasked = False
        message = await self._next()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise Problem("too large", "The results are too many for one table.")
        return message

    async def _next(self) -> Message:
        if self._ended:  # what comes now is the end of the connection, and may take as long as the answer
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._until - time.monotonic()))
        except TimeoutError:
            self._ended = True
            raise Problem("slow upload", "The request took too long to arrive.") from None
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._ended = True
        return message

    async def drain(self) -> None:
        """Drops the rest, up to some seconds and bytes."""
        self._until, left = min(self._until, time.monotonic() + DRAIN_SECONDS), DRAIN_BYTES
        with suppress(Problem):
            while not (self._ended or self._unasked) and left > 0:
                left -= len((await self._next()).get("body", b""))
