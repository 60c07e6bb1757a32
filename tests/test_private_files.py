"""Files that are private and never half written, and the lock between processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cascade.private_files import locked, replacing
from tests.cli.helpers import posix_only

HOLD = """
import sys, time
from pathlib import Path
from cascade.private_files import locked, replacing
with {call}:
    print("in", flush=True)
    time.sleep(60)
"""


def holding(call: str) -> subprocess.Popen[str]:
    """Another process that has entered ``call`` and stays there."""
    process = subprocess.Popen([sys.executable, "-c", HOLD.format(call=call)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    return process


def ended(process: subprocess.Popen[str], how: int) -> None:
    process.send_signal(how)
    process.communicate()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@posix_only
def test_a_file_is_private_before_its_first_byte(tmp_path):
    before = os.umask(0)
    try:
        with replacing(tmp_path / "a") as stream:
            [partial] = tmp_path.iterdir()
            assert mode(partial) == 0o600
            stream.write(b"new")
    finally:
        os.umask(before)
    assert names(tmp_path) == ["a"]
    assert mode(tmp_path / "a") == 0o600


@posix_only
@pytest.mark.parametrize("kept", [0o600, 0o640, 0o644, 0o660])
def test_the_mode_of_a_file_is_kept(tmp_path, kept):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(kept)
    with replacing(tmp_path / "a") as stream:
        stream.write(b"new")
    assert ((tmp_path / "a").read_text(), mode(tmp_path / "a")) == ("new", kept)


@posix_only
def test_what_is_always_private_gets_no_earlier_mode(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o644)
    with replacing(tmp_path / "a", always_private=True) as stream:
        stream.write(b"new")
    assert ((tmp_path / "a").read_text(), mode(tmp_path / "a")) == ("new", 0o600)


@posix_only
def test_the_target_of_a_link_is_replaced(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "link").symlink_to("deep/a")
    with replacing(tmp_path / "link") as stream:
        stream.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "deep/a").read_text() == "new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(tmp_path, error):
    (tmp_path / "a").write_text("old")

    def fail() -> None:
        with replacing(tmp_path / "a") as stream:
            stream.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@posix_only
def test_partial_files_of_killed_programs_are_deleted(tmp_path):
    process = holding(f"replacing(Path({str(tmp_path / 'b')!r}))")
    [partial] = tmp_path.iterdir()
    with replacing(tmp_path / "a"):
        pass
    assert names(tmp_path) == [partial.name, "a"]  # its program runs
    ended(process, signal.SIGKILL)
    assert names(tmp_path) == [partial.name, "a"]
    (tmp_path / ".cascade-x-1.partial").write_text("another's")
    with replacing(tmp_path / "a"):
        pass
    assert names(tmp_path) == [".cascade-x-1.partial", "a"]


@posix_only
def test_a_partial_file_that_is_in_use_stays_whatever_its_number_says(tmp_path):
    process = holding(f"replacing(Path({str(tmp_path / 'b')!r}))")
    [partial] = tmp_path.iterdir()
    moved = partial.rename(tmp_path / ".cascade-4294967-aa.partial")  # as from a container with numbers of its own
    with replacing(tmp_path / "a"):
        pass
    assert moved.exists()
    ended(process, signal.SIGKILL)


@posix_only
def test_a_lock_keeps_other_processes_out_until_its_owner_ends(tmp_path):
    for how in (signal.SIGKILL, signal.SIGTERM):
        process = holding(f"locked(Path({str(tmp_path / 'a')!r}))")
        with pytest.raises(TimeoutError, match="another program"), locked(tmp_path / "a", timeout=0.1):
            pytest.fail("two at once")
        with locked(tmp_path / "b", timeout=0.1):
            pass  # another file
        ended(process, how)
        with locked(tmp_path / "a", timeout=5):
            assert names(tmp_path) == [".a.lock"]
        assert names(tmp_path) == []


def test_a_lock_keeps_other_threads_out(tmp_path):
    inside, most = [], []

    def work() -> None:
        for _ in range(5):
            with locked(tmp_path / "a"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.002)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 30
    assert names(tmp_path) == []


def test_a_lock_goes_where_the_file_of_a_link_is(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "link").symlink_to("deep/a")
    with (
        locked(tmp_path / "link"),
        pytest.raises(TimeoutError),
        locked(tmp_path / "deep/a", timeout=0.1),
    ):
        pytest.fail("two at once")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="nowhere"), locked(tmp_path / "nowhere/a"):
        pass
    with pytest.raises(OSError, match="nowhere"), replacing(tmp_path / "nowhere/a"):
        pass
