"""Limits of what is taken: bytes, pixels, time, memory and number; and workers that end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from cascade.app.frames import FrameError, packed, read_message
from cascade.app.pool import Pool, Worker
from cascade.app.problems import Problem
from cascade.app.settings import Limits
from tests.app.helpers import ROOT, client_of, make_settings, photo, png
from tests.photos import PORTRAIT

OPTIONS = {"attributes": False, "ethnicity": False, "landmarks": False, "embed": False}
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def post(client, data=None, **options):
    return client.post("/api/faces", files=photo(data), params=options)


@pytest.fixture(scope="module")
def strict():
    """A client of an application that takes little: one worker, and one place to wait for it."""
    limits = {"photo_bytes": len(png(1)), "photo_pixels": 512 * 512, "table_bytes": 100, "people": 1, "waiting": 1}
    with client_of(make_settings(limits)) as client:
        yield client


def test_bytes(strict):
    data = png(1)
    assert post(strict, data).status_code == 200
    for more in (1, 10_000, 5_000_000):
        answer = post(strict, data + bytes(more))
        assert (answer.status_code, answer.json()["kind"]) == (413, "too large")
    parts = [b"--a\r\n" + b"x" * 65_536 for _ in range(20)]  # of unstated length
    headers = {"content-type": "multipart/form-data; boundary=a"}
    answer = strict.post("/api/faces", content=iter(parts), headers=headers)
    assert (answer.status_code, answer.json()["kind"]) == (413, "too large")
    answer = strict.post("/api/csv", content=b" " * 101, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["kind"]) == (413, "too large")


def test_pixels(strict):
    answer = post(strict, png(0, 1024, 512))
    assert (answer.status_code, answer.json()["kind"]) == (413, "too large")
    assert "262,144 pixels in all, got 1,024×512" in answer.json()["error"]


def test_people(strict):
    def add(name, **options):
        return strict.post("/api/people", files=photo(), params={"name": name, **options})

    assert add("Ann").status_code == 201
    assert add("Ann", extend=True).status_code == 201
    answer = add("Bob")
    assert (answer.status_code, answer.json()["kind"]) == (413, "too large")


def bomb(side: int) -> bytes:
    """A PNG that promises many more pixels than its bytes hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    lines = zlib.compress(bytes(300 * (3 * side + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def test_a_decompression_bomb(client):
    answer = post(client, bomb(30_000))
    assert (answer.status_code, answer.json()["kind"]) == (413, "too large")


@pytest.mark.slow
def test_too_long():
    with client_of(make_settings({"work_seconds": 0.002})) as client:
        answer = post(client, png(2), landmarks=True)
        assert (answer.status_code, answer.json()["kind"]) == (422, "too slow")
        assert "took longer than the 0.002 seconds" in answer.json()["error"]
        answer = post(client, png(2), landmarks=True)  # by another worker
        assert answer.json()["kind"] == "too slow"


@pytest.mark.slow
@linux_only
def test_too_much_memory():
    with client_of(make_settings({"worker_bytes": 60 << 20})) as client:
        file = io.BytesIO()
        Image.new("RGB", (6000, 6000), (90, 90, 90)).save(file, "PNG")
        answer = post(client, file.getvalue())
        assert answer.status_code in (413, 422), answer.json()
        assert post(client, png(1)).status_code == 200  # the worker goes on


def test_a_slow_upload():
    async def upload() -> Problem | None:
        from starlette.requests import Request

        from cascade.app.uploads import Form

        async def receive():
            await asyncio.sleep(0.05)
            return {"type": "http.request", "body": b"", "more_body": True}

        headers = [(b"content-type", b"multipart/form-data; boundary=a")]
        request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
        try:
            await Form({"photo": ""}).receive(request, 1000, 0.2)
        except Problem as problem:
            return problem
        return None

    problem = asyncio.run(upload())
    assert problem is not None
    assert problem.kind == "slow upload"


def test_more_requests_than_places(strict):
    """Of many at once some are refused, and the others are right."""
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: post(strict, landmarks=True), range(24)))
    counts = {status: sum(a.status_code == status for a in answers) for status in (200, 503)}
    assert counts[200] >= 2
    assert counts[503] >= 1
    assert sum(counts.values()) == 24
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["kind"] == "busy"
            assert int(answer.headers["retry-after"]) > 0
        else:
            assert len(answer.json()["faces"]) == 1
    assert strict.get("/api/about").json()["waiting"] == 0


@pytest.mark.parametrize(
    ("path", "fields"),
    [("faces", ["photo"]), ("hide", ["photo"]), ("compare", ["first", "second"]), ("people", ["photo"])],
)
def test_a_request_that_is_given_up_takes_no_worker(client, monkeypatch, path, fields):
    tasks = []

    async def work(self, head, parts, seconds):
        tasks.append(head["task"])
        raise Problem("crashed", "not reached")

    monkeypatch.setattr(Worker, "work", work)
    head = 'Content-Disposition: form-data; name="{}"; filename="x"'
    body = "".join(f"--a\r\n{head.format(field)}\r\n\r\nx\r\n" for field in fields) + "--a--\r\n"
    messages = [{"type": "http.request", "body": body.encode()}]  # and then the client has gone

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message):
        pass

    headers = [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=a")]
    query = b"name=Ann" if path == "people" else b""
    scope = {"type": "http", "method": "POST", "path": f"/api/{path}", "query_string": query, "headers": headers}
    client.portal.call(client.app, scope, receive, send)
    assert not messages
    assert tasks == []


# --------------------------------------------------------------------------------------------------
# Workers


def with_pool(work, **limits):
    """The result of a coroutine function of a running pool."""

    async def run():
        pool = Pool(make_settings(limits))
        await pool.start()
        try:
            return await work(pool)
        finally:
            await pool.stop()

    return asyncio.run(run())


@pytest.mark.slow
@linux_only
def test_a_worker_that_is_killed_is_replaced():
    async def work(pool):
        (worker,) = pool._all
        first = worker._process.pid
        task = asyncio.create_task(pool.work("faces", OPTIONS, [png(2, 3000, 3000)]))
        while not pool._idle.empty():
            await asyncio.sleep(0.001)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(Problem) as caught:
            await task
        told, _ = await pool.work("faces", OPTIONS, [PORTRAIT.read_bytes()])
        (worker,) = pool._all
        return caught.value.kind, len(told["faces"]), worker._process.pid != first

    assert with_pool(work) == ("crashed", 1, True)


@pytest.mark.slow
@linux_only
def test_a_cancelled_request_takes_no_answer_of_the_next():
    async def work(pool):
        task = asyncio.create_task(pool.work("faces", OPTIONS, [png(2, 3000, 3000)]))
        while not pool._idle.empty():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        told, _ = await pool.work("faces", OPTIONS, [PORTRAIT.read_bytes()])
        return told["width"]

    assert with_pool(work) == 512


@pytest.mark.slow
def test_a_worker_runs_nothing_of_the_working_directory(tmp_path, monkeypatch):
    for name in ("queue", "numpy", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(("", os.environ.get("PYTHONPATH", ""), "")))

    async def work(pool):
        return await pool.work("faces", OPTIONS, [PORTRAIT.read_bytes()])

    told, _ = with_pool(work)
    assert len(told["faces"]) == 1
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
@linux_only
def test_errors_of_workers_are_in_a_log_file(tmp_path):
    """An error of ours, here options that are missing, ends no worker, and its traceback is in the server's log."""
    code = (
        "from tests.app import test_limits as limits\n"
        "async def work(pool):\n"
        "    for _ in range(2):\n"
        "        try:\n"
        "            await pool.work('faces', {}, [limits.png(0)])\n"
        "        except limits.Problem as problem:\n"
        "            print(problem.kind, next(iter(pool._all))._process.pid)\n"
        "limits.with_pool(work)\n"
    )
    with (tmp_path / "log").open("w") as log:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, check=True)
    first, second = done.stdout.decode().splitlines()
    assert first == second
    assert first.startswith("crashed ")
    assert (tmp_path / "log").read_text().count("KeyError: 'attributes'") == 2


