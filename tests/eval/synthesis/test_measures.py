"""Measures of synthesised faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.synthesis import measures


def unit(rng: np.random.Generator, n: int, d: int = 8) -> np.ndarray:
    rows = rng.normal(size=(n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_distances_are_small_between_samples_of_one_kind_and_grow_with_the_shift() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400, 6))
    near, far = (measures.frechet_distance(a, b + shift) for shift in (0, 2))
    assert near < 0.5 and far == pytest.approx(6 * 4, rel=0.2)
    assert measures.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    same, other = (
        measures.kernel_distance(unit(rng, 300), unit(rng, 300) * sign) for sign in (1, [1, 1, 1, 1, 0, 0, 0, 0])
    )
    assert abs(same) < 0.1 < other
    for measure in (measures.frechet_distance, measures.kernel_distance):
        with pytest.raises(ValueError, match="two samples"):
            measure(a[:1], b)


def test_the_threshold_lets_that_share_of_different_people_through() -> None:
    rng = np.random.default_rng(1)
    similarities = measures.different_people(unit(rng, 200), np.arange(200) // 2)
    assert len(similarities) == 200 * 199 // 2 - 100
    for far in (0.1, 0.01):
        assert (similarities >= measures.threshold_at(similarities, far)).mean() == pytest.approx(far, rel=0.1)
    with pytest.raises(ValueError, match="too few"):
        measures.threshold_at(similarities[:100], 1e-3)


def test_rising_ages() -> None:
    ages = np.array([[1.0, 2, 3], [1, 4, 3], [5, 1, 0]])
    assert measures.rising(ages).tolist() == [True, False, False]
    assert measures.rising(ages, 1).tolist() == [True, True, False]


@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 1000))
def test_diversity_is_the_mean_over_pairs_of_different_people(n: int, photos: int, seed: int) -> None:
    rows, people = unit(np.random.default_rng(seed), n), np.arange(n) // photos
    pairs = [(i, j) for i in range(n) for j in range(i) if people[i] != people[j]]
    found = measures.diversity(rows, people)
    if pairs:
        assert found == pytest.approx(1 - np.mean([rows[i] @ rows[j] for i, j in pairs]), abs=1e-9)
    else:
        assert found is None
