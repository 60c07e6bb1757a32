"""``cascade detect`` where something is wrong: bad photos, nowhere to write, Ctrl-C."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import signal
import time
from pathlib import Path

import pytest

import cascade.cli
import cascade.detect
from cascade.cli import batch, console, main, results
from tests.cli.helpers import (
    SIZE,
    command,
    names,
    photo,
    posix_only,
    records,
    truncated,
)


def test_a_bad_file_among_good_ones(run, capsys, tmp_path):
    for name in "ac":
        photo(tmp_path / f"in/{name}.jpg")
    truncated(tmp_path / "in/b.jpg")
    (tmp_path / "in/d.jpg").write_bytes(b"")
    assert run("in", "--out", "out", "--draw") == console.SOME_FAILED
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("in/b.jpg: expected complete JPEG data, but it is cut short")
    assert lines[1].startswith("in/d.jpg: ")
    assert lines[2].startswith("2 of 4 photos, ")
    assert "2 problems" in lines[2]
    assert [r["path"] for r in records((tmp_path / "out/faces.jsonl").read_text())] == [
        "in/a.jpg",
        "in/c.jpg",
    ]
    assert names(tmp_path / "out") == ["a_faces.jpg", "c_faces.jpg", "faces.jsonl"]


@pytest.mark.parametrize(
    ("error", "words"), [(MemoryError(), "not enough memory"), (RuntimeError("odd"), "RuntimeError: odd")]
)
def test_one_photo_does_not_end_a_run(error, words, run, capsys, monkeypatch):
    tmp_path = Path.cwd()
    photo(tmp_path / "in/a.jpg")
    photo(tmp_path / "in/b.jpg", size=(30, 20))
    original = cascade.detect.Detector.detect

    def failing(self, image):
        if image.frame.width == SIZE[0]:
            raise error
        return original(self, image)

    monkeypatch.setattr(cascade.detect.Detector, "detect", failing)
    assert run("in") == console.SOME_FAILED
    out, err = capsys.readouterr()
    assert f"in/a.jpg: {words}\n" in err
    assert [r["path"] for r in records(out)] == ["in/b.jpg"]


def test_a_missing_path_among_good_ones(run, capsys, tmp_path):
    photo(tmp_path / "a.jpg")
    assert run("a.jpg", "b.jpg") == console.SOME_FAILED
    out, err = capsys.readouterr()
    assert len(records(out)) == 1
    assert "b.jpg: there is no such file or folder" in err


def test_a_broken_link_is_reported(run, capsys, tmp_path):
    photo(tmp_path / "in/a.jpg")
    (tmp_path / "in/b.jpg").symlink_to("nowhere")
    assert run("in") == console.SOME_FAILED
    assert "in/b.jpg: " in capsys.readouterr().err


def test_an_empty_folder(run, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run("empty", "--out", "out") == console.BAD_USAGE
    assert "no photos found in empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    photo(tmp_path / "a.jpg")
    assert run("empty", "a.jpg") == 0
    assert "empty: no photos in this folder" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read and write anywhere")
def test_folders_without_permission(run, capsys, tmp_path):
    for name in ("in/a.jpg", "in/closed/b.jpg"):
        photo(tmp_path / name)
    (tmp_path / "in/closed").chmod(0)
    (tmp_path / "read only").mkdir(mode=0o555)
    try:
        assert run("in") == console.SOME_FAILED
        assert "in/closed: Permission denied" in capsys.readouterr().err
        assert run("in/a.jpg", "--out", "read only") == console.BAD_USAGE
        assert "--out read only: cannot write there" in capsys.readouterr().err
    finally:
        (tmp_path / "in/closed").chmod(0o755)


@pytest.mark.parametrize("out", ["file", "file/below", ""])
def test_an_out_that_cannot_be_written(out, run, capsys, tmp_path, monkeypatch):
    photo(tmp_path / "a.jpg")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(cascade.detect.Detector, "detect", lambda self, image: pytest.fail("work was done"))
    assert run("a.jpg", "--out", out) == console.BAD_USAGE
    assert "--out" in capsys.readouterr().err
    assert names(tmp_path) == ["a.jpg", "file"]


def test_an_out_on_a_read_only_file_system(run, capsys, tmp_path, monkeypatch):
    def read_only(**options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    photo(tmp_path / "a.jpg")
    monkeypatch.setattr(console.tempfile, "TemporaryFile", read_only)
    assert run("a.jpg", "--out", "out") == console.BAD_USAGE
    assert "--out out: cannot write there: Read-only file system" in capsys.readouterr().err
    assert main(["detect", "--demo", "--out", "out"]) == console.BAD_USAGE


@pytest.mark.parametrize("kind", results.FORMATS)
def test_a_folder_where_the_results_should_go(kind, run, capsys, tmp_path):
    photo(tmp_path / "a.jpg")
    (tmp_path / f"out/faces.{kind}").mkdir(parents=True)
    assert run("a.jpg", "--out", "out", "--format", kind) == console.BAD_USAGE
    assert f"faces.{kind}" in capsys.readouterr().err
    assert names(tmp_path) == ["a.jpg"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("argv", [["--help"], ["detect"]])
def test_a_full_disk(argv, weights, tmp_path):
    if argv == ["detect"]:
        argv = ["detect", str(photo(tmp_path / "a.jpg")), "--weights", weights]
    with open("/dev/full", "w") as full:
        process = command(*argv, stdout=full)
        _, err = process.communicate()
    assert process.returncode == console.SOME_FAILED
    assert "cannot write to standard output" in err
    assert "Traceback" not in err


@posix_only
@pytest.mark.parametrize("kind", results.FORMATS)
def test_a_closed_pipe(kind, weights, tmp_path):
    for number in range(12):
        photo(tmp_path / f"in/{number}.jpg")
    process = command("detect", str(tmp_path / "in"), "--weights", weights, "--format", kind, bufsize=1)
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == console.BROKEN_PIPE
    assert err == ""


@posix_only
def test_help_into_a_closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    process = command("--help", stdout=writer)
    os.close(writer)
    assert process.communicate()[1] == ""
    assert process.returncode == console.BROKEN_PIPE


@posix_only
def test_ctrl_c(weights, tmp_path):
    first, waiting, out = photo(tmp_path / "a.jpg"), tmp_path / "b.jpg", tmp_path / "out"
    os.mkfifo(waiting)  # nobody writes to it, so that reading it lasts
    process = command(
        "detect",
        str(first),
        str(waiting),
        str(first.parent / "a.jpg"),
        "--weights",
        weights,
        "--out",
        str(out),
    )
    while process.poll() is None and not ((out / "faces.jsonl").exists() and (out / "faces.jsonl").read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == console.INTERRUPTED
    assert err.startswith("stopped: 1 of 2 photos, ")
    assert [r["path"] for r in records((out / "faces.jsonl").read_text())] == [str(first)]
    assert names(out) == ["faces.jsonl"]


@pytest.mark.parametrize("kind", results.FORMATS)
def test_ctrl_c_leaves_valid_files(kind, run, capsys, tmp_path, monkeypatch):
    for name in "abc":
        photo(tmp_path / f"in/{name}.jpg")
    original, calls = cascade.detect.Detector.detect, []

    def interrupted(self, image):
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, image)

    monkeypatch.setattr(cascade.detect.Detector, "detect", interrupted)
    assert run("in", "--out", "out", "--format", kind, "--no-progress") == console.INTERRUPTED
    assert "stopped: 2 of 3 photos" in capsys.readouterr().err
    text = (tmp_path / f"out/faces.{kind}").read_text()
    if kind == "csv":
        paths = {row["path"] for row in csv.DictReader(io.StringIO(text))}
    else:
        paths = {r["path"] for r in (json.loads(text) if kind == "json" else records(text))}
    assert paths == {"in/a.jpg", "in/b.jpg"}
    assert names(tmp_path / "out") == [f"faces.{kind}"]


def test_ctrl_c_before_the_work(run, capsys, tmp_path, monkeypatch):
    def pressed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "find_photos", pressed)
    assert run("in") == console.INTERRUPTED
    assert capsys.readouterr().err == "cascade: stopped\n"


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier")
    with contextlib.suppress(RuntimeError), results.replacing(path, "w") as stream:
        stream.write("half")
        raise RuntimeError
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["a.txt"]
