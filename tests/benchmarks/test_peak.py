"""The machine's peak and memory, and what numeric libraries are told."""

from __future__ import annotations

import os

import numpy as np
import pytest

from benchmarks import machine, peak
from benchmarks.peak import Peak
from cascade import _native


def test_the_higher_rate_counts_and_is_named(monkeypatch):
    monkeypatch.setattr(peak, "convolution", lambda seconds: Peak(50.0, "ours"))
    monkeypatch.setattr(peak, "matrix_product", lambda seconds: Peak(70.0, "theirs"))
    assert peak.one_core() == Peak(70.0, "theirs")


def test_rate_is_operations_over_the_shortest_time(monkeypatch):
    class Network:
        def __init__(self, layers, input_size, level):
            weights = [layer["weight"] for layer in layers]
            sides = [input_size - 2 * (k + 1) for k in range(len(weights) - 1)] + [1]
            self.operations = 2 * sum(w.size * side**2 for w, side in zip(weights, sides, strict=True))
            made.append(self)

        def forward(self, crops, pool):
            clock[0] += next(times)
            self.crops = len(crops)

    made, clock, times = [], [0.0], iter([9.0, 3.0, 2.0, 4.0])
    monkeypatch.setattr(peak._native, "Network", Network)
    monkeypatch.setattr(peak.time, "perf_counter", lambda: clock[0])
    found = peak.convolution(8.5)
    assert found.gflops == pytest.approx(1e-9 * made[0].operations * made[0].crops / 2.0)


def test_both_rates_can_be_measured_here():
    for found in (peak.convolution(0.01), peak.matrix_product(0.01)):
        assert 0.01 < found.gflops < 10_000


def test_libraries_are_held_to_the_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    told = peak.with_threads(2)
    assert {told[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"2"}
    assert told["PATH"] == os.environ["PATH"] and os.environ["OMP_NUM_THREADS"] == "7"


def test_peak_memory_grows_with_what_is_held():
    before = machine.peak_rss_mib()
    held = np.ones(int((before + 64) * 2**20), np.uint8)
    assert before + 60 < machine.peak_rss_mib() < 4 * before + 200
    del held
    assert machine.peak_rss_mib() > before + 60


def test_machine_says_simd_level_and_cores(monkeypatch):
    about = machine.describe()
    assert about["simd_level"] in _native.simd_levels()
    assert about["cores"] >= 1 and about["processor"]
    monkeypatch.setenv("CASCADE_SIMD", "mmx")
    with pytest.raises(ValueError, match="CASCADE_SIMD"):
        machine.describe()
