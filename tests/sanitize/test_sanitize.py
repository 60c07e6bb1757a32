"""The C core under the sanitizers and under valgrind: through driver.c, and threads.c for what threads share."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from cascade import _native
from tests.sanitize.build_driver import (
    SANITIZE,
    SANITIZE_THREADS,
    Core,
    ToolMissingError,
    build_core,
    check_warnings,
    run,
)

RUNNABLE = _native.simd_levels()
# valgrind knows neither AVX-512 nor AVX-VNNI
SIMULATED = [level for level in RUNNABLE if not level.startswith(("avx512", "avxvnni"))]


def core_or_skip(folder: Path, extra: Sequence[str], levels: Sequence[str] = RUNNABLE) -> Core:
    """The core with levels that this machine has: a sanitizer's build of one takes long, and the others cannot run."""
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


@pytest.mark.slow
def test_the_core_stays_within_its_memory_and_the_language(bounded: Core) -> None:
    assert run([str(bounded.driver("driver")), "1", "60"]).split() == RUNNABLE


@pytest.mark.slow
def test_threads_stay_within_their_memory(bounded: Core) -> None:
    """And leave it when a loop is over."""
    assert run([str(bounded.driver("threads")), "2", "40"]).split() == ["loops", *RUNNABLE]


@pytest.mark.slow
def test_threads_do_not_race(ordered: Core) -> None:
    assert run([str(ordered.driver("threads")), "2", "30"]).split() == ["loops", *RUNNABLE]


def test_levels_give_no_warnings(tmp_path: Path) -> None:
    """Nor do those that this machine lacks."""
    try:
        check_warnings(tmp_path)
    except ToolMissingError as missing:
        pytest.skip(str(missing))


def test_a_seed_gives_other_cases(tmp_path: Path) -> None:
    """Also the largest seed; and a share of the cases on demand."""
    core = core_or_skip(tmp_path, [], ["scalar"])
    assert run([str(core.driver("driver")), str(2**64 - 1), "1"]).split() == ["scalar"]
    assert run([str(core.driver("threads")), str(2**64 - 1), "1"]).split() == ["loops", "scalar"]


@pytest.mark.slow
def test_valgrind_finds_nothing(tmp_path: Path) -> None:
    """No access outside a buffer, and no branch on a value that was never written."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind is missing")
    core = core_or_skip(tmp_path, ["-DCASCADE_VALGRIND"], SIMULATED)
    # it runs one thread at a time, so spinning threads must yield to the others
    checked = [valgrind, "--quiet", "--error-exitcode=9", "--leak-check=full", "--fair-sched=try"]
    assert run([*checked, str(core.driver("driver")), "1", "3"]).split() == SIMULATED
    assert run([*checked, str(core.driver("threads")), "1", "2"]).split() == ["loops", *SIMULATED]
