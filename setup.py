"""Builds the native core: every C file once, and the kernels once per SIMD level; see csrc/build_config.py."""

import importlib.machinery
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

sys.path.insert(0, str(Path(__file__).parent / "csrc"))
import build_config as core

LEVELS = core.levels_of()
if core.MSVC:
    FLAGS = core.CLANG_CL_FLAGS if core.CLANG_CL else core.MSVC_FLAGS
else:
    FLAGS = [*core.RELEASE_FLAGS, *core.HARDENED_FLAGS]
HEADERS = [core.relative(path) for path in core.HEADERS]
KERNELS = core.relative(core.KERNELS_SOURCE)
INCLUDE = [core.relative(core.INCLUDE_FOLDER)]
# One wheel for CPython 3.11 and all later ones. The free-threaded builds of Python have no limited API.
LIMITED_API = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildLevels(build_ext):
    """Compiles the kernels once per SIMD level before the extension is linked."""

    def build_extension(self, ext):
        self.leave_out_library_paths()
        if core.CLANG_CL:
            self.compiler.initialize()
            self.compiler.cc = shutil.which("clang-cl") or "clang-cl"
        ext.extra_objects = []
        levels = [level for level in LEVELS if self.takes(level)]
        ext.define_macros = [core.levels_macro(levels), *ext.define_macros]
        for level in levels:
            ext.extra_objects += self.compiler.compile(
                [KERNELS],
                output_dir=f"{self.build_temp}/{level.name}",
                macros=level.macros,
                include_dirs=INCLUDE,
                extra_postargs=[*FLAGS, *level.flags],
                depends=HEADERS,
            )
        super().build_extension(ext)

    def takes(self, level):
        """Whether the compiler knows the level's flags: older ones lack the newest. Such a level is left out."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "empty.c")
            source.write_text("int cascade_nothing;\n")
            try:
                self.compiler.compile([str(source)], output_dir=folder, extra_postargs=[*FLAGS, *level.flags])
            except CompileError:
                print(f"{self.compiler.compiler_type} compiler without {' '.join(level.flags)}: no level {level.name}")
                return False
        return True

    def leave_out_library_paths(self):
        """Some Pythons pass their own folder on to every extension, as a place to load libraries from."""
        if self.compiler.compiler_type == "unix":
            command = self.compiler.linker_so
            self.compiler.linker_so = [word for word in command if not word.startswith(("-Wl,-rpath", "-Wl,-R"))]

    def copy_extensions_to_source(self):
        """Removes earlier builds in place that Python would load before the new one."""
        super().copy_extensions_to_source()
        for ext in self.extensions:
            built = Path(self.get_ext_fullpath(ext.name)).name
            stem = ext.name.rpartition(".")[2]
            for suffix in importlib.machinery.EXTENSION_SUFFIXES:
                if stem + suffix == built:
                    break
                Path("cascade", stem + suffix).unlink(missing_ok=True)


native = Extension(
    "cascade._native",
    ["csrc/_native.pyx", *(core.relative(path) for path in core.SOURCES)],
    include_dirs=INCLUDE,
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else [],
    extra_compile_args=FLAGS,
    extra_link_args=[] if core.MSVC else core.HARDENED_LINK_FLAGS,
    libraries=[] if core.MSVC else ["m"],
    depends=[*HEADERS, KERNELS, *(core.relative(path) for path in core.CYTHON_PARTS)],
    py_limited_api=LIMITED_API,
)

setup(
    ext_modules=cythonize([native], build_dir="build", include_path=["csrc"]),
    cmdclass={"build_ext": BuildLevels},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
