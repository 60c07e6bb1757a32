"""Batches prepared in the background: the right ones, one ahead, and no thread left."""

from __future__ import annotations

import threading

import pytest

from train.common.prefetch import Prefetcher


def test_the_next_step_is_prepared_ahead():
    prepared, second = [], threading.Event()

    def prepare(step: int) -> str:
        prepared.append(step)
        if step == 1:
            second.set()
        return f"batch {step}"

    batches = Prefetcher(prepare)
    assert batches.take(0) == "batch 0"
    assert second.wait(10), "nobody asked for step 1 yet"
    assert [batches.take(step) for step in (1, 2)] == ["batch 1", "batch 2"]
    batches.close()
    assert prepared[:3] == [0, 1, 2]


def test_another_step_than_the_next_is_prepared_anew():
    batches = Prefetcher(lambda step: step)
    assert [batches.take(step) for step in (0, 7, 3, 4)] == [0, 7, 3, 4]
    batches.close()


def test_an_error_comes_with_the_batch_that_has_it():
    batches = Prefetcher(lambda step: 1 // (step - 1))
    assert batches.take(0) == -1
    with pytest.raises(ZeroDivisionError):
        batches.take(1)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare")]
