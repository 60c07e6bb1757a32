"""Work dealt out to threads: all of it, in order, with memory of one's own, and no thread left waiting."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from cascade import _native
from cascade.engines.bands import KeptLevel, levels_when_wanted
from cascade.engines.making import Making
from cascade.engines.workers import Workers


@pytest.fixture(params=[1, 2, 5])
def workers(request: pytest.FixtureRequest) -> Workers:
    return Workers(request.param)


def squares(workers: Workers, numbers: Sequence[int]) -> list[int]:
    return workers.map(lambda number, _: number * number, numbers)


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_results_come_in_the_order_of_the_items(workers: Workers, count: int) -> None:
    assert squares(workers, range(count)) == [number * number for number in range(count)]


def test_several_threads_work_at_a_time() -> None:
    """Each of two items waits for the other, which would never end in one thread."""
    met = threading.Barrier(2)
    assert Workers(2).map(lambda _, __: met.wait(30), range(2)) != []


def test_an_item_may_wait_for_an_earlier_one(workers: Workers) -> None:
    done = [Event() for _ in range(20)]

    def work(index: int, workspace: _native.Workspace) -> int:
        assert index == 0 or done[index - 1].wait(30)
        done[index].set()
        return index

    assert workers.map(work, range(20)) == list(range(20))


def test_nobody_shares_memory_at_a_time_and_no_more_is_kept_than_threads(workers: Workers) -> None:
    busy: set[int] = set()

    def work(index: int, workspace: _native.Workspace) -> None:
        assert id(workspace) not in busy
        busy.add(id(workspace))
        time.sleep(0.001)
        busy.remove(id(workspace))

    for _ in range(3):
        workers.map(work, range(20))
    assert 1 <= len(workers.workspaces) <= workers.threads


def test_work_within_work_stays_in_its_thread_and_memory(workers: Workers) -> None:
    def outer(index: int, workspace: _native.Workspace) -> bool:
        here = (threading.get_ident(), id(workspace))
        return workers.map(lambda _, inner: (threading.get_ident(), id(inner)), range(3)) == [here] * 3

    assert all(workers.map(outer, range(8)))
    assert squares(workers, range(4)) == [0, 1, 4, 9]


@pytest.mark.parametrize("wrong", [0, 7, 19])
def test_a_failure_is_raised_and_the_workers_go_on(workers: Workers, wrong: int) -> None:
    def work(index: int, workspace: _native.Workspace) -> int:
        if index == wrong:
            raise ArithmeticError(f"item {index}")
        return index

    for _ in range(3):
        with pytest.raises(ArithmeticError, match=f"item {wrong}"):
            workers.map(work, range(20))
    assert squares(workers, range(20))[wrong] == wrong * wrong
    assert len(workers.workspaces) <= workers.threads


def test_nothing_is_begun_once_one_has_failed() -> None:
    """Whichever thread it is that fails: here the one that is not the caller."""
    caller, begun = threading.get_ident(), []
    failed = Event()

    def work(index: int, workspace: _native.Workspace) -> None:
        begun.append(index)
        if threading.get_ident() == caller:
            failed.wait(30)
            time.sleep(0.05)
        else:
            failed.set()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        Workers(2).map(work, range(200))
    assert len(begun) <= 2


def test_an_error_comes_out_when_all_threads_are_done() -> None:
    working, others = threading.Barrier(3), []

    def work(index: int, workspace: _native.Workspace) -> None:
        working.wait(30)
        if index:
            time.sleep(0.1 * index)
            others.append(index)
        else:
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        Workers(3).map(work, range(3))
    assert others == [1, 2]


def test_more_callers_than_threads_do_not_block_each_other(workers: Workers) -> None:
    with ThreadPoolExecutor(8) as callers:
        for found in callers.map(lambda _: squares(workers, range(50)), range(40)):
            assert found == [number * number for number in range(50)]
    assert len(workers.workspaces) <= workers.threads


def _in_child(workers: Workers, answers: multiprocessing.SimpleQueue[list[int]]) -> None:
    answers.put(squares(workers, range(10)))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_a_fork_starts_threads_of_its_own(workers: Workers) -> None:
    expected = squares(workers, range(10))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(workers, answers))
    child.start()
    assert answers.get() == expected
    child.join(30)
    assert child.exitcode == 0


# Levels that are made meanwhile


def halves(photo: np.ndarray, count: int) -> list[KeptLevel]:
    """Levels of half the size of the one before."""
    sizes = [(photo.shape[1] >> level, photo.shape[0] >> level) for level in range(1, count + 1)]
    return [level for level in levels_when_wanted(photo, sizes, halve) if isinstance(level, KeptLevel)]


def halve(band: np.ndarray, top: int, rows: int, shape: tuple[int, ...], target: np.ndarray, first: int) -> None:
    """Every other pixel."""
    start = 2 * first - top
    target[:] = band[start : start + 2 * len(target) : 2, ::2][:, : shape[1]]


def test_levels_are_there_once_they_are_asked_for() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    for threads in (2, 3, 4, 100):
        making = Making(list(halves(photo, 3)), threads)
        making.begin()
        np.testing.assert_array_equal(making.level(0), photo[::2, ::2])
        making.finish()
        np.testing.assert_array_equal(making.level(1), photo[::4, ::4])
        np.testing.assert_array_equal(making.level(2), photo[::8, ::8])


def test_who_waits_takes_over_where_the_maker_failed() -> None:
    """As after Ctrl-C in the thread that made it."""
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    levels, began = halves(photo, 2), Event()

    def interrupted(*arguments: object) -> None:
        began.set()
        time.sleep(0.1)
        levels[1]._make = halve
        raise KeyboardInterrupt

    levels[1]._make = interrupted
    making = Making(list(levels), 2)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(making.finish)
        assert began.wait(30)
        np.testing.assert_array_equal(making.level(1), photo[::4, ::4])
        assert isinstance(first.exception(30), KeyboardInterrupt)


def test_a_level_that_cannot_be_made_leaves_nobody_waiting() -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no memory for a level")

    photo = np.zeros((64, 96, 3), np.uint8)
    levels = halves(photo, 3)
    levels[1]._make = levels[2]._make = fail
    making = Making(list(levels), 2)
    making.begin()
    waiting = ThreadPoolExecutor(1)
    answer = waiting.submit(making.level, 2)
    with pytest.raises(MemoryError, match="no memory for a level"):
        making.finish()
    with pytest.raises(MemoryError, match="no memory for a level"):
        answer.result(30)


def test_no_levels_need_no_making() -> None:
    making = Making([], 2)
    making.begin()
    making.finish()
