"""Checks of numbers that users pass in, and settings that stay as they were checked.

Each check raises ValueError or TypeError with a message that begins with the name of the argument.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from typing import Any

import numpy as np


def is_number(value: Any) -> bool:
    """Whether the value is a real number of Python or numpy; True and False are none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def is_finite_number(value: Any) -> bool:
    """Whether the value is such a number and fits into a float: neither NaN nor infinite, nor a larger integer."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def number(name: str, value: float, low: float, high: float) -> float:
    """The value as a float, if it is a number from ``low`` to ``high``."""
    if not is_number(value):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value!r}")
    return float(value)


def probabilities(name: str, values: Iterable[float], count: int) -> tuple[float, ...]:
    """The values as a tuple of ``count`` floats, if all are numbers from 0 to 1."""
    try:
        numbers = tuple(values)
    except TypeError:
        raise TypeError(f"{name}: expected {count} numbers, got {type(values).__name__}") from None
    if len(numbers) != count:
        raise ValueError(f"{name}: expected {count} numbers, got {len(numbers)}")
    return tuple(number(f"{name}[{i}]", value, 0.0, 1.0) for i, value in enumerate(numbers))


def integer(name: str, value: int, low: int, high: int | None = None) -> int:
    """The value as an int, if it is an integer from ``low`` to ``high``, or to any if that is None."""
    try:
        whole = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}") from None
    if isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, got bool")
    if whole < low or (high is not None and whole > high):
        limits = f"at least {low:,}" if high is None else f"{low:,} to {high:,}"
        raise ValueError(f"{name}: expected {limits}, got {value!r}")
    return whole


def boolean(name: str, value: bool) -> bool:
    """The value, if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def instance(name: str, value: object, kind: type) -> None:
    """Raises TypeError unless the value is None or of that class."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name}: expected {kind.__name__} or None, got {type(value).__name__}")


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(threads: int | None) -> int:
    """Threads for one call, 1 to 256; None is one per core that this process may use, at most 4."""
    if threads is None:
        return min(4, available_cores())
    if number("threads", threads, 1, 256) != int(threads):
        raise ValueError(f"threads: expected an integer, got {threads!r}")
    return int(threads)


class FixedSettings:
    """Base of classes whose public attributes are settings: checked and set in the constructor, then fixed.

    The constructor calls `_fix_settings` at its end. Attributes that begin with an underscore can still change.
    """

    _settings_are_fixed = False

    def _fix_settings(self) -> None:
        self._settings_are_fixed = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self._settings_are_fixed and not name.startswith("_"):
            kind = type(self).__name__
            raise AttributeError(f"{name}: the settings of a {kind} are fixed; create another {kind}")
        super().__setattr__(name, value)
