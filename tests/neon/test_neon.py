"""The NEON levels against the scalar level, through driver.c: under qemu, or directly on 64-bit ARM."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("run.sh")
TOOL_MISSING = 77


@pytest.mark.slow
def test_neon_agrees_with_scalar() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is missing")
    done = subprocess.run([bash, str(SCRIPT)], capture_output=True, text=True, check=False, timeout=500)
    if done.returncode == TOOL_MISSING:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-6000:]}"
    # the last part of every level ran: the driver did not end early
    lines = done.stdout.splitlines()
    levels = [line.split()[1] for line in lines if line.startswith("level")]
    assert "neon" in levels
    assert sum(line.startswith("nms") for line in lines) == len(levels), done.stdout
