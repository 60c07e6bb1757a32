"""The assignment of least cost, against all possible ones and scipy's."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.tracking.assignment import assign


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10_000))
def test_finds_the_least_total_cost(rows: int, columns: int, seed: int) -> None:
    costs = np.random.default_rng(seed).random((rows, columns))
    pairs = assign(costs, 2.0)
    table = costs if rows <= columns else costs.T
    least = min(
        sum(table[row, column] for row, column in enumerate(some))
        for some in permutations(range(table.shape[1]), table.shape[0])
    )
    assert len(pairs) == min(rows, columns)
    assert sum(costs[pair] for pair in pairs) == pytest.approx(least)


def test_makes_no_pair_above_the_limit() -> None:
    costs = [[0.1, 0.9], [0.2, np.inf], [5.0, 5.0]]
    assert assign(costs, 1.0) == [(0, 1), (1, 0)]  # two pairs, though 0.1 alone would cost less
    assert assign([[5.0]], 1.0) == []
    assert assign(np.zeros((0, 3)), 1.0) == []
    assert assign(np.zeros((3, 0)), 1.0) == []


def test_agrees_with_scipy_on_large_tables() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    random = np.random.default_rng(0)
    for shape in ((40, 60), (60, 40), (50, 50)):
        costs = random.random(shape)
        rows, columns = optimize.linear_sum_assignment(costs)
        assert sum(costs[pair] for pair in assign(costs, 2.0)) == pytest.approx(costs[rows, columns].sum())
