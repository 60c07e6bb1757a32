"""The next photo is read while the one before is worked on."""

from __future__ import annotations

import os
import threading

import pytest

from cascade.cli.batch import ReadAhead
from tests.cli.helpers import command, photo, posix_only, records

PHOTOS = ["a", "b", "c", "d"]


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


@pytest.mark.usefixtures("two_cores")
def test_each_photo_is_read_once_and_in_order() -> None:
    opened: list[str] = []
    read = ReadAhead(PHOTOS, lambda name: opened.append(name) or name.upper())
    assert [read(name) for name in PHOTOS] == ["A", "B", "C", "D"]
    assert opened == PHOTOS


@pytest.mark.usefixtures("two_cores")
def test_one_photo_is_read_during_the_work_on_another() -> None:
    reading, working = threading.Event(), threading.Event()

    def read(name: str) -> str:
        if name == "b":
            reading.set()
            assert working.wait(30)  # until the work on "a", which waits for this, goes on
        return name

    ahead = ReadAhead(PHOTOS, read)
    assert ahead("a") == "a"
    assert reading.wait(30)
    working.set()
    assert ahead("b") == "b"


@pytest.mark.usefixtures("two_cores")
def test_an_error_is_raised_when_its_photo_is_due() -> None:
    def read(name: str) -> str:
        if name in ("a", "c"):
            raise ValueError(name)
        return name

    ahead = ReadAhead(PHOTOS, read)
    for name in PHOTOS:
        if name in ("a", "c"):
            with pytest.raises(ValueError, match=name):
                ahead(name)
        else:
            assert ahead(name) == name


def test_one_processor_reads_nothing_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    opened: list[str] = []
    read = ReadAhead(PHOTOS, lambda name: opened.append(name) or name)
    assert read("a") == "a"
    assert opened == ["a"]


@posix_only
def test_a_pipe_that_never_ends_does_not_keep_the_program_from_ending(tmp_path) -> None:
    first, pipe, last = photo(tmp_path / "a.jpg"), tmp_path / "b.jpg", photo(tmp_path / "c.jpg")
    os.mkfifo(pipe)
    running = command("detect", str(first), str(pipe), str(last), "--no-progress")
    assert records(running.stdout.readline())[0]["path"] == str(first)
    running.send_signal(2)
    assert running.wait(60) == 130
    running.communicate()
