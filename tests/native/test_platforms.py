"""The C core on other platforms, through the sanitizers' drivers: Windows by MinGW and Wine, Linux with musl."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cascade import _native
from tests.sanitize.build_driver import Core, ToolMissingError, build_core, run

# GCC for Windows aligns the stack to 16 bytes (its bug 54412), so vectors there must be moved as if unaligned.
# The wheels for Windows are built by clang-cl.
MINGW_FLAGS = ["-static", "-D__USE_MINGW_ANSI_STDIO=1", "-Wa,-muse-unaligned-vector-move"]
MINGW = ("x86_64-w64-mingw32-gcc", MINGW_FLAGS, "wine")
MUSL = ("musl-gcc", ["-static"], "")
LEVELS = _native.simd_levels()


@pytest.fixture(scope="module", params=[MINGW, MUSL], ids=["windows", "musl"])
def foreign(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Core, list[str]]]:
    compiler, flags, emulator = request.param
    folder = tmp_path_factory.mktemp("core")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WINEPREFIX", str(tmp_path_factory.getbasetemp() / "wine"))
        environment.setenv("WINEDEBUG", "-all")
        try:
            core = build_core(folder, flags, LEVELS, compiler, emulator)
        except ToolMissingError as missing:
            pytest.skip(str(missing))
        yield core, [emulator] if emulator else []


@pytest.mark.slow
def test_the_core_gives_what_the_scalar_level_gives(foreign: tuple[Core, list[str]]) -> None:
    core, emulator = foreign
    assert run([*emulator, str(core.driver("driver")), "1", "10"]).split() == LEVELS


@pytest.mark.slow
def test_threads_share_loops(foreign: tuple[Core, list[str]]) -> None:
    core, emulator = foreign
    assert run([*emulator, str(core.driver("threads")), "1", "5"]).split() == ["loops", *LEVELS]
