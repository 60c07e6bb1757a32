"""Speed: `python -m benchmarks fps`, and the pytest-benchmark cases of the kernels."""
