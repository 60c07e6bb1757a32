"""`pytest benchmarks` keeps its times, and shows those of the run before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.test_kernels import REPOSITORY

pytestmark = pytest.mark.slow

QUICK = ["--benchmark-max-time=0.01", "--benchmark-min-rounds=1", "--benchmark-warmup=off"]


def bench(storage: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--benchmark-storage={storage}", *QUICK]
    return subprocess.run(
        [*command, *options, "benchmarks", "-k", "test_clip"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_slower_run_is_seen(tmp_path: Path) -> None:
    first = bench(tmp_path)
    assert first.returncode == 0, first.stdout
    (kept,) = tmp_path.rglob("*.json")
    times = json.loads(kept.read_text())
    (case,) = times["benchmarks"]
    assert case["name"] == "test_clip"
    for name in ("min", "median"):  # as if the machine had been ten times as fast
        case["stats"][name] /= 10
    kept.write_text(json.dumps(times))
    second = bench(tmp_path)
    assert second.returncode == 0, second.stdout
    assert "(NOW)" in second.stdout and "(0001_" in second.stdout
    assert len(list(tmp_path.rglob("*.json"))) == 2
    (tmp_path / kept.parent.name / sorted(tmp_path.rglob("*.json"))[1].name).unlink()
    failed = bench(tmp_path, "--benchmark-compare-fail=median:100%")
    assert failed.returncode != 0
    assert "Performance has regressed" in failed.stdout + failed.stderr


def test_what_is_only_run_leaves_nothing_behind(tmp_path: Path) -> None:
    assert bench(tmp_path, "--benchmark-disable").returncode == 0
    assert not list(tmp_path.rglob("*.json"))
