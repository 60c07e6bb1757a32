"""Draws with repetition, and what they say of a figure's spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.report.bootstrap import interval, quotients, times_drawn


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 5))
def test_as_many_are_drawn_as_there_are(count, draws, seed):
    drawn = times_drawn(count, draws, seed)
    assert drawn.shape == (draws, count)
    assert (drawn.sum(axis=1) == count).all()
    assert (drawn == np.round(drawn)).all() and drawn.min() >= 0
    np.testing.assert_array_equal(drawn, times_drawn(count, draws, seed))


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = interval(times_drawn(400, 4000) @ values / 400)
    # 1.96 standard errors either way: 1.96 · 2 / √400 = 0.196
    assert (low, high) == (
        pytest.approx(values.mean() - 0.196, abs=0.02),
        pytest.approx(values.mean() + 0.196, abs=0.02),
    )


def test_interval_is_the_middle_95_percent():
    assert interval([*np.arange(101), np.nan]) == pytest.approx((2.5, 97.5))
    assert interval([3, 3, np.nan]) is None
    assert interval([np.nan]) is None
    assert interval([]) is None


def test_quotients():
    np.testing.assert_array_equal(quotients(np.array([1.0, 0, 3]), np.array([2, 0, 4])), [0.5, np.nan, 0.75])
