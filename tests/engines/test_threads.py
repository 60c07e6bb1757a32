"""Thread pools: the same bytes for any number of threads, no deadlock, nothing left behind."""

from __future__ import annotations

import gc
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks.random_graph import light_graph, random_tensors
from benchmarks.random_layers import random_layers
from cascade import _native
from cascade.detect import Detector
from cascade.engines.native import NativeEngine
from cascade.engines.threads import Threads
from cascade.models.detector import load_detector
from cascade.nn.architectures import ARCHITECTURES, Stage
from cascade.nn.graphs import native_nodes

Answer = list[np.ndarray]


@pytest.fixture(params=[1, 2, 5])
def workers(request: pytest.FixtureRequest) -> Threads:
    return Threads(request.param)


@contextmanager
def pool_of(threads: int, at_end: Callable[[], None] = lambda: None) -> Iterator[_native.ThreadPool]:
    """A pool whose workers have been started; each calls ``at_end`` when it ends."""
    pool = _native.ThreadPool(threads)

    def work(index: int) -> None:
        pool.work(index)
        at_end()

    workers = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(threads - 1)]
    for worker in workers:
        worker.start()
    try:
        yield pool
    finally:
        pool.close()
        for worker in workers:
            worker.join(30)
        assert not any(worker.is_alive() for worker in workers)


@cache
def network(stage: Stage, level: str | None = None) -> _native.Network:
    architecture = ARCHITECTURES["default"][stage]
    return _native.Network(random_layers(architecture), architecture.input_size, level)


@cache
def graph(level: str | None = None) -> _native.Graph:
    light = light_graph()
    nodes = native_nodes(light, random_tensors(light))
    return _native.Graph(nodes, light.input_size, list(light.outputs.values()), level)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def boxes(count: int) -> np.ndarray:
    corners = np.random.default_rng(0).uniform(-20, 200, (count, 2))
    return np.hstack([corners, corners + np.linspace(5, 200, count)[:, None]])


def scanned(pool: _native.ThreadPool | None = None) -> Answer:
    return network("pnet").dense_scan_levels([noise(150, 220, 3), noise(40, 50, 3)], 5, 0.0, pool)


def results(pool: _native.ThreadPool | None = None) -> Answer:
    """The results of every kind of loop."""
    photo = noise(230, 310, 3)
    levels = [np.empty((height, width, 3), np.uint8) for height, width in ((200, 270), (101, 140), (30, 45))]
    found = network("pnet").dense_scan_levels(levels, 5, 0.0, pool, photo, 0)
    classified = network("onet").classify_crops(
        _native.Crops([photo], [(1, 1)], boxes(37), network("onet").input_size), pool
    )
    answers = network("rnet").forward(noise(50, network("rnet").input_size, network("rnet").input_size, 3), pool)
    resampled = _native.resample(photo, (0, 0, 310, 230), 400, 300, pool)
    crops = _native.cut([photo], [(1, 1)], boxes(9), 24, pool)
    features = graph().run(noise(2, graph().input_size, graph().input_size, 3), pool)
    return [*levels, *found, classified, answers, resampled, crops, *features]


def assert_equal(found: Answer, expected: Answer) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


# Pools


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_bytes_do_not_depend_on_the_threads(threads: int) -> None:
    expected = results()
    assert min(len(part) for part in expected) > 0
    with pool_of(threads) as pool:
        for _ in range(3):
            assert_equal(results(pool), expected)


def test_a_pool_needs_no_workers() -> None:
    """Before they have started, and once the pool is closed."""
    pool, expected = _native.ThreadPool(5), results()
    for _ in range(2):
        assert_equal(results(pool), expected)
        pool.close()
    with pool_of(3) as closed:
        closed.close()
        assert_equal(results(closed), expected)
    assert_equal(results(closed), expected)


def test_workers_of_a_closed_pool_return_at_once() -> None:
    pool = _native.ThreadPool(3)
    pool.close()
    pool.work(0)
    pool.work(1)
    pool.wake()


LONG: dict[str, Callable[[_native.ThreadPool | None], object]] = {
    "dense_scan": lambda pool: network("pnet", "scalar").dense_scan_levels([noise(300, 400, 3)] * 3, 5, 0.0, pool),
    "classify_crops": lambda pool: network("onet", "scalar").classify_crops(
        _native.Crops([noise(99, 99, 3)], [(1, 1)], boxes(150), 56), pool
    ),
    "resample": lambda pool: _native.resample(noise(2000, 2000, 3), (0, 0, 2000, 2000), 3000, 2500, pool, "scalar"),
    "run": lambda pool: graph("scalar").run(noise(6, graph().input_size, graph().input_size, 3), pool),
}