@linux_only
def test_what_a_worker_may_do():
    async def work(pool):
        (worker,) = pool._all
        lines = Path(f"/proc/{worker._process.pid}/limits").read_text().splitlines()
        found = {line[:26].strip(): line[26:].split()[0] for line in lines[1:]}
        return found["Max file size"], found["Max core file size"], found["Max address space"]

    file_size, core_size, space = with_pool(work)
    assert (file_size, core_size) == ("0", "0")
    assert 1 << 30 < int(space) < 4 << 30


def test_messages():
    data = b"".join(packed({"a": [1, "ä"]}, [b"", b"\x00\xff"]))
    assert read_message(io.BytesIO(data)) == ({"a": [1, "ä"]}, [b"", b"\x00\xff"])
    assert read_message(io.BytesIO(b"")) is None
    for wrong in (data[:3], data[:-1], b"\xff" * 40, b"\x00\x00\x00\x01" + b"\xff" * 8):
        with pytest.raises(FrameError):
            read_message(io.BytesIO(wrong))


@pytest.mark.parametrize("changes", [{"photo_bytes": 0}, {"waiting": -1}, {"work_seconds": 0}, {"photo_pixels": 1.5}])
def test_limits_that_cannot_be(changes):
    with pytest.raises((TypeError, ValueError), match=f"{next(iter(changes))}: expected"):
        Limits(**changes)
