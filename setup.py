"""Builds the native core: every C file once, and the kernels once per SIMD level; see csrc/build_config.py."""

import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "csrc"))
import build_config as core

LEVELS = core.levels_of()
FLAGS = core.MSVC_FLAGS if core.MSVC else core.RELEASE_FLAGS
HEADERS = [core.relative(path) for path in core.HEADERS]
KERNELS = core.relative(core.KERNELS_SOURCE)
INCLUDE = [core.relative(core.INCLUDE_FOLDER)]


class BuildLevels(build_ext):
    """Compiles the kernels once per SIMD level before the extension is linked."""

    def build_extension(self, ext):
        ext.extra_objects = []
        for level in LEVELS:
            ext.extra_objects += self.compiler.compile(
                [KERNELS],
                output_dir=f"{self.build_temp}/{level.name}",
                macros=level.macros,
                include_dirs=INCLUDE,
                extra_postargs=[*FLAGS, *level.flags],
                depends=HEADERS,
            )
        super().build_extension(ext)


native = Extension(
    "cascade._native",
    ["csrc/_native.pyx", *(core.relative(path) for path in core.SOURCES)],
    include_dirs=INCLUDE,
    define_macros=[core.levels_macro(LEVELS)],
    extra_compile_args=FLAGS,
    libraries=[] if core.MSVC else ["m"],
    depends=[*HEADERS, KERNELS, *(core.relative(path) for path in core.CYTHON_PARTS)],
)

setup(
    ext_modules=cythonize([native], build_dir="build", include_path=["csrc"]),
    cmdclass={"build_ext": BuildLevels},
)
