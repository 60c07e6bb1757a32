"""The built module: what it exports, how it is linked, and for which Pythons it is."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade import _native
from tests.sanitize.build_driver import ToolMissingError, build_config

FILE = Path(_native.__file__)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the module is no ELF file")


@pytest.fixture
def elf() -> Iterator[object]:
    elffile = pytest.importorskip("elftools.elf.elffile", reason="pyelftools is missing")
    with FILE.open("rb") as file:
        yield elffile.ELFFile(file)


def test_only_the_init_function_is_exported(elf) -> None:
    symbols = elf.get_section_by_name(".dynsym").iter_symbols()
    assert [each.name for each in symbols if each.name and each["st_shndx"] != "SHN_UNDEF"] == ["PyInit__native"]


def test_it_is_bound_when_it_is_loaded_and_searches_no_folder(elf) -> None:
    tags = {tag.entry.d_tag: tag.entry.d_val for tag in elf.get_section_by_name(".dynamic").iter_tags()}
    assert not {"DT_RPATH", "DT_RUNPATH", "DT_TEXTREL"} & set(tags)
    assert tags.get("DT_FLAGS", 0) & 8  # DF_BIND_NOW
    segments = {segment["p_type"]: segment["p_flags"] for segment in elf.iter_segments()}
    assert "PT_GNU_RELRO" in segments
    assert not segments["PT_GNU_STACK"] & 1  # not executable


def test_stacks_are_guarded(elf) -> None:
    names = {symbol.name for symbol in elf.get_section_by_name(".dynsym").iter_symbols()}
    assert "__stack_chk_fail" in names
    try:
        flags = build_config().HARDENED_FLAGS
    except ToolMissingError as missing:
        pytest.skip(str(missing))
    assert "-D_FORTIFY_SOURCE=2" in flags


@pytest.mark.skipif(sysconfig.get_config_var("Py_GIL_DISABLED") == 1, reason="no limited API without the GIL")
def test_it_is_for_all_pythons_from_3_11_on() -> None:
    assert FILE.name.endswith(".abi3.so")
