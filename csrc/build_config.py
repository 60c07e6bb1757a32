"""How the native core is compiled: its sources, the compiler flags and the SIMD levels.

setup.py, the sanitizer tests and the NEON tests all read this file. A new SIMD level is one entry in `LEVELS`, and a
CPU check in runtime/cpu_features.c if none fits. Run as a script it answers a shell: ``python build_config.py WHAT
[ARGUMENT]``.
"""

from __future__ import annotations

import os
import platform
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent

X86_64, ARM64 = ("x86_64", "amd64"), ("aarch64", "arm64")
ANY: tuple[str, ...] = ()

AVX512_FLAGS = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512")


@dataclass(frozen=True)
class Level:
    """A SIMD level: kernels/kernels.c compiled with flags of its own.

    No other file gets these flags, so that no instruction of a level can leak into code that runs before the level is
    chosen.
    """

    name: str
    machines: tuple[str, ...]
    """Values of `platform.machine` in lower case; ``ANY`` for all."""
    lanes: int
    """Floats in a vector."""
    flags: tuple[str, ...]
    usable: str
    """The function of runtime/cpu_features.c that tells whether this processor can run the level."""
    int8_fast: bool
    """Whether int8 networks are as fast as float32 ones or faster."""

    @property
    def macros(self) -> list[tuple[str, str]]:
        """What kernels.c must know of the level."""
        return [
            ("CASCADE_LEVEL", self.name),
            ("CASCADE_LANES", str(self.lanes)),
            ("CASCADE_USABLE", self.usable),
            ("CASCADE_INT8_FAST", str(int(self.int8_fast))),
        ]


LEVELS = (  # best first
    Level("avx512vnni", X86_64, 16, (*AVX512_FLAGS, "-mavx512vnni"), "cascade_cpu_has_avx512vnni", True),
    Level("avx512", X86_64, 16, AVX512_FLAGS, "cascade_cpu_has_avx512", True),
    Level("avxvnni", X86_64, 8, ("-mavx2", "-mfma", "-mavxvnni"), "cascade_cpu_has_avxvnni", True),
    Level("avx2", X86_64, 8, ("-mavx2", "-mfma"), "cascade_cpu_has_avx2", True),
    Level("i8mm", ARM64, 4, ("-march=armv8.2-a+dotprod+i8mm",), "cascade_cpu_has_i8mm", True),
    Level("dotprod", ARM64, 4, ("-march=armv8.2-a+dotprod",), "cascade_cpu_has_dotprod", True),
    Level("neon", ARM64, 4, (), "cascade_cpu_is_any", False),
    Level("scalar", ANY, 1, (), "cascade_cpu_is_any", False),
)

MSVC = sys.platform == "win32"
# With clang-cl in the place of MSVC's compiler there are vector types, and so all levels.
CLANG_CL = MSVC and os.environ.get("CASCADE_CLANG_CL", "") not in {"", "0"}

# gnu11 for inline assembly and vector types. Products and sums are fused the same way at every optimisation level.
LANGUAGE_FLAGS = ["-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-Wall"]
RELEASE_FLAGS = ["-O3", "-g0", *LANGUAGE_FLAGS]
DEBUG_FLAGS = ["-O1", "-g", *LANGUAGE_FLAGS, "-Wextra", "-Werror"]
MSVC_FLAGS = ["/O2", "/std:c11", "/experimental:c11atomics"]
CLANG_CL_FLAGS = ["/O2", *(f"/clang:{flag}" for flag in ("-O3", *LANGUAGE_FLAGS[:-1]))]

# Only PyInit__native is seen from outside. Buffers on the stack end in a canary, and copies of known size are checked.
HARDENED_FLAGS = ["-fvisibility=hidden", "-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
# All addresses are resolved when the module is loaded, and their table is then read-only.
HARDENED_LINK_FLAGS = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"] if sys.platform == "linux" else []

INCLUDE_FOLDER = ROOT / "include"
KERNELS_SOURCE = ROOT / "kernels" / "kernels.c"
SOURCES = sorted(path for folder in ("detect", "image", "nn", "runtime") for path in (ROOT / folder).glob("*.c"))
HEADERS = sorted([*INCLUDE_FOLDER.glob("*.h"), *(ROOT / "kernels").glob("*.h")])
CYTHON_PARTS = sorted([*ROOT.glob("*.pxi"), *ROOT.glob("*.pxd")])


def relative(path: Path) -> str:
    """The path as seen from the repository's root."""
    return path.relative_to(ROOT.parent).as_posix()


def levels_of(machine: str | None = None) -> list[Level]:
    """The SIMD levels for a machine, best first; without one, for that which this interpreter runs on."""
    if machine is None:
        machine = platform.machine().lower()
        is_32_bit = struct.calcsize("P") != 8  # perhaps on a 64-bit kernel
        if (MSVC and not CLANG_CL) or (machine in ARM64 and is_32_bit):  # no vector types, or another instruction set
            machine = ""
    return [level for level in LEVELS if level.machines == ANY or machine in level.machines]


def levels_macro(levels: Sequence[Level]) -> tuple[str, str]:
    """What runtime/cpu_features.c must know of the levels that are compiled in."""
    return "CASCADE_SIMD_LEVELS", "".join(f"LEVEL({level.name})" for level in levels)


def defines(macros: Sequence[tuple[str, str]]) -> list[str]:
    """The macros as compiler arguments."""
    return [f"-D{name}={value}" for name, value in macros]


def answer(what: str, argument: str = "") -> list[str]:
    """The words for a shell script in the repository's root that builds the core.

    WHAT is ``flags``, ``sources``, ``kernels``, ``levels MACHINE``, ``macro LEVEL,LEVEL…`` or ``level LEVEL``.
    """
    by_name = {level.name: level for level in LEVELS}
    if what == "flags":
        return [*RELEASE_FLAGS, "-Wextra", "-Werror", f"-I{relative(INCLUDE_FOLDER)}"]
    if what == "sources":
        return [relative(path) for path in SOURCES]
    if what == "kernels":
        return [relative(KERNELS_SOURCE)]
    if what == "levels":
        return [level.name for level in levels_of(argument)]
    if what == "macro":
        return defines([levels_macro([by_name[name] for name in argument.split(",")])])
    if what == "level":
        return [*by_name[argument].flags, *defines(by_name[argument].macros)]
    raise SystemExit(f"build_config.py: {what!r} is not known")


if __name__ == "__main__":
    print(" ".join(answer(*sys.argv[1:])))
