"""Every kernel has a case in benchmarks/bench_kernels.py, and every case runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bench_kernels
from cascade import _native

REPOSITORY = Path(__file__).resolve().parents[2]

NO_KERNELS = {"simd_levels", "default_simd_level", "int8_is_fast", "ThreadPool", "DenseScan", "rows_read"}


def test_every_kernel_has_a_case():
    kernels = {
        name
        for owner in (_native, _native.Network, _native.Graph)
        for name, value in vars(owner).items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", "cascade._native") == "cascade._native"
    }
    assert {"resample", "cut", "candidates", "fuse_logits", "forward", "dense_scan", "Network"} <= kernels
    cases = {name.removeprefix("test_") for name in vars(bench_kernels) if name.startswith("test_")}
    missing = {name for name in kernels - NO_KERNELS if name.lower() not in cases}
    assert not missing, f"benchmarks/bench_kernels.py has no case for {', '.join(sorted(missing))}"


@pytest.mark.slow
def test_every_case_runs_once():
    command = [sys.executable, "-m", "pytest", "-q", "--benchmark-disable", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "benchmarks/bench_kernels.py"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert len(_native.simd_levels()) * 10 < int(done.stdout.splitlines()[-1].split()[0])
