"""The C core under the address and undefined-behaviour sanitizers, and under valgrind, through driver.c."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from build_driver import LEVELS, SANITIZE, ToolMissingError, build, run

from cascade import _native

# What valgrind can run: it knows no AVX-512.
SIMULATED = [level for level in LEVELS if not level.startswith("avx512")]


def driver_or_skip(folder: Path, extra: Sequence[str], levels: Sequence[str] = tuple(LEVELS)) -> Path:
    try:
        return build(folder, extra, levels)
    except ToolMissingError as missing:
        pytest.skip(str(missing))


def test_the_core_stays_within_its_memory_and_the_language(tmp_path: Path) -> None:
    driver = driver_or_skip(tmp_path, SANITIZE)
    assert run([str(driver)]).split() == _native.levels()


def test_a_seed_gives_other_cases(tmp_path: Path) -> None:
    """Also those of the longest number, and few of them on demand."""
    driver = driver_or_skip(tmp_path, [], ["scalar"])
    assert run([str(driver), str(2**64 - 1), "1"]).split() == ["scalar"]


@pytest.mark.slow
def test_valgrind_finds_nothing(tmp_path: Path) -> None:
    """No step outside a buffer, and no decision that hangs on a value that nobody wrote."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind is missing")
    driver = driver_or_skip(tmp_path, ["-DCASCADE_VALGRIND"], SIMULATED)
    found = run([valgrind, "--quiet", "--error-exitcode=9", "--leak-check=full", str(driver), "1", "5"])
    assert found.split() == [level for level in _native.levels() if level in SIMULATED]