@pytest.mark.parametrize("long", LONG.values(), ids=LONG.keys())
def test_workers_take_their_share(long: Callable[[_native.ThreadPool | None], object]) -> None:
    """Waiting takes far less than a loop of this length."""
    long(None)
    times: list[float] = []
    with pool_of(3, lambda: times.append(time.thread_time())) as pool:
        before = time.process_time()
        long(pool)
        spent = time.process_time() - before
    assert len(times) == 2 and min(times) > 0.1 * spent > 0.001


def test_workers_wake_up_for_every_loop() -> None:
    """Some loops begin while they spin, others while they sleep or have just been woken for nothing."""
    image = noise(60, 60, 3)
    expected = network("pnet").dense_scan(image, 5, 0.0)
    with pool_of(4) as pool:
        for turn in range(400):
            if turn % 5 == 0:
                time.sleep(0.0004 + turn * 1e-6)  # about as long as they spin
            if turn % 7 == 0:
                pool.wake()
            np.testing.assert_array_equal(network("pnet").dense_scan(image, 5, 0.0, pool), expected)


def at_work(thread: threading.Thread) -> None:
    """Waits until a thread has computed for a while."""
    clock = time.pthread_getcpuclockid(thread.ident or 0)
    deadline = time.monotonic() + 30
    while time.clock_gettime(clock) < 0.05 and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="needs to know what a thread is doing")
@pytest.mark.parametrize("threads", [1, 3])
def test_a_pool_serves_one_thread_at_a_time(threads: int) -> None:
    """Nor is its memory touched: the second would want more room for what it finds."""
    slow, image, answers = network("pnet", "scalar"), noise(1800, 2400, 3), list[np.ndarray]()
    expected = slow.dense_scan(image, 5, 3.0)
    channels = np.zeros((500, 3, 1, 1), np.float32)
    wide = {
        "kind": "conv",
        "stride": 1,
        "weight": channels,
        "bias": channels[:, 0, 0, 0],
        "slope": channels[:, 0, 0, 0],
    }
    others: list[Callable[[], object]] = [
        lambda: _native.Network([wide], 1).dense_scan(noise(9, 9, 3), 0, 0.0, pool),
        lambda: network("onet").forward(noise(1, 56, 56, 3), pool),
        lambda: graph().run(noise(1, graph().input_size, graph().input_size, 3), pool),
        lambda: _native.resample(image, (0, 0, 900, 700), 5, 5, pool),
    ]
    with pool_of(threads) as pool:
        slow.dense_scan(image[:200], 5, 3.0, pool)
        held = pool.nbytes
        first = threading.Thread(target=lambda: answers.append(slow.dense_scan(image, 5, 3.0, pool)))
        first.start()
        at_work(first)
        for other in others:
            other()
        # their memory is cached, but not where there is one thread
        assert first.is_alive() and (pool.nbytes > held) == (threads > 1)
        first.join(60)
        assert_equal(answers, [expected])
        assert_equal(results(pool), results())


