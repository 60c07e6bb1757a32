"""What the benchmarks' tests share: one command, its output as lines, and the reference data."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main

SHARED = Path(__file__).resolve().parents[3] / "shared"



def shared(path: str) -> Path:
    """Return a file or folder of the reference data, or skip the test."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"reference data not here: ../shared/{path}")
    return found


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], list[str]]:
    """Return the exit status of ``python -m benchmarks`` and the lines of its standard output and error."""
    try:
        status = main([str(each) for each in arguments])
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    said = capsys.readouterr()
    return status, said.out.splitlines(), said.err.splitlines()
