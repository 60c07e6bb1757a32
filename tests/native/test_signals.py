"""Signals are heard within half a second, whatever the core computes, and it works as before afterwards."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from cascade import _native

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")

AFTER, WITHIN = 0.2, 0.5  # seconds


class AlarmError(Exception):
    pass


@contextmanager
def alarm() -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, AFTER)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_interrupted(call: Callable[[], Any]) -> None:
    """By processor time, which no other program takes away."""
    start = time.process_time()
    with alarm(), pytest.raises(AlarmError):
        call()
    assert time.process_time() - start < AFTER + WITHIN


@pytest.mark.parametrize("mode", ["union", "min"])
def test_suppression_of_boxes_on_one_another(mode: str) -> None:
    """At a threshold of 1 none is suppressed, so that every box is compared with every other."""
    boxes = np.tile(np.float32([3, 4, 50, 60]), (200_000, 1))
    overlaps = [(1.0, mode)]
    is_interrupted(lambda: _native.candidates(boxes, np.zeros_like(boxes), np.zeros(len(boxes)), -np.inf, overlaps))
    kept, _, _ = _native.candidates(boxes[:9], np.zeros((9, 4)), np.zeros(9), -np.inf, overlaps)
    assert kept.tolist() == list(range(9))


def test_voting_of_boxes_on_one_another() -> None:
    boxes = np.tile(np.float32([3, 4, 50, 60]), (100_000, 1))
    zeros = np.zeros(len(boxes))
    is_interrupted(lambda: _native.vote(boxes, boxes, np.zeros_like(boxes), zeros, 0.5))


def test_sorting() -> None:
    boxes = np.tile(np.float32([3, 4, 50, 60]), (4_000_000, 1))
    scores = np.random.default_rng(0).normal(size=len(boxes)).astype(np.float32)
    deltas = np.zeros_like(boxes)

    def sort_often() -> None:
        for _ in range(20):
            _native.candidates(boxes, deltas, scores, -np.inf, [(0.5, "union")], "scalar")

    is_interrupted(sort_often)


@pytest.mark.parametrize("threads", [1, 2])
def test_loops_of_a_thread_pool(threads: int) -> None:
    weight = np.full((32, 3, 12, 12), 0.01, np.float32)
    layer = {"kind": "conv", "stride": 1, "weight": weight, "bias": np.zeros(32), "slope": np.zeros(32)}
    network, pool = _native.Network([layer], 12, "scalar"), _native.ThreadPool(threads)
    image = np.full((3000, 3000, 3), 77, np.uint8)
    expected = network.dense_scan(image[:60, :60], 0, -np.inf, pool)
    is_interrupted(lambda: network.dense_scan(image, 0, np.inf, pool))
    np.testing.assert_array_equal(network.dense_scan(image[:60, :60], 0, -np.inf, pool), expected)
    crops = np.zeros((40_000, 12, 12, 3), np.uint8)
    is_interrupted(lambda: [network.forward(crops, pool) for _ in range(50)])
