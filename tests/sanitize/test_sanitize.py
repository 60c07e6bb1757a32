"""The C core under the address and undefined-behaviour sanitizers, through driver.c."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from cascade import _native
from cascade.architectures import ARCHITECTURES, Architecture

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "csrc"
SANITIZE = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
FLAGS = [*SANITIZE, *["-g", "-O1", "-std=gnu11", "-ffp-contract=fast", "-Wall", "-Wextra", "-Werror"]]

# As in setup.py: level -> (floats in a vector, flags of kernels.c alone).
LEVELS: dict[str, tuple[int, list[str]]] = {"scalar": (1, [])}
if platform.machine().lower() in ("x86_64", "amd64"):
    LEVELS["avx2"] = (8, ["-mavx2", "-mfma"])
    LEVELS["avx512"] = (
        16,
        ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"],
    )
elif platform.machine().lower() in ("aarch64", "arm64"):
    LEVELS["neon"] = (4, [])


def test_the_core_stays_within_its_memory_and_the_language(tmp_path: Path) -> None:
    gcc = _compiler(tmp_path)
    (tmp_path / "networks.h").write_text(_networks())
    objects = []
    for level, (lanes, flags) in LEVELS.items():
        objects.append(str(tmp_path / f"kernels_{level}.o"))
        macros = [f"-DCASCADE_LEVEL={level}", f"-DCASCADE_LANES={lanes}"]
        _run([gcc, *FLAGS, *flags, *macros, "-c", str(CORE / "kernels.c"), "-o", objects[-1]])
    sources = [str(path) for path in sorted(CORE.glob("*.c")) if path.name != "kernels.c"]
    macros = [f"-DCASCADE_HAVE_{level.upper()}" for level in LEVELS]
    driver = str(tmp_path / "driver")
    includes = [f"-I{CORE}", f"-I{tmp_path}"]
    _run([gcc, *FLAGS, *macros, *includes, str(HERE / "driver.c"), *sources, *objects, "-o", driver, "-lm"])
    # leaks are not looked for: that fails where another process traces this one
    ran = _run([driver], {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"})
    assert ran.split() == _native.levels()


def _compiler(folder: Path) -> str:
    """gcc, or a skip where it or the sanitizers' libraries are missing."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("gcc is missing")
    if not CORE.is_dir():
        pytest.skip("csrc is missing: these are not the tests of a source tree")
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    try:
        _run([gcc, *SANITIZE, str(folder / "empty.c"), "-o", str(folder / "empty")])
        _run([str(folder / "empty")], {"ASAN_OPTIONS": "detect_leaks=0"})
    except AssertionError as error:
        pytest.skip(f"gcc cannot build and run with the sanitizers here: {str(error)[-300:]}")
    return gcc


def _run(command: list[str], extra: dict[str, str] | None = None) -> str:
    """What the command prints; an AssertionError with its errors if it fails."""
    # whatever is preloaded must not come before the sanitizers' own library
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"} | (extra or {})
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-6000:]}"
    return done.stdout


def _networks() -> str:
    """The shapes of all networks as a C table."""
    rows = ",\n".join(
        _row(f"{family} {stage}", network)
        for family, stages in ARCHITECTURES.items()
        for stage, network in stages.items()
    )
    return f"static const network_shape networks[] = {{\n{rows}\n}};\n"


def _row(name: str, network: Architecture) -> str:
    layers = ", ".join(
        f"{{CASCADE_{layer.kind.upper()}, {layer.kernel}, {layer.stride}, {layer.channels}}}"
        for layer in network.layers
    )
    return f'    {{"{name}", {network.input_size}, {network.padding}, {len(network.layers)}, {{{layers}}}}}'
