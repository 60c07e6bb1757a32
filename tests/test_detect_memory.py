"""The memory of a detector, which does not grow, and its threads, which do not work between calls.

Memory is measured in fresh processes, where nothing else has left holes or peaks.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from cascade.detect import Detector
from cascade.engines.native import NativeEngine
from tests.photos import portrait

Result = TypeVar("Result")
Folder = Callable[[str], Path]

MEGABYTE = 1_000_000
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells how much memory is in use")


def in_fresh_process(work: Callable[..., Result], *arguments: object) -> Result:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def resident(field: str = "VmRSS") -> int:
    """Bytes of this process in memory; VmHWM: the most so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def tiles(width: int, height: int) -> np.ndarray:
    """The portrait again and again, without a second large array on the way."""
    image = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, 512):
        for left in range(0, width, 512):
            part = image[top : top + 512, left : left + 512]
            part[:] = portrait()[: part.shape[0], : part.shape[1]]
    return image


# Frame after frame


def resident_over_frames(folder: Path, threads: int, sizes: np.ndarray, min_face: float) -> np.ndarray:
    """Bytes in memory after a frame of each of the sizes (n, 2), width and height."""
    detector = Detector(min_face=min_face, weights=folder, threads=threads)
    scene, found = tiles(640, 480), np.zeros(len(sizes), np.int64)
    for i, (width, height) in enumerate(sizes):
        detector.detect(scene[:height, :width])
        found[i] = resident()
    return found


@needs_proc
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_flat_over_frames_of_mixed_sizes(random_weights: Folder, threads: int) -> None:
    sizes_in_turn = [(320, 240), (240, 320), (320, 100), (200, 200), (64, 240), (33, 57), (12, 12), (1, 1), (300, 7)]
    sizes = np.random.default_rng(0).permutation(np.resize(sizes_in_turn, (90, 2)))
    found = in_fresh_process(resident_over_frames, random_weights("default"), threads, sizes, 20)
    assert found[60:].max() - found[:30].max() < 4 * MEGABYTE


@needs_proc
@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.skipif("CASCADE_ENDURANCE" not in os.environ, reason="takes minutes; CASCADE_ENDURANCE=1 runs it")
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_flat_over_ten_thousand_frames(random_weights: Folder, threads: int) -> None:
    """The first frames show how much frames of such sizes need, of which there are more than frames."""
    sizes = np.random.default_rng(0).integers(1, [641, 481], (10_000, 2))
    found = in_fresh_process(resident_over_frames, random_weights("default"), threads, sizes, 40)
    assert found[9000:].max() - found[:3000].max() < 4 * MEGABYTE


def faults_over_frames(folder: Path, threads: int, count: int) -> list[int]:
    """Pages that each of so many frames of the same size had to be given."""
    import resource  # not on every system

    detector = Detector(weights=folder, threads=threads)
    scene, found = tiles(640, 480), []
    for _ in range(count):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        detector.detect(scene)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux counts them")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_frame_needs_no_new_pages(random_weights: Folder, threads: int) -> None:
    """The first frame takes hundreds of pages for pyramid and workspaces, or tens if some are huge; later ones none.

    With threads it can take some frames until each of them has done every kind of work.
    """
    found = in_fresh_process(faults_over_frames, random_weights("default"), threads, 20)
    assert found[0] > 10
    assert np.median(found[8:]) <= 2


@pytest.mark.parametrize("threads", [1, 2])
def test_only_the_workspaces_stay_in_memory(random_weights: Folder, threads: int) -> None:
    detector, scene = Detector(weights=random_weights("default"), threads=threads), tiles(320, 240)
    assert isinstance(detector.engine, NativeEngine)
    pool = detector.engine.pool
    tracemalloc.start()
    try:
        for _ in range(10):
            detector.detect(scene)
        before, largest = tracemalloc.get_traced_memory()[0], pool.nbytes
        for _ in range(30):
            detector.detect(scene)
        # a frame's pyramid alone takes 200 kB, and numbers that Python keeps come and go
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
    assert pool.nbytes == largest > 0


# Large images


def extra_memory(width: int, height: int) -> tuple[int, int, int]:
    """The most bytes beside the image while it is scanned, the bytes that stay, and the number of faces."""
    image = tiles(width, height)
    detector = Detector(threads=1)
    detector.detect(image[:480, :640])
    before = resident()
    found = len(detector.detect(image))
    return resident("VmHWM") - before, resident() - before, found


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("size", [(12_500, 8_000), (65_000, 600)])
def test_what_a_large_photo_adds_is_bounded(size: tuple[int, int]) -> None:
    """Its levels alone would take 217 MB, and the maps of a whole row of the widest level 98 MB."""
    extra, stays, found = in_fresh_process(extra_memory, *size)
    assert extra < 100 * MEGABYTE
    assert stays < 50 * MEGABYTE
    assert found > 100


# Between calls


def idle_and_busy_seconds(folder: Path) -> tuple[float, float]:
    """Seconds of CPU in half a second after a call, and those that a busy thread gets in as long."""
    detector = Detector(weights=folder, threads=2)
    detector.detect(tiles(640, 480))
    before = time.process_time()
    time.sleep(0.5)
    idle = time.process_time() - before
    before, end = time.process_time(), time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    return idle, time.process_time() - before


def test_an_idle_detector_does_no_work(random_weights: Folder) -> None:
    idle, busy = in_fresh_process(idle_and_busy_seconds, random_weights("default"))
    assert idle < 0.2 * busy
