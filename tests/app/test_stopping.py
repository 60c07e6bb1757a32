"""``cascade app`` in a process of its own: what it prints, and what it leaves behind when it is stopped."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cascade import encryption
from cascade.cli import console, keys, main
from cascade.cli.app import TOKEN_VARIABLE, is_loopback
from tests.app.helpers import photo, running_server
from tests.galleries import small

httpx2 = pytest.importorskip("httpx2")
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX")
LOKY = re.compile(r"^sem\.loky-(\d+)-")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def gone(process: int) -> bool:
    """Whether a process has ended, within two seconds."""
    for _ in range(100):
        if not Path(f"/proc/{process}").exists() or "\nState:\tZ" in Path(f"/proc/{process}/status").read_text():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@linux_only
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, console.INTERRUPTED), (signal.SIGTERM, -15), (signal.SIGKILL, -9)]
)
def test_nothing_is_left(number, status, tmp_path):
    """Also while photos are worked on, and after SIGKILL, which no program can answer."""
    folder, temporary = tmp_path / "folder", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    before = shared_memory()
    with running_server(folder=folder, temporary=str(temporary)) as running:
        workers = running.workers()
        assert workers
        address = f"{running.address}api/"
        assert httpx2.post(f"{address}people", files=photo(), params={"name": "Ann"}, timeout=60).status_code == 201
        assert list(temporary.iterdir()) == list(folder.iterdir()) == []
        body = b"--a\r\nContent-Disposition: form-data; name=photo; filename=x\r\n\r\n"
        with socket.create_connection(("127.0.0.1", int(running.address.split(":")[2].strip("/")))) as unfinished:
            head = "POST /api/faces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n"
            unfinished.sendall(f"{head}Content-Type: multipart/form-data; boundary=a\r\n\r\n".encode() + body)
            assert running.stop(number) == status
        assert all(gone(worker) for worker in workers)
        assert "Traceback" not in running.process.stderr.read()
    assert list(temporary.iterdir()) == list(folder.iterdir()) == []
    assert only_this_is_left(before)


def shared_memory() -> set[str]:
    """What is in shared memory, but for what joblib has there in other processes, which come and go meanwhile."""
    folder = Path("/dev/shm")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names if not any(Path("/proc", process).exists() for process in LOKY.findall(name))}


def only_this_is_left(before: set[str]) -> bool:
    """Whether nothing more than this is in shared memory, within two seconds."""
    for _ in range(100):
        if shared_memory() <= before:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@posix_only
def test_a_token_is_required_of_other_machines():
    with running_server("--host", "0.0.0.0", "--workers", "1") as running:
        port = running.address.split(":")[2].partition("/")[0]
        token = running.address.partition("#token=")[2]
        assert len(token) == 32
        about = f"http://127.0.0.1:{port}/api/about"
        assert httpx2.get(about).status_code == 401
        assert httpx2.get(about, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        described = httpx2.get(
            f"http://127.0.0.1:{port}/openapi.json", headers={"Authorization": f"Bearer {token}"}
        ).json()
        assert described["security"] == [{"token": []}]
        running.stop()
        assert "not encrypted" in running.process.stderr.read()


def test_an_address_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["app", "--port", str(taken.getsockname()[1])]) == console.BAD_USAGE
    assert "--port 0 takes any free port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--port", "70000"], "--port: expected 0 to 65535"),
        (["--host", "no such host.invalid"], "cannot listen at"),
        (["--token", "short"], "--token: expected at least 16 characters"),
        (["--workers", "0"], "--workers: expected"),
        (["--min-face", "5"], "--min-face: expected 12 to 1000"),
        (["--port", "0", "--gallery", "."], "gallery cannot be read"),
    ],
)
def test_wrong_options(options, reason, capsys):
    assert main(["app", *options]) == console.BAD_USAGE
    assert reason in capsys.readouterr().err


def test_a_gallery_that_is_none(tmp_path, capsys):
    (tmp_path / "text.gallery").write_text("no gallery")
    assert main(["app", "--port", "0", "--gallery", str(tmp_path / "text.gallery")]) == console.BAD_USAGE
    assert "not a gallery" in capsys.readouterr().err
    assert (tmp_path / "text.gallery").read_text() == "no gallery"


@pytest.fixture
def crew(tmp_path, monkeypatch) -> str:
    """An encrypted gallery of which the passphrase is not in the environment."""
    monkeypatch.setattr(encryption, "COST", encryption.Cost(64, 1, 1))
    for name in (keys.PASSPHRASE, keys.KEY_FILE):
        monkeypatch.delenv(name, raising=False)
    gallery = small()
    gallery.encrypt(passphrase="correct horse")
    gallery.save(tmp_path / "crew.gallery")
    return str(tmp_path / "crew.gallery")


def settings_of(*options: str):
    from cascade.cli import _parser
    from cascade.cli.app import make_settings

    return make_settings(_parser().parse_args(["app", *options]))[0]


def test_the_passphrase_of_a_gallery(crew, monkeypatch, capsys):
    assert main(["app", "--gallery", crew]) == console.BAD_USAGE
    assert f"set {keys.PASSPHRASE}" in capsys.readouterr().err
    monkeypatch.setenv(keys.PASSPHRASE, "battery staple")
    assert main(["app", "--port", "0", "--gallery", crew]) == console.BAD_USAGE
    assert "the passphrase is wrong, or the file was changed" in capsys.readouterr().err
    monkeypatch.setenv(keys.PASSPHRASE, "correct horse")
    settings = settings_of("--gallery", crew)
    assert settings.passphrase == "correct horse"
    assert "correct horse" not in repr(settings)
    monkeypatch.delenv(keys.PASSPHRASE)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda question: "correct horse")
    assert settings_of("--gallery", crew) == settings


def test_the_key_file_of_a_gallery(crew, tmp_path, capsys):
    (tmp_path / "key").write_bytes(bytes(range(32)))
    options = ["--gallery", str(tmp_path / "new.gallery"), "--key-file", str(tmp_path / "key")]
    assert settings_of(*options, "--encrypt").key == bytes(range(32))
    for wrong, reason in (
        (options, "there is no such gallery; --encrypt creates one"),
        (options[2:], "--encrypt and --key-file are for --gallery"),
        (["--gallery", crew, *options[2:], "--port", "0"], "it is encrypted with a passphrase, got a key"),
    ):
        assert main(["app", *wrong]) == console.BAD_USAGE
        assert reason in capsys.readouterr().err


@pytest.mark.slow
@linux_only
def test_workers_are_not_told_passphrases(monkeypatch):
    monkeypatch.setenv(keys.PASSPHRASE, "correct horse")
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token-of-the-environment")
    with running_server("--workers", "1") as running:
        (worker,) = running.workers()
        environment = Path(f"/proc/{worker}/environ").read_bytes()
    assert b"PYTHONPATH" in environment
    assert b"correct horse" not in environment
    assert b"a-token-of" not in environment


def test_the_extra_is_named_where_it_is_missing():
    code = (
        "import sys\n"
        "sys.modules['fastapi'] = None\n"
        "from cascade.cli import main\n"
        "sys.exit(main(['app']))"
    )  # fmt: skip
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == console.BAD_USAGE
    assert "cascade app needs the extra [app]" in done.stderr


def test_the_token_of_the_environment(monkeypatch):
    from cascade.cli import _parser
    from cascade.cli.app import make_settings

    monkeypatch.setenv(TOKEN_VARIABLE, "a-token-of-the-environment")
    settings, is_made = make_settings(_parser().parse_args(["app"]))
    assert (settings.token, is_made) == ("a-token-of-the-environment", False)
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert make_settings(_parser().parse_args(["app"]))[0].token is None
    settings, is_made = make_settings(_parser().parse_args(["app", "--host", "0.0.0.0"]))
    assert is_made
    assert settings.any_address


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback(host, expected):
    assert is_loopback(host) is expected
