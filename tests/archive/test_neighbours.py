"""The most similar rows of many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.archive import neighbours
from cascade.archive.neighbours import NOBODY, nearest


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_rows(seed: int, count: int, dimension: int = 6) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)))


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 45), st.floats(-1, 1))
def test_they_are_those_of_a_full_comparison(seed: int, rows: int, count: int, floor: float) -> None:
    some = random_rows(seed, rows)
    with pytest.MonkeyPatch.context() as patch:  # several blocks each way
        patch.setattr(neighbours, "ROWS", 7)
        patch.setattr(neighbours, "COLUMNS", 5)
        found = nearest(some, count=count, floor=floor)
    full = some @ some.T
    np.fill_diagonal(full, -np.inf)
    for row, (at, similar) in enumerate(zip(found.indices, found.similarities, strict=True)):
        order = np.argsort(-full[row])[:count]
        expected = order[full[row, order] >= floor - 1e-6]
        there = at != NOBODY
        assert set(at[there]) == set(expected)
        assert not there[there.sum() :].any()  # those that lack come last
        np.testing.assert_allclose(similar[there], np.sort(full[row, expected])[::-1], atol=1e-6)
        assert np.isneginf(similar[~there]).all()


def test_among_other_rows_a_row_may_find_itself() -> None:
    some = random_rows(1, 5)
    found = nearest(some[:2], some.astype(np.float16), count=1)
    assert found.indices.ravel().tolist() == [0, 1]
    np.testing.assert_allclose(found.similarities, 1, atol=2e-3)


def test_mutual_pairs_need_both() -> None:
    rows = unit(np.array([[1, 0], [1, 0.1], [1, 0.3]]))
    found = nearest(rows, count=1)
    assert found.indices.ravel().tolist() == [1, 0, 1]
    assert [end.tolist() for end in found.mutual_pairs()] == [[0], [1]]
    assert [end.tolist() for end in found.pairs()] == [[0, 1, 2], [1, 0, 1]]


def test_no_rows() -> None:
    found = nearest(np.empty((0, 4), np.float32), count=3)
    assert found.indices.shape == (0, 3)
    assert [len(end) for end in found.mutual_pairs()] == [0, 0]


@pytest.mark.parametrize(
    ("rows", "among", "options", "says"),
    [
        (np.zeros(3, np.float32), None, {"count": 1}, "rows: expected"),
        (np.zeros((3, 2), np.int64), None, {"count": 1}, "rows: expected"),
        (np.zeros((3, 2), np.float32), np.zeros((3, 4), np.float32), {"count": 1}, "among: expected rows of 2"),
        (np.zeros((3, 2), np.float32), None, {"count": 0}, "count: expected at least 1"),
        (np.zeros((3, 2), np.float32), None, {"count": 1, "floor": 2}, "floor: expected -1 to 1"),
    ],
)
def test_wrong_arguments(rows, among, options, says) -> None:
    with pytest.raises(ValueError, match=says):
        nearest(rows, among, **options)