@pytest.mark.parametrize(
    ("threads", "error"), [(0, ValueError), (-1, ValueError), (5000, ValueError), (1.5, TypeError), ("2", TypeError)]
)
def test_a_wrong_number_of_threads(threads: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^threads: expected "):
        _native.ThreadPool(threads)


@pytest.mark.parametrize(
    ("threads", "index", "error"),
    [(2, 1, ValueError), (3, 2, ValueError), (3, -1, ValueError), (3, 0.0, TypeError), (3, None, TypeError)],
)
def test_a_worker_that_does_not_exist(threads: int, index: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^index: expected "):
        _native.ThreadPool(threads).work(index)


@pytest.mark.parametrize("index", [0, 1])
def test_a_pool_of_one_has_no_workers(index: int) -> None:
    """In a process of its own, which would not survive one."""
    code = f"""
from cascade import _native
try:
    _native.ThreadPool(1).work({index})
except ValueError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0 and ended.stdout.startswith("index: expected ")


# Threads


_others: list[threading.Thread] = []


@pytest.fixture(autouse=True)
def threads_of_others() -> None:
    """Those that were there before a test are none of its business."""
    _others[:] = threading.enumerate()


def own_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in _others and thread.name.startswith("cascade-")]


def names() -> list[str]:
    return sorted(thread.name for thread in own_threads())


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_threads_start_with_the_first_call(workers: Threads) -> None:
    assert not names()
    for _ in range(3):
        assert workers.pool.threads == workers.threads
        workers.pool.wake()
        assert names() == [f"cascade-{n}" for n in range(1, workers.threads)]
    assert all(thread.daemon for thread in own_threads())


def test_many_callers_neither_block_nor_mix(workers: Threads) -> None:
    """Nor do they leave more memory behind than that of a call for each thread."""
    expected, met, alone = results(), threading.Barrier(8), _native.ThreadPool()
    results(alone)

    def call(_: int) -> Answer:
        met.wait(30)
        return results(workers.pool)

    with ThreadPoolExecutor(8) as callers:
        for found in callers.map(call, range(40)):
            assert_equal(found, expected)
    assert workers.pool.nbytes <= (2 * workers.threads - 1) * alone.nbytes
    assert len(names()) == workers.threads - 1


def test_first_callers_start_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though all of them find that there is none."""
    expected, make, workers = scanned(), _native.ThreadPool, Threads(3)
    met, found_none = threading.Barrier(6), threading.Barrier(6)

    def held_up(*arguments: int) -> _native.ThreadPool:
        with suppress(threading.BrokenBarrierError):
            found_none.wait(0.2)
        return make(*arguments)

    def call(_: int) -> Answer:
        met.wait(30)
        return scanned(workers.pool)

    monkeypatch.setattr(_native, "ThreadPool", held_up)
    with ThreadPoolExecutor(6) as callers:
        for found in callers.map(call, range(6)):
            assert_equal(found, expected)
    assert names() == ["cascade-1", "cascade-2"]


def test_an_interrupted_start_leaves_a_pool_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    workers = Threads(3)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scanned(workers.pool)
    pool = workers.pool
    assert_equal(scanned(pool), scanned())
    assert workers.pool is pool and pool.nbytes > 0


def test_where_no_thread_can_be_had_fewer_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert_equal(scanned(Threads(3).pool), scanned())
    assert not names()


def used_workers() -> object:
    workers = Threads(4)
    scanned(workers.pool)
    return workers


def used_engine() -> object:
    engine = NativeEngine(load_detector(), 3)
    engine.dense_scan(noise(90, 90, 3), 0.0)
    return engine


def used_detector() -> object:
    detector = Detector(threads=2)
    detector.detect(noise(90, 90, 3))
    return detector


@pytest.mark.parametrize("asleep", [False, True])
@pytest.mark.parametrize("used", [used_workers, used_engine, used_detector])
def test_threads_end_with_what_they_belong_to(used: Callable[[], object], asleep: bool) -> None:
    owner = used()
    if asleep:
        time.sleep(0.05)
    assert names()
    del owner
    gc.collect()
    assert wait_until(lambda: not names())


def test_idle_threads_take_no_time() -> None:
    owner = used_workers()
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.05
    assert len(names()) == 3
    del owner


# Forks


def _in_child(workers: Threads, answers: Any) -> None:
    before = names()
    found = scanned(workers.pool)
    answers.send((before, names(), found))


def test_after_a_fork_nothing_keeps_the_pool_of_the_ancestor(monkeypatch: pytest.MonkeyPatch) -> None:
    workers, held_here = Threads(1), object()
    pool = workers.pool
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert workers.pool is not pool
    gc.collect()
    assert sys.getrefcount(pool) == sys.getrefcount(held_here)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
@pytest.mark.parametrize("busy", [False, True])
def test_a_fork_has_threads_of_its_own(workers: Threads, busy: bool) -> None:
    """Also where the pool is at work at that moment."""
    expected, context, pool = scanned(), multiprocessing.get_context("fork"), workers.pool
    slow, image = network("pnet", "scalar"), noise(700, 900, 3)
    scanned(pool)

    def keep_on() -> None:
        while not over.is_set():
            slow.dense_scan(image, 5, 3.0, pool)

    for _ in range(3):
        over = threading.Event()
        here, there = context.Pipe(False)
        child = context.Process(target=_in_child, args=(workers, there))
        work = threading.Thread(target=keep_on)
        if busy:
            work.start()
            at_work(work)
        child.start()
        assert here.poll(60)
        before, after, found = here.recv()
        assert (before, after) == ([], [f"cascade-{n}" for n in range(1, workers.threads)])
        assert_equal(found, expected)
        child.join(60)
        assert child.exitcode == 0
        over.set()
        if busy:
            work.join(60)
        assert workers.pool is pool
        assert_equal(scanned(pool), expected)


# The end of the interpreter

START = """
import sys, threading, time
import numpy as np
from cascade.detect import Detector
detector = Detector(threads=3)
image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
detector.detect(image)
def work():
    while True:
        detector.detect(image)
background = threading.Thread(target=work, daemon=True)
def last():
    detector.detect(image)
    print(time.time())
"""
ENDS = {
    "at once": "",
    "asleep": "time.sleep(0.1)",
    "exit": "sys.exit()",
    "working": "background.start(); time.sleep(0.2)",
    "exit while working": "background.start(); time.sleep(0.2); sys.exit()",
    "exit between": "background.start(); time.sleep(0.2); detector.detect(image); sys.exit()",
    "in a thread that outlives the first": "threading.Thread(target=lambda: (time.sleep(0.1), last())).start()",
    "collected before": "del detector, work, background, last; time.sleep(0.1)",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_the_interpreter_ends_at_once_and_in_silence(end: str) -> None:
    code = f"{START}\nprint(time.time(), flush=True)\n{end}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert time.time() - float(ended.stdout.split()[-1]) < 5
