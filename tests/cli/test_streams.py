"""Standard output holds results only, and what cannot be written there ends the command in one line."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cascade.cli import console, main
from tests.cli.helpers import command, photo, posix_only
from tests.photos import PORTRAIT

SMALL = ["detect", str(PORTRAIT), "--min-face", "60", "--threads", "1"]
COMMANDS = {
    "help": ["--help"],
    "help of a command": ["detect", "--help"],
    "version": ["--version"],
    "models": ["models"],
    "detect": SMALL,
    "json": [*SMALL, "--format", "json"],
    "csv": [*SMALL, "--format", "csv"],
    "demo": ["detect", "--demo", "--min-face", "60"],
    "verify": ["verify", str(PORTRAIT), str(PORTRAIT), "--min-face", "60"],
}


def shell(redirections: str, argv: list[str], *, unbuffered: bool = False, **options: object):
    """Run ``python -m cascade`` from a shell, which closes and redirects as it is told."""
    python = [sys.executable, *(["-u"] if unbuffered else []), "-m", "cascade", *argv]
    line = ["sh", "-c", f'exec "$@" {redirections}', "sh", *python]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(line, capture_output=True, text=True, check=False, env=environment, timeout=120, **options)


@posix_only
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("name", "unbuffered"),
    [*((name, False) for name in COMMANDS), *((name, True) for name in ("help", "version", "csv", "verify"))],
)
def test_a_full_disk(name, unbuffered, tmp_path):
    """Which is noticed at the end, or at the first line if nothing is buffered."""
    done = shell("> /dev/full", COMMANDS[name], unbuffered=unbuffered, cwd=tmp_path)
    # verify's 1 means different people
    assert done.returncode == (console.BAD_USAGE if name == "verify" else console.SOME_FAILED)
    assert done.stderr.splitlines()[-1] == "cascade: cannot write to standard output: No space left on device"
    assert "Traceback" not in done.stderr


@posix_only
@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_standard_output(name, tmp_path):
    done = shell(">&-", COMMANDS[name], cwd=tmp_path)
    early = name in ("detect", "json", "csv", "verify")
    assert done.returncode == (console.BAD_USAGE if early else console.SOME_FAILED)
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("cascade: ")
    assert "closed" in done.stderr


@posix_only
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_messages_that_cannot_be_written_do_not_get_into_the_results(kind, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    paths = ["nowhere.jpg", str(bad), str(PORTRAIT)]
    argv = ["detect", *paths, "--min-face", "60", "--format", kind]
    heard = shell("", argv, cwd=tmp_path)
    assert len(heard.stderr.splitlines()) == 3
    assert heard.returncode == console.SOME_FAILED
    for redirection in ("2>&-", "2> /dev/full"):
        unheard = shell(redirection, argv, cwd=tmp_path)
        assert (unheard.returncode, unheard.stdout) == (heard.returncode, heard.stdout), redirection


@posix_only
def test_files_do_not_take_the_places_of_closed_streams(tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(PORTRAIT.read_bytes()[:20000])  # about which decoders print messages
    argv = ["detect", str(bad), str(PORTRAIT), "--out", "out", "--min-face", "60"]
    done = shell("<&- >&- 2>&-", argv, cwd=tmp_path)
    assert done.returncode in (0, console.SOME_FAILED)
    lines = (tmp_path / "out/faces.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["path"] == str(PORTRAIT)


@posix_only
def test_wrong_options_with_a_closed_standard_error():
    done = shell("2>&-", ["detect", "--frobnicate"])
    assert (done.returncode, done.stdout) == (console.BAD_USAGE, "")


def test_the_streams_are_given_back(capsys):
    before = sys.stdout, sys.stderr
    assert main(["--version"]) == 0
    assert main(["frobnicate"]) == console.BAD_USAGE
    assert (sys.stdout, sys.stderr) == before


@posix_only
@pytest.mark.slow
def test_ctrl_c_at_any_time(tmp_path):
    """From the moment that Python has started: what it prints until then is its own."""
    started = "import sys; print('started', flush=True); import runpy; runpy.run_module('cascade', run_name='__main__')"
    interrupted = 0
    for step in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", started, *SMALL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "started\n"
        time.sleep(0.04 + 0.03 * step)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        assert process.returncode in (0, console.INTERRUPTED)
        if process.returncode == console.INTERRUPTED:
            interrupted += 1
            assert len(err.splitlines()) == 1
            assert "stopped" in err
    assert interrupted > 3


def test_importing_the_command_needs_nothing_heavy():
    """So there is hardly a moment at which Ctrl-C finds Python still importing."""
    code = "import cascade.__main__, cascade.cli, sys; assert not {'numpy', 'PIL', 'cv2', 'tqdm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --------------------------------------------------------------------------------------------------
# What is printed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@posix_only
def test_escape_sequences_in_names_do_not_reach_the_terminal(run, tmp_path, monkeypatch):
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\nx.jpg"
    photo(tmp_path / "in" / evil)
    (tmp_path / "in" / f"bad{evil}").write_bytes(b"no photo")
    for kind in ("jsonl", "csv"):
        out, err = Terminal(), Terminal()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        run("in", f"no{evil}", "--format", kind)
        run("in", f"--no{evil}")
        for text in (out.getvalue(), err.getvalue()):
            assert not any(character in text for character in "\x1b\x07\x9b\u202e")
        assert r"bad\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\nx.jpg: expected" in err.getvalue()
        assert r"no\x1b]0;owned\x07" in err.getvalue()


@posix_only
def test_escape_sequences_do_not_reach_logs_but_results_are_as_they_are(run, capsys, tmp_path):
    evil = "\x1b[2J.jpg"
    photo(tmp_path / "in" / evil)
    (tmp_path / "in" / f"bad{evil}").write_bytes(b"no photo")
    assert run("in", "--format", "csv") == console.SOME_FAILED
    out, err = capsys.readouterr()
    assert f"in/{evil},1," in out
    assert "\x1b" not in err


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0.jpg", "+1.jpg", "-1.jpg", "@SUM(A1).jpg", "\t=1.jpg", "\r=1.jpg"])
def test_names_are_no_formulas_in_csv(name, run, capsys, tmp_path):
    if os.name != "posix":
        name = name.translate({ord(character): None for character in "|\t\r"})
    photo(tmp_path / name)
    assert run("--format", "csv", "./" + name) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(("./", '"./'))
    monkey = Path(name)
    assert run("--format", "csv", "--out", "out", *(["--"] if name.startswith("-") else []), monkey) == 0
    import csv

    with (tmp_path / "out/faces.csv").open(newline="") as file:
        paths = {row["path"] for row in csv.DictReader(file)}
    assert paths == {f"'{name}"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("A" * 343_616, "343,616 characters"),
        ("https://example.org/photo.jpg", "addresses are not fetched"),
        ("~/photo.jpg", "~"),
        ("no\nfile", r"no\nfile: there is no such file or folder"),
    ],
)
def test_messages_are_short_and_say_what_to_do(path, words, run, capsys):
    assert run(path) == console.BAD_USAGE
    err = capsys.readouterr().err
    assert words in err
    assert all(len(line) <= 300 for line in err.splitlines())


def test_a_warning_about_a_photo_is_one_line(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(PORTRAIT.read_bytes()[:-2])
    process = command("detect", str(path), "--min-face", "60")
    out, err = process.communicate()
    assert process.returncode == 0
    assert len(json.loads(out)["faces"]) == 1
    first, last = err.splitlines()
    assert first.startswith("warning: ")
    assert str(path) in first
    assert ".py" not in first
    assert last == "1 photo, 1 face"


def test_errors_of_options_are_short(capsys):
    for argv in (["detect", "--" + "x" * 5000], ["y" * 5000], ["detect", "a", "--format", "z" * 5000]):
        assert main(argv) == console.BAD_USAGE
        message = capsys.readouterr().err.partition("error: ")[2]
        assert 0 < len(message) <= 301
        assert "…" in message


def test_what_is_said_of_a_long_name_stays():
    message = f"{'a' * 400}.jpg: cannot be read: it is a folder of {'b' * 400}"
    short = console.brief(message)
    assert len(short) <= 300
    assert ": cannot be read: it is a folder of " in short
    assert console.brief("x" * 300) == "x" * 300
    assert len(console.brief("word " * 500)) <= 300
    assert len(console.brief("\x1b" * 10_000)) <= 300
