"""Checks of numbers, and settings that stay fixed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cascade.checks import FixedSettings, integer, is_finite_number, number, probabilities, thread_count


@pytest.mark.parametrize("value", [1, 1.0, np.int8(1), np.float32(1)])
def test_numbers_of_every_type(value: Any) -> None:
    found = number("size", value, 0, 2)
    assert found == 1
    assert type(found) is float


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (3, ValueError, "^size: expected 0 to 2, got 3"),
        (math.nan, ValueError, "^size: expected 0 to 2, got nan"),
        (True, TypeError, "^size: expected a number, got bool"),
        ("1", TypeError, "^size: expected a number, got str"),
        (None, TypeError, "^size: expected a number, got NoneType"),
    ],
)
def test_wrong_numbers(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        number("size", value, 0, 2)


def test_finite_numbers() -> None:
    assert all(map(is_finite_number, [0, -1.5, 10**300, np.float32(1), np.int8(-1)]))
    assert not any(map(is_finite_number, [math.nan, math.inf, -math.inf, 10**400, True, "1", None, np.float32("inf")]))


@pytest.mark.parametrize("value", [2, np.int64(2)])
def test_integers(value: Any) -> None:
    assert integer("top", value, 1) == integer("top", value, 1, 2) == 2
    assert type(integer("top", value, 1)) is int


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "^top: expected at least 1, got 0"),
        (True, TypeError, "^top: expected an integer, got bool"),
        (1.5, TypeError, "^top: expected an integer, got float"),
        ("1", TypeError, "^top: expected an integer, got str"),
    ],
)
def test_wrong_integers(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        integer("top", value, 1)
    with pytest.raises(ValueError, match=r"^top: expected 1 to 3, got 4"):
        integer("top", 4, 1, 3)


def test_probabilities() -> None:
    assert probabilities("thresholds", np.array([0, 0.5, 1]), 3) == (0.0, 0.5, 1.0)
    for wrong, error in ((0.5, TypeError), ((0.5,), ValueError), ((0.5, 2), ValueError), ((0.5, "a"), TypeError)):
        with pytest.raises(error, match=r"^thresholds"):
            probabilities("thresholds", wrong, 2)  # type: ignore[arg-type]


def test_threads() -> None:
    assert 1 <= thread_count(None) <= 4
    assert thread_count(256) == 256
    assert thread_count(2.0) == 2  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^threads: expected an integer, got 1.5"):
        thread_count(1.5)  # type: ignore[arg-type]


class Lens(FixedSettings):
    def __init__(self, focus: float) -> None:
        self.focus = focus
        self._fix_settings()

    def remember(self, value: int) -> int:
        self._last = value
        return self._last


def test_settings_are_fixed_once_the_constructor_is_done() -> None:
    lens = Lens(2.0)
    assert lens.remember(3) == lens.remember(3) == 3
    for name in ("focus", "aperture"):
        with pytest.raises(AttributeError, match=f"^{name}: the settings of a Lens are fixed"):
            setattr(lens, name, 1.0)
    assert lens.focus == 2.0
    assert not hasattr(lens, "aperture")
    Lens(1.0)  # one object's settings being fixed does not fix another's
