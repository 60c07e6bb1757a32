"""Measures of synthesised faces, from what evaluators say of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SUBSETS, SUBSET = 20, 50  # draws that KID is the mean of, and faces in each


def threshold_at(similarities: FloatArray, far: float) -> float:
    """The similarity that a share ``far`` of pairs of different people reaches. Raises ValueError for too few pairs."""
    if len(similarities) * far < 1:
        raise ValueError(f"far: {len(similarities):,} pairs of different people are too few for {far:g}")
    return float(np.quantile(similarities, 1 - far))


def different_people(embeddings: npt.NDArray[np.floating], people: npt.NDArray[np.integer]) -> FloatArray:
    """Similarities of all pairs of embeddings (n, D) of length 1 of different people (n,)."""
    rows, columns = np.triu_indices(len(embeddings), 1)
    other = people[rows] != people[columns]
    return np.asarray(np.sum(embeddings[rows[other]] * embeddings[columns[other]], axis=1), np.float64)


def rising(ages: FloatArray, slack: float = 0.0) -> npt.NDArray[np.bool_]:
    """Whether the ages of each row (n, targets) rise: each is at least the one before, less ``slack`` years."""
    return np.asarray((np.diff(ages, axis=1) >= -slack).all(axis=1))


def frechet_distance(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    """Fréchet distance of the normal distributions fitted to two samples (n, D), (m, D) of features.

    It depends on the number of samples: compare only such of equal numbers. Raises ValueError for fewer than two.
    """
    from scipy import linalg

    if min(len(a), len(b)) < 2:
        raise ValueError(f"features: expected two samples or more of each, got {len(a)} and {len(b)}")
    means = [each.astype(np.float64).mean(axis=0) for each in (a, b)]
    spreads = [np.cov(each.astype(np.float64), rowvar=False) for each in (a, b)]
    # the root of a product of two covariances has real, non-negative eigenvalues
    values = linalg.eigvals(spreads[0] @ spreads[1])
    root = np.sqrt(np.clip(values.real, 0, None)).sum()
    return float(np.square(means[0] - means[1]).sum() + np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * root)


def kernel_distance(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating], seed: int = 0) -> float:
    """KID (Bińkowski et al. 2018): the unbiased squared maximum mean discrepancy with the kernel (x·y / D + 1)³.

    The mean over random subsets; features are scaled so that D is the square of their length. Raises ValueError for
    fewer than two samples.
    """
    size = min(SUBSET, len(a), len(b))
    if size < 2:
        raise ValueError(f"features: expected two samples or more of each, got {len(a)} and {len(b)}")
    rng = np.random.default_rng(seed)
    draws = [_discrepancy(a[rng.permutation(len(a))[:size]], b[rng.permutation(len(b))[:size]]) for _ in range(SUBSETS)]
    return float(np.mean(draws))


def _discrepancy(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    n = len(a)
    within = [((k := _kernel(each, each)).sum() - np.trace(k)) / (n * (n - 1)) for each in (a, b)]
    return float(within[0] + within[1] - 2 * _kernel(a, b).mean())


def _kernel(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> FloatArray:
    return np.asarray((a @ b.T + 1) ** 3)


def diversity(embeddings: npt.NDArray[np.floating], people: npt.NDArray[np.integer]) -> float | None:
    """1 less the mean similarity of embeddings (n, D) of length 1 of different people (n,): 0 if all look the same.

    Pairs of one person do not count. None if there are no others.
    """
    pairs = different_people(embeddings, people)
    return float(1 - pairs.mean()) if len(pairs) else None
