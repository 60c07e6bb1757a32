"""How fast numpy multiplies matrices on one core: a script of its own, since BLAS takes its threads when it starts.

    OPENBLAS_NUM_THREADS=1 PYTHON blas_peak.py SECONDS

Prints the best GFLOP/s of float32 products of 1024 × 1024 matrices. `benchmarks.peak` runs it.
"""

from __future__ import annotations

import sys
import time

import numpy as np

SIDE = 1024


def best(seconds: float) -> float:
    """GFLOP/s of the fastest of as many products as fit into ``seconds``, at least three."""
    left, right = np.random.default_rng(0).random((2, SIDE, SIDE), np.float32)
    product = np.empty_like(left)
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        started = time.perf_counter()
        np.matmul(left, right, out=product)
        times.append(time.perf_counter() - started)
    return 2e-9 * SIDE**3 / min(times)


if __name__ == "__main__":
    print(best(float(sys.argv[1])))
