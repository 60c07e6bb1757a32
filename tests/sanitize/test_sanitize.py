"""The C core under the sanitizers and under valgrind: through driver.c, and threads.c for what threads do together."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from cascade import _native
from tests.sanitize.build_driver import LEVELS, SANITIZE, SANITIZE_THREADS, Core, ToolMissingError, build_core, run

# What valgrind can run: it knows no AVX-512.
SIMULATED = [level for level in LEVELS if not level.startswith("avx512")]


def core_or_skip(folder: Path, extra: Sequence[str], levels: Sequence[str] = tuple(LEVELS)) -> Core:
    try:
        return build_core(folder, extra, levels)
    except ToolMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Core:
    """The core under the address and undefined-behaviour sanitizers: building it takes as long as running it."""
    return core_or_skip(tmp_path_factory.mktemp("bounded"), SANITIZE)


@pytest.fixture(scope="module")
def ordered(tmp_path_factory: pytest.TempPathFactory) -> Core:
    """The core under the thread sanitizer."""
    return core_or_skip(tmp_path_factory.mktemp("ordered"), SANITIZE_THREADS)


def test_the_core_stays_within_its_memory_and_the_language(bounded: Core) -> None:
    assert run([str(bounded.driver("driver"))]).split() == _native.simd_levels()


def test_threads_stay_within_their_memory(bounded: Core) -> None:
    """And leave it when a list is over."""
    assert run([str(bounded.driver("threads")), "1", "10"]).split() == ["lists", *_native.simd_levels()]


@pytest.mark.slow
def test_threads_stay_within_their_memory_for_long(bounded: Core) -> None:
    assert run([str(bounded.driver("threads")), "2"]).split() == ["lists", *_native.simd_levels()]


def test_threads_touch_nothing_in_no_order(ordered: Core) -> None:
    assert run([str(ordered.driver("threads")), "1", "10"]).split() == ["lists", *_native.simd_levels()]


@pytest.mark.slow
def test_threads_touch_nothing_in_no_order_for_long(ordered: Core) -> None:
    assert run([str(ordered.driver("threads")), "2", "60"]).split() == ["lists", *_native.simd_levels()]


def test_a_seed_gives_other_cases(tmp_path: Path) -> None:
    """Also those of the longest number, and few of them on demand."""
    core = core_or_skip(tmp_path, [], ["scalar"])
    assert run([str(core.driver("driver")), str(2**64 - 1), "1"]).split() == ["scalar"]
    assert run([str(core.driver("threads")), str(2**64 - 1), "1"]).split() == ["lists", "scalar"]


@pytest.mark.slow
def test_valgrind_finds_nothing(tmp_path: Path) -> None:
    """No step outside a buffer, and no decision that hangs on a value that nobody wrote."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind is missing")
    core = core_or_skip(tmp_path, ["-DCASCADE_VALGRIND"], SIMULATED)
    # it runs one thread at a time: those that wait awake must give way to the others
    checked = [valgrind, "--quiet", "--error-exitcode=9", "--leak-check=full", "--fair-sched=try"]
    levels = [level for level in _native.simd_levels() if level in SIMULATED]
    assert run([*checked, str(core.driver("driver")), "1", "5"]).split() == levels
    assert run([*checked, str(core.driver("threads")), "1", "2"]).split() == ["lists", *levels]
