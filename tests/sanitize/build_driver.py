"""Builds driver.c and threads.c with the C core: for the sanitizers, or plain for valgrind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from cascade.nn.architectures import ARCHITECTURES, Architecture

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "csrc" / "build_config.py"
SANITIZE = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
SANITIZE_THREADS = ["-fsanitize=thread"]
# no search for leaks: it fails where another process traces this one
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}
OPERATIONS = {"conv": "CASCADE_CONV", "pool": "CASCADE_MAX_POOL"}


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
        driver = self.folder / f"{name}.exe"  # the suffix is for Windows
        run([*self.command, str(HERE / f"{name}.c"), *self.objects, "-o", str(driver), "-lm"])
        return driver


def build_config() -> ModuleType:
    """csrc/build_config.py. Raises ToolMissingError where there is no source tree."""
    if not CONFIG.is_file():
        raise ToolMissingError("csrc is missing: these are not the tests of a source tree")
    spec = importlib.util.spec_from_file_location("build_config", CONFIG)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def build(folder: Path, extra: Sequence[str], names: Sequence[str] | None = None) -> Path:
    """driver.c with some of the SIMD levels, compiled with ``extra`` flags. Raises ToolMissingError."""
    return build_core(folder, extra, names).driver("driver")


def build_core(
    folder: Path,
    extra: Sequence[str],
    names: Sequence[str] | None = None,
    compiler: str = "gcc",
    emulator: str = "",
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Core:
    """The core with all SIMD levels of this architecture, or those named. Raises ToolMissingError.

    What the ``compiler`` builds runs here, or in an ``emulator``. ``changes`` are other fields of levels, by name.
    """
    config = build_config()
    gcc = _compiler(folder, extra, compiler, emulator)
    changes = changes or {}
    levels = [
        replace(level, **changes.get(level.name, {}))
        for level in config.levels_of()
        if names is None or level.name in names
    ]
    (folder / "networks.h").write_text(_networks())
    macros = config.defines([config.levels_macro(levels)])
    include = [f"-I{config.INCLUDE_FOLDER}", f"-I{folder}"]
    command = [gcc, *config.DEBUG_FLAGS, *extra, *macros, *include, "-pthread"]
    objects = []
    for level in levels:
        objects.append(str(folder / f"kernels_{level.name}.o"))
        own = [*level.flags, *config.defines(level.macros)]
        run([*command, *own, "-c", str(config.KERNELS_SOURCE), "-o", objects[-1]])
    for path in config.SOURCES:
        objects.append(str(folder / f"{path.stem}.o"))
        run([*command, "-c", str(path), "-o", objects[-1]])
    return Core(folder, command, objects)


def check_warnings(folder: Path) -> None:
    """Fails if a SIMD level of this architecture gives a warning, whether or not this machine has it."""
    config = build_config()
    for level in config.levels_of():
        gcc = _compiler(folder, level.flags, "gcc", "")
        own = [*level.flags, *config.defines(level.macros), f"-I{config.INCLUDE_FOLDER}"]
        run([gcc, *config.DEBUG_FLAGS, *own, "-fsyntax-only", str(config.KERNELS_SOURCE)])


def _compiler(folder: Path, extra: Sequence[str], compiler: str, emulator: str) -> str:
    """The compiler, if it and the libraries that the flags need are here."""
    gcc = shutil.which(compiler)
    if gcc is None:
        raise ToolMissingError(f"{compiler} is missing")
    if emulator and shutil.which(emulator) is None:
        raise ToolMissingError(f"{emulator} is missing")
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    try:
        run([gcc, *extra, str(folder / "empty.c"), "-o", str(folder / "empty.exe")])
        run([*([emulator] if emulator else []), str(folder / "empty.exe")])
    except AssertionError as error:
        raise ToolMissingError(
            f"{compiler} cannot build and run with {' '.join(extra)} here: {str(error)[-300:]}"
        ) from error
    return gcc


def run(command: Sequence[str], timeout: float = 500) -> str:
    """What the command prints; an AssertionError with its errors if it fails."""
    # a preloaded library must not come before that of the sanitizers
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
        f"{{{OPERATIONS[layer.kind]}, {layer.kernel}, {layer.stride}, {layer.channels}}}" for layer in network.layers
    )
    counts = f"{network.input_size}, {network.padding}, {len(network.layers)}"
    return f'    {{"{name}", {counts}, {{{layers}}}, CASCADE_F32}}'
