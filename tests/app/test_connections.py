"""Connections that hold a place and ask for nothing."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from cascade.app import connections

HEADER_SECONDS = 0.5
HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def slow(scope: Any, receive: Any, send: Any) -> None:
    """An application whose work takes longer than headers may."""
    await asyncio.sleep(2 * HEADER_SECONDS)
    await PlainTextResponse("done")(scope, receive, send)


@pytest.fixture
def port(monkeypatch):
    """That of a server with `Connection` and `slow`, in a thread."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", HEADER_SECONDS)
    config = uvicorn.Config(slow, log_level="error", http=connections.Connection, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


async def rest(port: int, *parts: bytes) -> bytes:
    """What comes until the server closes the connection, when these are sent one after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.2 * HEADER_SECONDS)
    async with asyncio.timeout(30):
        found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize("parts", [(), (b"G",), (HALF,), (HALF, b"A: b\r\n", b"C: d\r\n")])
def test_headers_that_never_end(port, parts):
    assert asyncio.run(rest(port, *parts)) == b""


@pytest.mark.parametrize("parts", [(HALF + b"Connection: close\r\n\r\n",), (HALF, b"Connection: close\r\n", b"\r\n")])
def test_a_request_may_take_longer_than_its_headers(port, parts):
    assert asyncio.run(rest(port, *parts)).endswith(b"done")


def test_the_headers_of_a_second_request(port):
    async def two() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HALF + b"\r\n")
        await reader.readuntil(b"done")
        writer.write(HALF)
        async with asyncio.timeout(30):
            found = await reader.read()
        writer.close()
        return found

    assert asyncio.run(two()) == b""
