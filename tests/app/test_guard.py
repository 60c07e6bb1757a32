"""Who may ask: hosts, origins, tokens; and the headers of every answer."""

from __future__ import annotations

import asyncio
import json

import pytest

from cascade.app.guard import CONTENT_SECURITY_POLICY, Guard, host_name
from cascade.app.problems import Problem
from cascade.app.settings import Limits, Settings
from tests.app.helpers import photo

TOKEN = "a-token-of-many-letters"
HOST = {"host": "127.0.0.1:8765"}


def ask(settings: Settings, path: str = "/api/about", method: str = "GET", **headers: str) -> tuple[int, dict]:
    """Status and JSON of a guarded application that answers 200 to everything."""
    sent: list[dict] = []

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"kind": "answered"}'})

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "method": method, "headers": raw}
    asyncio.run(Guard(application, settings)(scope, receive, send))
    answered = {name: value.decode() for name, value in sent[0]["headers"]}
    assert answered[b"content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answered[b"cache-control"] == "no-store"
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "LOCALHOST", "[::1]:8765", "localhost."]
)
def test_hosts_of_this_machine(host):
    assert ask(Settings(), host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8765", "127.0.0.2", "", "localhost@evil.example", "[::1", "a:b:c"]
)
def test_other_hosts(host):
    for path in ("/", "/api/about", "/openapi.json", "/health"):
        status, problem = ask(Settings(), path, host=host)
        assert (status, problem["kind"]) == (421, "host")
    assert ask(Settings())[0] == 421  # none at all


def test_hosts_of_other_machines():
    settings = Settings(hosts=("faces.example.org",), any_address=True)
    for host in ("faces.example.org", "192.0.2.7:8765", "[2001:db8::1]:8765"):
        assert ask(settings, host=host)[0] == 200
    assert ask(settings, host="other.example.org")[0] == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://127.0.0.1:8765", "sec_fetch_site": "cross-site"},
    ],
)
def test_pages_of_other_sites(headers):
    for method in ("GET", "POST", "DELETE"):
        status, problem = ask(Settings(), method=method, **HOST, **headers)
        assert (status, problem["kind"]) == (403, "origin")
    assert ask(Settings(), "/", **HOST, sec_fetch_site="cross-site")[0] == 200  # a link to the page


def test_the_page_itself_and_programs_may_ask():
    assert ask(Settings(), **HOST, origin="http://127.0.0.1:8765", sec_fetch_site="same-origin")[0] == 200
    assert ask(Settings(), **HOST, sec_fetch_site="none")[0] == 200
    assert ask(Settings(), **HOST)[0] == 200


def test_a_token():
    settings = Settings(token=TOKEN)
    assert ask(settings, **HOST, authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(settings, **HOST, authorization=f"bearer  {TOKEN}")[0] == 200
    for wrong in (f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", TOKEN, "Bearer ä"):
        status, problem = ask(settings, **HOST, authorization=wrong)
        assert (status, problem["kind"]) == (401, "token")
    assert ask(settings, "/openapi.json", **HOST)[0] == 401
    assert ask(settings, "/", **HOST)[0] == 200  # the page, which asks for the token
    assert ask(settings, "/health", **HOST)[0] == 200


@pytest.mark.parametrize(("token", "reason"), [("short", "at least 16"), ("with blanks in it all", "without blanks")])
def test_tokens_that_cannot_be_used(token, reason):
    with pytest.raises(ValueError, match=f"token: expected .*{reason}"):
        Settings(token=token)


@pytest.mark.parametrize(
    ("host", "name"),
    [("A.example:80", "a.example"), ("[::1]:80", "::1"), ("a@b", "b"), ("x:99999999", "x"), ("[", ""), ("", "")],
)
def test_names_in_host_headers(host, name):
    assert host_name(host) == name


def test_a_refused_upload_is_read_to_its_end(client):
    """Otherwise the client would see a broken connection in place of the answer."""
    answer = client.post("/api/faces", files=photo(bytes(3_000_000)), headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert answer.json()["kind"] == "origin"


def test_every_answer_has_the_headers(client):
    for path in ("/", "/app.js", "/style.css", "/icon.svg", "/api/about", "/nothing", "/health", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("asks_first", [False, True])
@pytest.mark.parametrize(("path", "method"), [("/api/csv", "POST"), ("/api/about", "GET")])
def test_a_body_that_never_ends_is_not_waited_for(path, method, asks_first):
    """Whether the application reads the body or answers at once, the request ends.

    A client that asks first sends nothing until the server reads, so an answer without reading takes no time at all.
    """
    sent: list[dict] = []
    reads = 0

    async def application(scope, receive, send):
        try:
            if scope["method"] == "POST":
                await receive()
        except Problem as problem:
            sent.append({"kind": problem.kind})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        nonlocal reads
        reads += 1
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8765"), (b"content-length", b"10")]
    headers += [(b"expect", b"100-continue")] if asks_first else []
    scope = {"type": "http", "path": path, "method": method, "headers": headers}
    guard = Guard(application, Settings(limits=Limits(upload_seconds=0.2)))
    asyncio.run(asyncio.wait_for(guard(scope, receive, send), 5))
    assert sent[0] == {"kind": "slow upload"} if method == "POST" else sent[0]["status"] == 200
    assert reads == (0 if asks_first and method == "GET" else 1)


def test_the_rest_is_read_where_a_client_that_asked_has_begun_to_send():
    parts = [{"type": "http.request", "body": b"x", "more_body": more} for more in (False, True, True)]

    async def application(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return parts.pop()

    async def send(message):
        assert not parts

    headers = [(b"host", b"127.0.0.1:8765"), (b"content-length", b"3"), (b"expect", b"100-continue")]
    scope = {"type": "http", "path": "/api/csv", "method": "POST", "headers": headers}
    asyncio.run(Guard(application, Settings())(scope, receive, send))
    assert not parts
