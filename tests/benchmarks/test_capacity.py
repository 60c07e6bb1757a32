"""Separate processes that detect at the same time: what they measure, and how they end."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import pytest

from benchmarks import capacity
from benchmarks.capacity import Processes, WorkerError, own_cores
from benchmarks.machine import cores
from benchmarks.scenes import compose
from cascade.detect import Detector

SETTINGS = {"min_face": 20.0}
TWO_CORES = pytest.mark.skipif(cores() < 2, reason="needs two cores")
CAN_PIN = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no process to a core")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def image():
    return compose(1, 160, 120).image


def ended(pid):
    """Whether a process has ended, be it still in the table of processes."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_each_process_is_timed_and_the_processes_end_with_the_context(image):
    with Processes(2, image, SETTINGS) as processes:
        started = active_children()
        assert len(started) == 2
        for count in (1, 2, 2):
            assert 0 < processes.time(count) < 1e4
    assert active_children() == []


def test_processes_end_with_an_exception(image):
    with pytest.raises(KeyboardInterrupt), Processes(1, image, SETTINGS):
        raise KeyboardInterrupt
    assert active_children() == []


@CAN_PIN
def test_processes_on_one_core_share_it(image, monkeypatch):
    """Two that are timed together take twice as long: they do run at the same time, for as long as one is timed."""
    monkeypatch.setattr(capacity, "own_cores", lambda count: [min(os.sched_getaffinity(0))] * count)
    monkeypatch.setattr(capacity, "DETECTIONS", 40)  # many turns on the core
    with Processes(2, image, SETTINGS) as processes:
        ratios = [processes.time(1) / processes.time(2) for _ in range(7)]
    assert 0.6 < statistics.median(ratios) < 1.4


def test_a_process_is_at_work_until_it_is_told_to_stop(monkeypatch):
    """Its own detections are timed, those before and after only keep its core busy."""
    log = []

    class Scripted:
        """The end of a pipe: three detections are asked for, told to stop at the third look, then it goes."""

        requests, looks = iter([3, 0]), iter([False, False, True])

        def recv(self):
            return next(self.requests)

        def poll(self):
            return next(self.looks)

        def send(self, answer):
            log.append(answer)

    class Logged:
        def __init__(self, **settings):
            log.append(settings)

        def detect(self, image):
            log.append(image)

    monkeypatch.setattr(capacity, "Detector", Logged)
    monkeypatch.setattr(capacity.signal, "signal", lambda *signals: None)
    monkeypatch.setattr(capacity.time, "perf_counter", iter([1.0, 1.6]).__next__)
    capacity.serve(Scripted(), None, "photo", SETTINGS)
    answers = [at for at, each in enumerate(log) if each != "photo"]
    assert log[0] == {**SETTINGS, "threads": 1} and log[answers[1]] == log[answers[3]] == 0
    assert log[answers[2]] == pytest.approx(200)  # ms: 0.6 s for three
    assert answers[:4] == [0, 2, 7, 10]  # ready after one; 1 + 3; two more


def test_the_rate_is_that_of_all_together(image, monkeypatch):
    processes = Processes(3, image, SETTINGS)
    told = []
    monkeypatch.setattr(processes, "_tell", lambda at, request: told.append((at, request)))
    answers = iter([2.0, 4.0, 4.0, 0.0, 0.0, 0.0])
    monkeypatch.setattr(processes, "_answer", lambda at: next(answers))
    assert processes.time(3) == pytest.approx(1.0)  # 500 + 250 + 250 a second
    assert told == [(at, request) for request in (capacity.DETECTIONS, 0) for at in range(3)]


@TWO_CORES
@CAN_PIN
def test_every_process_has_a_core_of_its_own(image):
    with Processes(2, image, SETTINGS):
        taken = [os.sched_getaffinity(process.pid) for process in active_children()]
    assert [len(each) for each in taken] == [1, 1] and len(set.union(*taken)) == 2
    assert set.union(*taken) <= os.sched_getaffinity(0)


@CAN_PIN
def test_physical_cores_come_before_their_second_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3, 6, 7})
    monkeypatch.setattr(capacity, "_physical", lambda core: f"{core // 2 * 2}-{core // 2 * 2 + 1}")
    assert own_cores(3) == [0, 2, 6]
    assert own_cores(5) == [0, 2, 6, 1, 3]
    assert own_cores(7) == [None] * 7


def test_where_the_system_pins_none_it_chooses(image, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert own_cores(2) == [None, None]
    with Processes(1, image, SETTINGS) as processes:
        assert processes.time(1) > 0


def test_this_process_rests_while_they_work(image):
    detector = Detector(threads=2)  # its second thread must rest too
    with Processes(1, image, SETTINGS) as processes:
        detector.detect(image)
        began, worked = time.perf_counter(), time.process_time()
        for _ in range(20):
            processes.time(1)
        assert time.process_time() - worked < 0.3 * (time.perf_counter() - began)


@pytest.mark.parametrize("while_at_it", [False, True])
def test_a_process_that_is_killed_is_named(image, monkeypatch, while_at_it):
    with Processes(2, image, SETTINGS) as processes:
        victim = processes._workers[1][0]
        if while_at_it:
            monkeypatch.setattr(capacity, "DETECTIONS", 10**7)
            processes._tell(1, capacity.DETECTIONS)
            time.sleep(0.1)
        os.kill(victim.pid, signal.SIGKILL)
        monkeypatch.setattr(capacity, "DETECTIONS", 2)
        with pytest.raises(WorkerError, match=r"process 2 of the 2 .* ended with signal 9 "):
            processes.time(2)
    assert active_children() == []


def test_what_fails_in_a_process_is_said(image):
    with pytest.raises(WorkerError, match=r"process 1 of the 2 .* failed: ValueError: .*min_face"):
        Processes(2, image, {"min_face": -1.0}).__enter__()
    assert active_children() == []


def test_a_process_that_gives_no_answer_is_not_waited_for_forever(image, monkeypatch):
    with Processes(1, image, SETTINGS) as processes:
        monkeypatch.setattr(capacity, "PATIENCE", 0.2)
        os.kill(processes._workers[0][0].pid, signal.SIGSTOP)
        with pytest.raises(WorkerError, match=r"process 1 of the 1 .* no answer within 0.2 s"):
            processes.time(1)
    assert active_children() == []


def test_a_process_that_cannot_be_started_is_said(image, monkeypatch):
    def start(self):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", start)
    with pytest.raises(WorkerError, match=r"process 1 of the 1 .* cannot be started: .*temporarily unavailable"):
        Processes(1, image, SETTINGS).__enter__()


PARENT = """
import multiprocessing, time
from benchmarks import capacity, scenes
if __name__ == "__main__":
    capacity.DETECTIONS = {detections}
    with capacity.Processes(2, scenes.compose(1, 160, 120).image, {{"min_face": 20.0}}) as processes:
        print(*(each.pid for each in multiprocessing.active_children()), flush=True)
        while True:
            processes.time(2) if {detections} else time.sleep(1)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("detections", [0, 5])
def test_no_process_outlives_one_that_is_killed(tmp_path, detections):
    file = tmp_path / "parent.py"
    file.write_text(PARENT.format(detections=detections))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2 and not any(map(ended, pids))
        parent.kill()
    patience = time.monotonic() + 20
    while not all(map(ended, pids)) and time.monotonic() < patience:
        time.sleep(0.05)
    assert all(map(ended, pids))
