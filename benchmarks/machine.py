"""What a benchmark ran on, and how much memory it took."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cascade import _native
from cascade.version import __version__

__all__ = ["cores", "describe", "peak_rss_mib"]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_rss_mib() -> float:
    """The most memory that this process has held at once since it started, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)


def describe() -> dict[str, Any]:
    """Processor, cores, SIMD level in use and versions, as plain values for JSON.

    Raises ValueError if the environment variable CASCADE_SIMD names a level that this machine lacks.
    """
    return {
        "processor": _processor(),
        "cores": cores(),
        "simd_level": _native.default_simd_level(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cascade": __version__,
    }


def _processor() -> str:
    """The name that Linux gives, else Python's."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
