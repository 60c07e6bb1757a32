"""Memory that training keeps, as far as the C library can be told."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# pages that the kernel had to hand out anew while 64 MiB came and went 20 times
CODE = """
import resource
from train.common.memory import keep_freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        b"x" * (1 << 26)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

as_it_is = pages()
keep_freed_memory()
print(as_it_is, pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_used_again():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    as_it_is, kept = map(int, done.stdout.split())
    assert kept < as_it_is / 4
