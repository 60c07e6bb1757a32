"""Builds the native core: every file of csrc once, and kernels.c once per instruction level."""

import platform
import struct
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NETWORKS = ["network_crops", "network_few", "network_graph", "network_image"]
SOURCES = ["boxes", "crops", "graph_plan", "layers", "levels", "memory", *NETWORKS, "nms"]
SOURCES += ["resample", "search", "similarity", "team", "warp"]
# What _native.pyx includes.
PARTS = ["boxes", "crops", "graph", "landmarks", "network", "search", "team"]
KERNELS = ["blend", "bytes", "convolve", "input", "turn", "vector"]
HEADERS = ["csrc/cascade.h", *(f"csrc/kernels/{name}.h" for name in KERNELS)]
MACHINE = platform.machine().lower()
MSVC = sys.platform == "win32"

# Level name -> (floats in a vector, compiler flags). Only kernels.c sees these flags, so that no instruction of a
# higher level can leak into code that runs before the level is chosen.
LEVELS: dict[str, tuple[int, list[str]]] = {"scalar": (1, [])}
if MACHINE in ("x86_64", "amd64") and not MSVC:
    LEVELS["avx2"] = (8, ["-mavx2", "-mfma"])
    wide = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"]
    LEVELS["avx512"] = (16, wide)
    LEVELS["avx512vnni"] = (16, [*wide, "-mavx512vnni"])
elif MACHINE in ("aarch64", "arm64") and struct.calcsize("P") == 8 and not MSVC:  # not a 32-bit system on such a kernel
    LEVELS["neon"] = (4, [])

FLAGS = ["-O3", "-g0", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-Wall"]
if MSVC:
    FLAGS = ["/O2", "/std:c11", "/experimental:c11atomics"]


class BuildLevels(build_ext):
    """Compiles kernels.c once per level before the extension is linked."""

    def build_extension(self, ext):
        objects = []
        for name, (lanes, flags) in LEVELS.items():
            macros = [("CASCADE_LEVEL", name), ("CASCADE_LANES", str(lanes))]
            objects += self.compiler.compile(
                ["csrc/kernels.c"],
                output_dir=f"{self.build_temp}/{name}",
                macros=macros,
                include_dirs=["csrc"],
                extra_postargs=FLAGS + flags,
                depends=HEADERS,
            )
        ext.extra_objects = objects
        super().build_extension(ext)


native = Extension(
    "cascade._native",
    ["csrc/_native.pyx", *(f"csrc/{name}.c" for name in SOURCES)],
    include_dirs=["csrc"],
    define_macros=[(f"CASCADE_HAVE_{name.upper()}", "1") for name in LEVELS],
    extra_compile_args=FLAGS,
    libraries=[] if MSVC else ["m"],
    depends=[*HEADERS, "csrc/kernels.c", *(f"csrc/{name}.pxi" for name in PARTS)],
)

setup(ext_modules=cythonize([native], build_dir="build"), cmdclass={"build_ext": BuildLevels})
