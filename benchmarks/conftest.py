"""`pytest benchmarks` keeps the times of each run below ``.benchmarks`` and shows those of the run before, too."""

from __future__ import annotations

import pytest
from pytest_benchmark.utils import get_tag


def pytest_configure(config: pytest.Config) -> None:
    """Sets the options of pytest-benchmark for that unless they were given; it reads them after this."""
    option = config.option
    if option.benchmark_disable or option.benchmark_skip:
        return
    if not option.benchmark_save:
        option.benchmark_autosave = get_tag()  # type: ignore[no-untyped-call]
    option.benchmark_compare = option.benchmark_compare or True
