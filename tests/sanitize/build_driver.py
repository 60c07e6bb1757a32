"""Builds driver.c and threads.c with the C core, once per use: for the sanitizers, or plain for valgrind."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade.nn.architectures import ARCHITECTURES, Architecture

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "csrc"
FLAGS = ["-g", "-O1", "-std=gnu11", "-ffp-contract=fast", "-Wall", "-Wextra", "-Werror"]
SANITIZE = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
SANITIZE_THREADS = ["-fsanitize=thread"]
# leaks are not looked for: that fails where another process traces this one
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}

# As in setup.py: level -> (floats in a vector, flags of kernels.c alone).
LEVELS: dict[str, tuple[int, list[str]]] = {"scalar": (1, [])}
if platform.machine().lower() in ("x86_64", "amd64"):
    LEVELS["avx2"] = (8, ["-mavx2", "-mfma"])
    WIDE = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"]
    LEVELS["avx512"] = (16, WIDE)
    LEVELS["avx512vnni"] = (16, [*WIDE, "-mavx512vnni"])
elif platform.machine().lower() in ("aarch64", "arm64"):
    LEVELS["neon"] = (4, [])


class ToolMissingError(Exception):
    """Something that building or running the driver needs is not here."""


@dataclass(frozen=True)
class Core:
    """The core, compiled once, for the drivers that are linked with it."""

    folder: Path
    command: list[str]
    objects: list[str]

    def driver(self, name: str) -> Path:
        """driver.c or threads.c with this core."""
        driver = self.folder / name
        run([*self.command, str(HERE / f"{name}.c"), *self.objects, "-o", str(driver), "-lm"])
        return driver


def build(folder: Path, extra: Sequence[str], levels: Sequence[str] = tuple(LEVELS)) -> Path:
    """driver.c with some of the levels, compiled with ``extra`` flags. Raises ToolMissingError."""
    return build_core(folder, extra, levels).driver("driver")


def build_core(folder: Path, extra: Sequence[str], levels: Sequence[str] = tuple(LEVELS)) -> Core:
    """The core and what both drivers need. Raises ToolMissingError."""
    gcc = _compiler(folder, extra)
    (folder / "networks.h").write_text(_networks())
    macros = [f"-DCASCADE_HAVE_{level.upper()}" for level in levels]
    command = [gcc, *FLAGS, *extra, *macros, f"-I{CORE}", f"-I{folder}", "-pthread"]
    objects = []
    for level in levels:
        lanes, own = LEVELS[level]
        objects.append(str(folder / f"kernels_{level}.o"))
        chosen = [f"-DCASCADE_LEVEL={level}", f"-DCASCADE_LANES={lanes}"]
        run([*command, *own, *chosen, "-c", str(CORE / "kernels.c"), "-o", objects[-1]])
    # what Cython may have left in csrc is no part of the core
    for path in sorted(CORE.glob("*.c")):
        if path.name not in ("kernels.c", "_native.c"):
            objects.append(str(folder / f"{path.stem}.o"))
            run([*command, "-c", str(path), "-o", objects[-1]])
    return Core(folder, command, objects)


def _compiler(folder: Path, extra: Sequence[str]) -> str:
    """gcc, if it and the libraries that the flags need are here."""
    gcc = shutil.which("gcc")
    if gcc is None:
        raise ToolMissingError("gcc is missing")
    if not CORE.is_dir():
        raise ToolMissingError("csrc is missing: these are not the tests of a source tree")
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    try:
        run([gcc, *extra, str(folder / "empty.c"), "-o", str(folder / "empty")])
        run([str(folder / "empty")])
    except AssertionError as error:
        raise ToolMissingError(f"gcc cannot build and run with {' '.join(extra)} here: {str(error)[-300:]}") from error
    return gcc


def run(command: Sequence[str], timeout: float = 500) -> str:
    """What the command prints; an AssertionError with its errors if it fails."""
    # whatever is preloaded must not come before the sanitizers' own library
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"} | OPTIONS
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=timeout)
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
