"""``cascade gallery`` with encryption, notes, dates, export and forgetting."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from cascade import encryption
from cascade.cli import console, keys, main
from cascade.encryption import Cost
from cascade.gallery import Gallery, PersonRecord
from tests.cli.helpers import portrait_photo, posix_only
from tests.galleries import small

WORDS, OTHERS = "correct horse", "battery staple"


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch):
    monkeypatch.setattr(encryption, "COST", Cost(64, 1, 1))
    for name in (keys.PASSPHRASE, keys.NEW_PASSPHRASE, keys.KEY_FILE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small().save("g")
    return tmp_path


def test_an_encrypted_gallery_from_beginning_to_end(run_recognition, capsys, monkeypatch):
    portrait_photo("ann.jpg")
    monkeypatch.setenv(keys.PASSPHRASE, WORDS)
    assert run_recognition("gallery", "add", "g", "Ann", "ann.jpg", "--encrypt") == 0
    assert Path("g").read_bytes().startswith(encryption.MAGIC)
    assert run_recognition("gallery", "add", "g", "Bob", "ann.jpg") == 0
    assert run_recognition("gallery", "add", "g", "Zoë", "ann.jpg", "--encrypt") == 0
    capsys.readouterr()
    assert run_recognition("gallery", "identify", "g", "ann.jpg", "--top", "1") == 0
    assert capsys.readouterr().out.endswith("Ann (1.00)\n")
    assert main(["gallery", "list", "g"]) == 0
    out, err = capsys.readouterr()
    assert (out, err.endswith("; encrypted\n")) == ("Ann\t1\nBob\t1\nZoë\t1\n", True)
    assert main(["gallery", "remove", "g", "Zoë"]) == 0
    before = Path("g").read_bytes()
    monkeypatch.setenv(keys.PASSPHRASE, OTHERS)
    capsys.readouterr()
    for argv in (["list", "g"], ["remove", "g", "Ann"], ["purge", "g"], ["audit", "g"], ["export", "g", "Ann"]):
        assert main(["gallery", *argv]) == console.BAD_USAGE
        out, err = capsys.readouterr()
        assert (out, "the passphrase is wrong, or the file was changed" in err) == ("", True)
    assert run_recognition("gallery", "add", "g", "Eve", "ann.jpg") == console.BAD_USAGE
    assert Path("g").read_bytes() == before
    assert Gallery.load("g", passphrase=WORDS).names == ("Ann", "Bob")


def test_encrypting_changing_the_passphrase_and_decrypting(folder, capsys, monkeypatch):
    monkeypatch.setenv(keys.PASSPHRASE, WORDS)
    assert main(["gallery", "encrypt", "g"]) == 0
    assert main(["gallery", "encrypt", "g"]) == console.BAD_USAGE
    assert "is encrypted already; cascade gallery rekey" in capsys.readouterr().err
    monkeypatch.setenv(keys.NEW_PASSPHRASE, OTHERS)
    assert main(["gallery", "rekey", "g"]) == 0
    assert main(["gallery", "list", "g"]) == console.BAD_USAGE
    assert Gallery.load("g", passphrase=OTHERS).counts == small().counts
    assert main(["gallery", "new-key", "key"]) == 0
    monkeypatch.setenv(keys.PASSPHRASE, OTHERS)
    assert main(["gallery", "rekey", "g", "--new-key-file", "key"]) == 0
    capsys.readouterr()
    assert main(["gallery", "list", "g"]) == console.BAD_USAGE
    assert "is encrypted with a key; give --key-file FILE" in capsys.readouterr().err
    assert main(["gallery", "list", "g", "--key-file", "key"]) == 0
    monkeypatch.setenv(keys.KEY_FILE, "key")
    assert main(["gallery", "decrypt", "g"]) == 0
    assert Gallery.load("g").counts == small().counts
    assert main(["gallery", "decrypt", "g"]) == main(["gallery", "rekey", "g"]) == console.BAD_USAGE
    assert "g: is not encrypted" in capsys.readouterr().err
    assert main(["gallery", "encrypt", "g"]) == 0  # with the key that the environment names
    assert main(["gallery", "list", "g"]) == 0
    what = [line.what for line in Gallery.load("g", key=bytes.fromhex(Path("key").read_text())).audit[3:]]
    assert what == ["encrypt", "rekey", "rekey", "decrypt", "encrypt"]


def test_key_files(folder, capsys):
    assert main(["gallery", "new-key", "key"]) == 0
    text = Path("key").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}\n", text)
    if os.name == "posix":
        assert stat.S_IMODE(Path("key").stat().st_mode) == 0o600
    assert main(["gallery", "new-key", "key"]) == console.BAD_USAGE
    assert "key: the key cannot be written: File exists" in capsys.readouterr().err
    assert Path("key").read_text() == text
    Path("raw").write_bytes(bytes.fromhex(text))
    assert main(["gallery", "encrypt", "g", "--key-file", "raw"]) == 0
    assert main(["gallery", "list", "g", "--key-file", "key"]) == 0
    for content in (b"", bytes(31), b"g" * 64, b"a" * 63, b"a" * 300):
        Path("wrong").write_bytes(content)
        assert main(["gallery", "list", "g", "--key-file", "wrong"]) == console.BAD_USAGE
        assert "wrong: expected a key of 32 bytes or 64 hexadecimal digits" in capsys.readouterr().err
    assert main(["gallery", "list", "g", "--key-file", "none"]) == console.BAD_USAGE
    assert "none: the key cannot be read: No such file" in capsys.readouterr().err


def test_options_that_do_not_fit(run_recognition, folder, capsys, monkeypatch):
    portrait_photo("a.jpg")
    monkeypatch.setenv(keys.PASSPHRASE, WORDS)
    main(["gallery", "new-key", "key"])
    for argv, reason in (
        (["add", "g", "Ann", "a.jpg", "--encrypt"], "g: is not encrypted; cascade gallery encrypt encrypts it"),
        (["add", "new", "Ann", "a.jpg", "--key-file", "key"], "new: there is no such gallery; --encrypt creates"),
        (["add", "new", "Ann", "a.jpg", "--expires", "soon"], "--expires: expected a date such as 2027-01-31"),
        (["add", "new", "Ann", "a.jpg", "--expires", "2020-01-31"], "--expires: 2020-01-31 has passed"),
    ):
        assert run_recognition("gallery", *argv) == console.BAD_USAGE
        assert reason in capsys.readouterr().err
    assert run_recognition("gallery", "add", "plain", "Ann", "a.jpg") == 0
    assert "plain will not be encrypted, though there is a passphrase" in capsys.readouterr().err
    Path("plain").unlink()
    assert main(["gallery", "list", "g", "--key-file", "key"]) == console.BAD_USAGE
    assert "is not encrypted, though a passphrase or key was given" in capsys.readouterr().err
    monkeypatch.setenv(keys.PASSPHRASE, "short")
    assert main(["gallery", "encrypt", "g"]) == console.BAD_USAGE
    assert "at least 8 characters, got 5" in capsys.readouterr().err
    assert sorted(os.listdir(folder)) == ["a.jpg", "g", "key"]


def test_a_damaged_header_and_no_passphrase(folder, capsys, monkeypatch):
    with Gallery.changing("g") as gallery:
        gallery.encrypt(passphrase=WORDS)
    assert main(["gallery", "list", "g"]) == console.BAD_USAGE
    err = capsys.readouterr().err
    assert "the passphrase of g is needed, and there is no terminal to ask for it; set CASCADE_GALLERY" in err
    data = bytearray(Path("g").read_bytes())
    data[30] ^= 1
    Path("g").write_bytes(data)
    monkeypatch.setenv(keys.PASSPHRASE, WORDS)
    assert main(["gallery", "list", "g"]) == console.BAD_USAGE
    assert "g: its header is damaged" in capsys.readouterr().err


def test_the_package_is_named_where_it_is_missing(run_recognition, folder, capsys, monkeypatch):
    portrait_photo("a.jpg")
    with Gallery.changing("g") as gallery:
        gallery.encrypt(passphrase=WORDS)
    monkeypatch.setenv(keys.PASSPHRASE, WORDS)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert main(["gallery", "list", "g"]) == console.BAD_USAGE
    assert 'pip install "cascade-faces[encryption]"' in capsys.readouterr().err
    assert run_recognition("gallery", "add", "new", "Ann", "a.jpg", "--encrypt") == console.BAD_USAGE
    assert 'pip install "cascade-faces[encryption]"' in capsys.readouterr().err
    assert not Path("new").exists()


@posix_only
def test_the_passphrase_is_asked_for_without_showing_it(folder):
    """On a terminal, as a person types it: twice for a new one, and not shown."""
    done = on_terminal(["gallery", "encrypt", "g"], [WORDS, "another one"])
    assert "the two passphrases differ; nothing was done" in done
    assert Path("g").read_bytes().startswith(b"PK")
    done = on_terminal(["gallery", "encrypt", "g"], [WORDS, WORDS])
    assert "new passphrase of g: " in done and "the same again: " in done and "encrypted g" in done
    assert WORDS not in done
    done = on_terminal(["gallery", "list", "g"], [WORDS])
    assert "passphrase of g: " in done and "Zoë\t1" in done and WORDS not in done


def on_terminal(argv: list[str], answers: list[str]) -> str:
    """What ``cascade`` prints on a terminal on which that is typed, each after a colon."""
    import pty

    environment = {name: value for name, value in os.environ.items() if not name.startswith("CASCADE_GALLERY")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    main_end, its_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cascade", *argv],
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        env=environment,
        start_new_session=True,
        preexec_fn=_own_terminal,  # noqa: PLW1509 - only an ioctl
    )
    os.close(its_end)
    seen, left = b"", list(answers)
    try:
        while chunk := os.read(main_end, 1000):
            seen += chunk
            if left and seen.endswith(b": "):
                os.write(main_end, left.pop(0).encode() + b"\n")
    except OSError:  # the terminal is gone with the process
        pass
    process.wait()
    os.close(main_end)
    return seen.decode()


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


# --------------------------------------------------------------------------------------------------
# Notes, dates, export and forgetting


def test_notes_and_dates(run_recognition, capsys):
    portrait_photo("a.jpg")
    until = date.today() + timedelta(days=30)
    options = ["--note", "form 12", "--expires", str(until)]
    assert run_recognition("gallery", "add", "g", "Ann/Lee", "a.jpg", *options) == 0
    assert Gallery.load("g").record("Ann/Lee") == PersonRecord("form 12", until)
    capsys.readouterr()
    assert main(["gallery", "list", "g"]) == 0
    assert capsys.readouterr().out == f"Ann/Lee\t1\tuntil {until}\n"
    assert main(["gallery", "note", "g", "Ann/Lee", "--note", "form 13"]) == 0
    assert f"Ann/Lee: until {until}; form 13" in capsys.readouterr().err
    assert main(["gallery", "note", "g", "Ann/Lee", "--expires", "never"]) == 0
    assert Gallery.load("g").record("Ann/Lee") == PersonRecord("form 13")
    for argv, reason in (
        (["Eve", "--note", "form"], "g: there is no 'Eve'"),
        (["Ann/Lee"], "give --note, --expires or both"),
        (["Ann/Lee", "--note", "a\x1bb"], "control characters"),
        (["Ann/Lee", "--expires", "31.1.2027"], "--expires: expected a date"),
    ):
        assert main(["gallery", "note", "g", *argv]) == console.BAD_USAGE
        assert reason in capsys.readouterr().err


def test_expired_people_are_not_matched_and_it_says_so(run_recognition, capsys):
    portrait_photo("a.jpg")
    for name in ("Ann", "Bob"):
        assert run_recognition("gallery", "add", "g", name, "a.jpg") == 0
    with Gallery.changing("g") as gallery:
        gallery.set_record("Ann", PersonRecord(expires=date(2020, 1, 31)))
    capsys.readouterr()
    assert run_recognition("gallery", "identify", "g", "a.jpg") == 0
    out, err = capsys.readouterr()
    assert out.endswith("): Bob (1.00)\n")
    assert "1 expired and not matched: Ann; cascade gallery purge removes them" in err
    assert main(["gallery", "list", "g"]) == 0
    out, err = capsys.readouterr()
    assert out == "Ann\t1\texpired 2020-01-31\nBob\t1\n"
    assert "1 expired" in err
    assert main(["gallery", "purge", "g"]) == 0
    assert "forgot Ann; 1 left" in capsys.readouterr().err
    assert main(["gallery", "purge", "g"]) == 0
    assert "forgot nobody; 1 left" in capsys.readouterr().err
    assert b"Ann" not in Path("g").read_bytes()


def test_requests_of_people(folder, capsys):
    assert main(["gallery", "export", "g", "Ann"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], len(found["embeddings"])) == ("Ann", 2)
    assert main(["gallery", "export", "g", "Ann", "--out", "ann.json"]) == 0
    assert json.loads(Path("ann.json").read_text()) == found
    if os.name == "posix":
        assert stat.S_IMODE(Path("ann.json").stat().st_mode) == 0o600
    for out in ("ann.json", "g"):
        before = Path(out).read_bytes()
        assert main(["gallery", "export", "g", "Ann", "--out", out]) == console.BAD_USAGE
        assert "there is such a file already" in capsys.readouterr().err
        assert Path(out).read_bytes() == before
    assert main(["gallery", "export", "g", "Eve"]) == console.BAD_USAGE
    assert "g: there is no 'Eve'" in capsys.readouterr().err
    assert main(["gallery", "export", "g", "Ann", "--out", "none/ann.json"]) != 0
    assert "cannot write none/ann.json: No such file" in capsys.readouterr().err
    assert main(["gallery", "forget", "g", "Ann", "Eve"]) == console.BAD_USAGE
    assert main(["gallery", "forget", "g"]) == console.BAD_USAGE
    assert Gallery.load("g").counts == small().counts
    assert main(["gallery", "forget", "g", "Ann"]) == 0
    capsys.readouterr()
    assert main(["gallery", "audit", "g"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["what"], line.get("person")) for line in lines] == [
        ("add", None),
        ("add", "Bob"),
        ("add", "Zoë"),
        ("forget", None),
    ]


def test_galleries_that_are_not_there(folder, capsys):
    rest = {"note": ["Ann", "--note", "x"], "forget": ["Ann"], "export": ["Ann"]}
    for action in ("note", "purge", "forget", "export", "audit", "encrypt", "rekey", "decrypt"):
        assert main(["gallery", action, "none", *rest.get(action, [])]) == console.BAD_USAGE
        assert "none: there is no such gallery" in capsys.readouterr().err
    assert os.listdir(folder) == ["g"]
