"""How ``python -m eval``, ``train`` and ``benchmarks`` end where a package is missing, and on Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORKERS = """
import sys, time
from concurrent.futures import ProcessPoolExecutor
from cascade.cli.clone import run_clone

def main():
    with ProcessPoolExecutor(2) as pool:
        pool.submit(print, "here", flush=True).result()
        list(pool.map(time.sleep, [300] * 4))

sys.exit(run_clone("workers", "train", lambda: main))
"""

CLONE = Path(__file__).parents[2]

posix_only = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs signals and named pipes")


def start(folder: Path, program: str, *arguments: str) -> subprocess.Popen[str]:
    """The program in a process of its own, which finds the modules in a folder before those that are installed."""
    path = os.pathsep.join([str(folder), str(CLONE)])
    return subprocess.Popen(
        [sys.executable, "-m", program, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("program", "package", "group"),
    [
        ("eval", "scipy", "eval"),
        ("eval", "matplotlib", "eval"),
        ("benchmarks", "cv2", "eval"),
        ("train", "torch", "train"),
    ],
)
def test_a_missing_package_is_told_in_one_line(tmp_path: Path, program: str, package: str, group: str) -> None:
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('none here', name={package!r})")
    process = start(tmp_path, program, "--help")
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, "")
    needed = f"this needs the package {package}: pip install -e . --group {group}"
    assert err == f"python -m {program}: error: {needed}\n"


@posix_only
@pytest.mark.parametrize("program", ["eval", "train", "benchmarks"])
def test_ctrl_c_during_the_imports(tmp_path: Path, program: str) -> None:
    (tmp_path / "cv2.py").write_text("import time; print('here', flush=True); time.sleep(300)")
    process = start(tmp_path, program, "--help")
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", f"python -m {program}: stopped\n")
    assert process.returncode == 130


@posix_only
def test_ctrl_c_ends_worker_processes_without_a_word() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKERS],
        env={**os.environ, "PYTHONPATH": str(CLONE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.communicate(timeout=60) == ("", "python -m workers: stopped\n")
    assert process.returncode == 130


@posix_only
def test_ctrl_c_during_the_work(tmp_path: Path) -> None:
    pipe = tmp_path / "data.toml"  # it never ends, so neither does reading it
    os.mkfifo(pipe)
    given = ["--stage", "pnet", "--data", str(pipe), "--root", str(tmp_path), "--out", str(tmp_path / "out")]
    process = start(tmp_path, "train", "samples", *given)
    while process.poll() is None:
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:  # nobody reads yet
            time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "python -m train: stopped\n")
    assert process.returncode == 130
    os.close(writer)
