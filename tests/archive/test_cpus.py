"""Processors by the quotas of control groups, as files of both versions state them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cascade.archive.cpus import available_cpus

MANY = "400000 100000"


def mine() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def groups(tmp_path: Path, text: str) -> Path:
    write(tmp_path / "cgroup", text)
    return tmp_path / "cgroup"


@pytest.mark.parametrize(
    ("quota", "count"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None), ("garbage", None)]
)
def test_version_2(tmp_path: Path, quota: str, count: int | None) -> None:
    write(tmp_path / "mount" / "a" / "b" / "cpu.max", quota)
    found = available_cpus(tmp_path / "mount", groups(tmp_path, "0::/a/b"))
    assert found == (mine() if count is None else min(count, mine()))


def test_the_least_quota_of_the_groups_around_holds(tmp_path: Path) -> None:
    write(tmp_path / "mount" / "a" / "cpu.max", "100000 100000")
    write(tmp_path / "mount" / "a" / "b" / "cpu.max", MANY)
    assert available_cpus(tmp_path / "mount", groups(tmp_path, "0::/a/b")) == 1


def test_a_container_has_its_own_group_at_the_top(tmp_path: Path) -> None:
    write(tmp_path / "mount" / "cpu.max", "100000 100000")
    assert available_cpus(tmp_path / "mount", groups(tmp_path, "0::/kubepods/pod7")) == 1


@pytest.mark.parametrize(("quota", "limited"), [("100000", True), ("-1", False)])
def test_version_1(tmp_path: Path, quota: str, limited: bool) -> None:
    folder = tmp_path / "mount" / "cpu,cpuacct" / "docker" / "7"
    write(folder / "cpu.cfs_quota_us", quota)
    write(folder / "cpu.cfs_period_us", "100000")
    found = available_cpus(tmp_path / "mount", groups(tmp_path, "5:memory:/x\n4:cpu,cpuacct:/docker/7"))
    assert found == (1 if limited else mine())


def test_without_control_groups(tmp_path: Path) -> None:
    assert available_cpus(tmp_path, tmp_path / "nothing") == mine()
