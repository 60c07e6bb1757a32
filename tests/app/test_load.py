"""Many clients at once, some with bad files: every answer is right, nothing crashes, memory stays flat.

CASCADE_LOAD_SECONDS sets how long it takes, 20 seconds by default.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.app.helpers import Running, photo, png, running_server
from tests.app.test_limits import bomb
from tests.photos import PORTRAIT

httpx2 = pytest.importorskip("httpx2")

CLIENTS = 50
SECONDS = float(os.environ.get("CASCADE_LOAD_SECONDS", "20"))
GROWTH = 100 << 20
"""Bytes that all processes together may grow by from the first quarter of the time to the end."""

KINDS = {
    "one": (PORTRAIT.read_bytes(), 200, lambda told: len(told["faces"]) == 1 and told["faces"][0]["smile"] == "yes"),
    "two": (png(2), 200, lambda told: len(told["faces"]) == 2),
    "none": (png(0), 200, lambda told: told["faces"] == []),
    "text": (b"this is no photo", 422, lambda told: told["kind"] == "photo"),
    "empty": (b"", 422, lambda told: told["kind"] == "photo"),
    "cut": (PORTRAIT.read_bytes()[:-2000], 422, lambda told: told["kind"] == "photo"),
    "bomb": (bomb(30_000), 413, lambda told: told["kind"] == "too large"),
    "large": (bytes(33 << 20), 413, lambda told: told["kind"] == "too large"),
}
"""What is sent, and which answer is right."""


class Client(threading.Thread):
    """Sends one photo after the other until it is told to stop."""

    def __init__(self, number: int, address: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._number, self._address, self._ended = number, address, stop
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self) -> None:
        names = list(KINDS)
        at = self._number
        with httpx2.Client(timeout=120) as session:
            while not self._ended.is_set():
                at += 1
                name = names[at % len(names)]
                if name == "large" and self._number % 10:
                    continue
                self._send(session, name)

    def _send(self, session, name: str) -> None:
        data, status, is_right = KINDS[name]
        try:
            answer = session.post(f"{self._address}api/faces", files=photo(data), params={"landmarks": True})
        except httpx2.HTTPError as error:
            self.wrong.append(f"{name}: {error!r}")
            return
        if answer.status_code == 503 and answer.json()["kind"] == "busy":
            self.counts["busy"] += 1
            self._ended.wait(0.2 * float(answer.headers["retry-after"]))
        elif answer.status_code == status and is_right(answer.json()):
            self.counts[name] += 1
        else:
            self.wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")


def memory(running: Running) -> int:
    """Resident bytes of the server and its workers."""
    total = 0
    for process in (running.process.pid, *running.workers()):
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        total += pages * os.sysconf("SC_PAGESIZE")
    return total


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_fifty_clients_at_once():
    with running_server("--workers", "2") as running:
        workers = running.workers()
        stop = threading.Event()
        clients = [Client(number, running.address, stop) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        sizes = []
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(0.25)
            sizes.append(memory(running))
        stop.set()
        for client in clients:
            client.join(timeout=120)
            assert not client.is_alive()
        after = httpx2.post(f"{running.address}api/faces", files=photo(), timeout=60)
        assert len(after.json()["faces"]) == 1
        assert httpx2.get(f"{running.address}api/about").json()["waiting"] == 0
        assert running.workers() == workers  # none had to be replaced
        time.sleep(1)
        settled = memory(running)
    counts = sum((client.counts for client in clients), Counter())
    quarter = sizes[: max(1, len(sizes) // 4)]
    figures = [f"{size / 2**20:.0f}" for size in (max(quarter), max(sizes), settled)]
    print(f"\n{SECONDS:g} s: {dict(counts)}; MB at most in the first quarter, at most at all, at the end: {figures}")
    assert [line for client in clients for line in client.wrong] == []
    assert all(counts[name] for name in KINDS)
    assert max(sizes) < max(quarter) + GROWTH
    assert settled < max(quarter) + GROWTH
