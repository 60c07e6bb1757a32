"""Speed: ``python -m benchmarks --help`` from a clone, and ``pytest benchmarks``.

    fps        milliseconds, arithmetic and memory of a detection, beside baselines in the same run
    scaling    time against pixels, smallest face, number of faces and threads

``fps`` needs what the package itself needs, and torch for GPUs; the picture of ``scaling`` needs matplotlib.
"""
