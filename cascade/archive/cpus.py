"""How many processors this process may use: by affinity, and by the limits of its control group."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from cascade.checks import available_cores

__all__ = ["available_cpus"]

MOUNT = Path("/sys/fs/cgroup")
GROUPS = Path("/proc/self/cgroup")


def available_cpus(mount: Path = MOUNT, groups: Path = GROUPS) -> int:
    """The processors that this process may use, at least 1.

    They are those of its affinity, and no more than the quota of its control group allows (Linux, versions 1 and 2), as
    containers have; part of a processor counts as one.
    """
    return max(1, min([available_cores(), *(math.ceil(quota) for quota in _quotas(mount, groups))]))


def _quotas(mount: Path, groups: Path) -> Iterator[float]:
    """Processors by each quota that holds for this process: those of its groups, and of the groups around them."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:  # version 2
            yield from _limits(mount, group, lambda folder: (folder / "cpu.max").read_text().split())
        elif "cpu" in controllers.split(","):
            for name in {controllers, "cpu"}:
                yield from _limits(mount / name, group, _version_1)


def _version_1(folder: Path) -> list[str]:
    return [(folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")]


def _limits(mount: Path, group: str, read: object) -> Iterator[float]:
    """The quotas of a group and those around it. In a container its own may be what is mounted at the top."""
    assert callable(read)
    parts = PurePosixPath(group).parts[1:]
    for depth in range(len(parts) + 1):
        with suppress(OSError, ValueError):  # not there, or "max", or -1: no limit
            quota, period = (int(number) for number in read(mount.joinpath(*parts[:depth])))
            if quota > 0 and period > 0:
                yield quota / period
