"""Indexing an archive: photos a second beside bare loops in as many processes, and the memory of all over time.

The photos are made by varying real ones: crops, sizes, mirror images, JPEG qualities. The bare loops read, detect and
embed, and keep nothing. Both go by turns over parts of the photos, so that a machine that slows down slows both; the
bare loops take a fifth of each part.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread

from PIL import Image

from cascade.archive.indexing import run_plan
from cascade.archive.photos import PhotoIndexer
from cascade.archive.plan import Plan
from cascade.archive.store import Store
from cascade.imaging.errors import ImageError
from cascade.imaging.reading import read_image

__all__ = ["Round", "measure", "summary", "vary"]

PER_PHOTO = 8
"""Variants of each real photo."""
SIDES = (240, 480)  # pixels of the longer side
PER_FOLDER = 500
SAMPLE_SECONDS = 1.0
SAMPLE_PHOTOS = 25
LOOPS_TAKE = 5
"""Of so many photos the bare loops take one."""


def vary(sources: Sequence[Path], out: Path, count: int, seed: int = 7) -> None:
    """Writes ``count`` photos to folders below ``out``, unless they are there. Photos that cannot be read are left out.

    Raises ValueError where not one can be read, and OSError.
    """
    if _path(out, count - 1).exists():
        return
    numbers, made = random.Random(seed), 0
    while made < count:
        before = made
        for source in sources:
            try:
                with Image.open(source) as image:
                    image.draft("RGB", (800, 800))
                    photo = image.convert("RGB")
            except OSError:
                continue
            photo.thumbnail((640, 640))
            for _ in range(min(PER_PHOTO, count - made)):
                _variant(photo, _path(out, made), numbers)
                made += 1
        if made == before:
            raise ValueError("sources: expected photos that can be read, found none")


def _path(out: Path, number: int) -> Path:
    return out / f"{number // PER_FOLDER:04}" / f"{number:07}.jpg"


def _variant(photo: Image.Image, path: Path, numbers: random.Random) -> None:
    share, side, quality = numbers.uniform(0.6, 1), numbers.randint(*SIDES), numbers.randint(60, 95)
    width, height = (max(1, int(each * share)) for each in photo.size)
    left, top = numbers.randint(0, photo.width - width), numbers.randint(0, photo.height - height)
    mirrored = numbers.random() < 0.5
    if path.exists():
        return
    crop = photo.crop((left, top, left + width, top + height))
    crop.thumbnail((side, side))
    path.parent.mkdir(parents=True, exist_ok=True)
    (crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else crop).save(path, quality=quality)


@dataclass
class Round:
    """Photos a second of both, their processor time a photo, and the memory of the index."""

    index: float
    loops: float
    index_cpu: float
    """Seconds of a processor for a photo, of all processes together, without their start."""
    loops_cpu: float
    megabytes: list[float] = field(default_factory=list)
    """Resident memory of all processes together, second by second."""


def measure(
    photos: Sequence[bytes], folder: Path, indexer: PhotoIndexer, processes: int, rounds: int
) -> Iterator[Round]:
    """Goes over the photos in that many parts, each by the index, and a fifth of it by bare loops.

    Raises OSError and ValueError. The index grows in ``folder``; one run writes it from the first to the last part.
    """
    size = -(-len(photos) // rounds)
    with Store.open(folder, indexer.manifest) as store:
        for first in range(0, len(photos), size):
            part = list(photos[first : first + size])
            loops, loops_cpu = _loops(part[::LOOPS_TAKE], indexer, processes)
            index, index_cpu, megabytes = _index(part, store, indexer, processes)
            yield Round(index, loops, index_cpu, loops_cpu, megabytes)


def _index(part: list[bytes], store: Store, indexer: PhotoIndexer, processes: int) -> tuple[float, float, list[float]]:
    with _Memory() as memory:
        outcomes = run_plan(Plan(part), store, indexer, processes)
        for _ in range(processes):  # each has started by then
            next(outcomes)
        began, cpu = time.perf_counter(), _cpu_seconds()
        count, used = 0, float("nan")
        for count, _ in enumerate(outcomes, start=1):
            if count % SAMPLE_PHOTOS == 0:
                used = (_cpu_seconds() - cpu) / count
        rate = count / (time.perf_counter() - began)
    return rate, used, memory.megabytes


def _loops(part: list[bytes], indexer: PhotoIndexer, processes: int) -> tuple[float, float]:
    context = get_context("spawn")
    pipes, workers = [], []
    for at in range(processes):
        ours, theirs = context.Pipe()
        workers.append(context.Process(target=_loop, args=(theirs, indexer, part[at::processes]), daemon=True))
        workers[-1].start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    began = time.perf_counter()
    for pipe in pipes:
        pipe.send("go")
    used = sum(pipe.recv() for pipe in pipes)
    rate = len(part) / (time.perf_counter() - began)
    for worker in workers:
        worker.join()
    return rate, used / len(part)


def _loop(pipe: Connection, indexer: PhotoIndexer, part: Iterable[bytes]) -> None:
    """What a bare loop does."""
    recognizer = indexer.recognizer
    pipe.send("ready")
    pipe.recv()
    began = time.process_time()
    for path in part:
        try:
            pixels = read_image(os.fsdecode(path))
        except ImageError:
            continue
        recognizer.embed(pixels, recognizer.detector.detect(pixels))
    pipe.send(time.process_time() - began)


def _cpu_seconds() -> float:
    """Processor time of this process and its children, by Linux's /proc."""
    ticks = 0
    for process in _processes():
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _processes() -> list[int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [os.getpid(), *map(int, children)]


class _Memory:
    """Notes the resident memory of this process and its children, second by second, by Linux's /proc."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []
        self._end = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        main = os.getpid()
        while not self._end.wait(SAMPLE_SECONDS):
            pages = 0
            for process in {main, *map(int, Path(f"/proc/{main}/task/{main}/children").read_text().split())}:
                try:
                    pages += int(Path(f"/proc/{process}/statm").read_text().split()[1])
                except OSError:  # it has ended
                    continue
            self.megabytes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def summary(rounds: Sequence[Round], photos: int, processes: int) -> str:
    """What was measured, in a few lines."""
    rates = statistics.median(each.index for each in rounds)
    ratio = statistics.median(each.index / each.loops for each in rounds)
    cpu = statistics.median(each.loops_cpu / each.index_cpu for each in rounds)
    parts = [statistics.median(each.megabytes) for each in rounds if each.megabytes]
    growth = max((after - before for before, after in pairwise(parts)), default=0.0)
    return (
        f"{photos:,} photos by {processes} processes: {rates:.3g} photos/s (median of {len(rounds)} rounds)\n"
        f"rate over that of as many bare loops: {ratio:.2f}; by processor time: {cpu:.2f}\n"
        f"memory of all processes: {parts[0]:,.0f} MB in the first round, {parts[-1]:,.0f} MB in the last, at most "
        f"{growth:,.0f} MB more than in the round before"
    )
