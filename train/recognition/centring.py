"""The mean embedding of each age, which the recogniser takes out of its embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RIDGE = 10.0  # faces that stand for "no mean at all" at each age: few faces of an age move its mean little


def age_means(embeddings: NDArray[np.float32], probabilities: NDArray[np.float64]) -> NDArray[np.float32]:
    """Means (101, D) such that probabilities (n, 101) times them come nearest to the embeddings (n, D) of length 1.

    Ridge regression: ages are known as distributions only, and a face counts for each age by its probability.
    """
    gram = probabilities.T @ probabilities + RIDGE * np.eye(probabilities.shape[1])
    return np.asarray(np.linalg.solve(gram, probabilities.T @ embeddings), np.float32)
