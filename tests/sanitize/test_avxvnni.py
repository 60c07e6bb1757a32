"""The level avxvnni on processors that lack AVX-VNNI, by the same source: no emulator here knows these instructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cascade import _native
from tests.sanitize.build_driver import HERE, ToolMissingError, build_core, run

LEVELS = ["avxvnni", "scalar"]
STANDS_IN = {
    # the same instruction in its encoding of AVX-512
    "avx512vnni": {"flags": ("-mavx2", "-mfma", "-mavx512vnni", "-mavx512vl"), "usable": "cascade_cpu_has_avx512vnni"},
    # plain C in its place
    "avx2": {"flags": ("-mavx2", "-mfma", "-include", str(HERE / "dpbusd.h")), "usable": "cascade_cpu_has_avx2"},
}


@pytest.mark.slow
@pytest.mark.parametrize(("level", "change"), STANDS_IN.items(), ids=["evex", "scalar"])
def test_avxvnni_gives_what_the_scalar_level_gives(level: str, change: dict[str, Any], tmp_path: Path) -> None:
    if level not in _native.simd_levels():
        pytest.skip(f"this machine cannot run {level}")
    try:
        core = build_core(tmp_path, [], LEVELS, changes={"avxvnni": change})
    except ToolMissingError as missing:
        pytest.skip(str(missing))
    assert run([str(core.driver("driver")), "1", "20"]).split() == LEVELS


def test_avxvnni_is_used_where_the_processor_has_it() -> None:
    """As Linux tells; the other levels are those of every processor that has it."""
    info = Path("/proc/cpuinfo")
    if not info.exists() or "avx2" not in _native.simd_levels():
        pytest.skip("no /proc/cpuinfo, or no x86 processor with AVX2")
    flags = next(line for line in info.read_text().splitlines() if line.startswith("flags")).split()
    assert ("avxvnni" in _native.simd_levels()) == ("avx_vnni" in flags)
