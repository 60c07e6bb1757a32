"""Time against pixels, smallest face, number of faces and threads: one changed at a time, on composed scenes.

Every point is timed once a round, so that a machine that slows down slows all of them. Beside each number of threads
that there are cores for, as many processes of one thread each are timed in the same round: what the cores give.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.capacity import Processes, milliseconds
from benchmarks.machine import cores
from benchmarks.scenes import compose, grid
from benchmarks.timing import ratio
from cascade.detect import Detector
from cascade.imaging.pyramid import level_sizes
from cascade.imaging.reading import RGBImage
from cascade.models.detector import DetectorWeights
from cascade.nn.architectures import Architecture
from eval.report.files import table as text_table

__all__ = [
    "AMOUNTS",
    "HEADER",
    "Given",
    "Line",
    "Point",
    "Result",
    "fit",
    "given",
    "given_sentences",
    "lines",
    "measure",
    "points",
    "sentence",
    "speed_up",
    "table",
]

HEADER = (
    *("changed", "width", "height", "megapixels", "pyramid_megapixels", "min_face", "faces", "faces_found"),
    *("threads", "median_ms", "ms_per_megapixel", "processes_median_ms"),
)

AMOUNTS = {"pixels": "megapixels", "min_face": "megapixels of the pyramid", "faces": "faces"}
"""What the time should grow with in a straight line, by what is changed. Threads have no such line."""

# What the points have that do not change it.
MIN_FACE, FACES, THREADS = 20.0, 6, 1


@dataclass(frozen=True)
class Point:
    """One thing to time: ``changed`` is "pixels", "min_face", "faces" or "threads". Sizes are in pixels."""

    changed: str
    width: int
    height: int
    min_face: float = MIN_FACE
    faces: int = FACES
    threads: int = THREADS
    cells: tuple[int, int] | None = None

    @property
    def megapixels(self) -> float:
        """Millions of pixels of the scene."""
        return 1e-6 * self.width * self.height

    def scene(self) -> RGBImage:
        """The picture (height, width, 3) uint8 RGB."""
        return compose(self.faces, self.width, self.height, cells=self.cells).image


@dataclass(frozen=True, eq=False)
class Result:
    """A point's times in milliseconds, the faces found, and the millions of pixels of the pyramid that P-Net scans.

    ``processes`` has, round by round, the milliseconds of one detection at the rate of as many processes of one thread
    each together; it is empty where they were not timed.
    """

    point: Point
    pyramid_megapixels: float
    found: int
    times: list[float] = field(default_factory=list)
    processes: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median time in milliseconds."""
        return statistics.median(self.times)

    @property
    def amount(self) -> float:
        """What `AMOUNTS` names; for threads their number."""
        point = self.point
        amounts = {"pixels": point.megapixels, "min_face": self.pyramid_megapixels, "faces": point.faces}
        return float(amounts.get(point.changed, point.threads))

    @property
    def processes_median(self) -> float | None:
        """The median of ``processes`` in milliseconds, or None where they were not timed."""
        return statistics.median(self.processes) if self.processes else None

    def row(self) -> tuple[Any, ...]:
        """Cells under `HEADER`."""
        point = self.point
        pixels = (point.width, point.height, point.megapixels, self.pyramid_megapixels)
        counts = (point.min_face, point.faces, self.found, point.threads)
        times = (self.median, self.median / point.megapixels, self.processes_median)
        return (point.changed, *pixels, *counts, *times)


@dataclass(frozen=True)
class Line:
    """A least-squares line, in milliseconds: ``intercept`` + ``slope`` · amount, and how well it fits, R² (1: exactly).

    R² is NaN where all times are equal.
    """

    slope: float
    intercept: float
    r_squared: float

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Given:
    """What as many processes as ``threads`` reach, one thread each: medians over the rounds.

    ``speed_up`` is how many times as fast as one thread they are together, None where one thread was not timed;
    ``share`` is the rate of the threads over theirs.
    """

    threads: int
    speed_up: float | None
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def thread_counts() -> list[int]:
    """1, 2, 4 … up to the cores that this process may use."""
    return [1 << k for k in range(cores().bit_length()) if 1 << k <= cores()]


def points(
    sizes: Sequence[tuple[int, int]], min_faces: Sequence[float], faces: Sequence[int], threads: Sequence[int]
) -> list[Point]:
    """Return what to time; all but the sizes (width, height) are changed at the first size.

    For the number of faces the heads are as large as the most of them allow, however few there are.
    """
    usual = sizes[0]
    cells = grid(max(faces), *usual)
    return [
        *(Point("pixels", *size) for size in sizes),
        *(Point("min_face", *usual, min_face=pixels) for pixels in min_faces),
        *(Point("faces", *usual, faces=count, cells=cells) for count in faces),
        *(Point("threads", *usual, threads=count) for count in threads),
    ]


def measure(
    points: Sequence[Point], weights: DetectorWeights, runs: int, after_each: Callable[[], object] = lambda: None
) -> list[Result]:
    """Time every point ``runs`` times, each right after an untimed detection, as in a video: caches are warm.

    Processes are timed right after the threads that they are compared with. ``after_each`` is called after every point.
    Raises `benchmarks.capacity.WorkerError` where a process fails.
    """
    scenes = {(p.width, p.height, p.faces, p.cells): p.scene() for p in points}
    ready = []
    for point in points:
        detector = Detector(min_face=point.min_face, threads=point.threads, weights=weights)
        image = scenes[point.width, point.height, point.faces, point.cells]
        seen = pyramid_megapixels(point, weights["pnet"].architecture, detector.scale_factor)
        ready.append((detector, image, Result(point, seen, len(detector.detect(image)))))
    with ExitStack() as stack:
        started = {
            alone: stack.enter_context(Processes(count, image, {"min_face": alone.min_face, "weights": weights}))
            for alone, count in most_processes(points).items()
            for image in [scenes[alone.width, alone.height, alone.faces, alone.cells]]
        }
        for _ in range(runs):
            for detector, image, result in ready:
                result.times.append(milliseconds(detector, image))
                _time_processes(result, started)
                after_each()
    return [result for _, _, result in ready]


def most_processes(points: Sequence[Point]) -> dict[Point, int]:
    """Return the most processes needed, by the point on one thread that each of them is to time.

    They are needed for every number of threads from 2 to as many as there are cores.
    """
    most: dict[Point, int] = {}
    for point in points:
        if point.changed == "threads" and 1 < point.threads <= cores():
            alone = replace(point, threads=1)
            most[alone] = max(point.threads, most.get(alone, 0))
    return most


def _time_processes(result: Result, started: Mapping[Point, Processes]) -> None:
    """Add the time of as many processes as the point has threads, if any were started for it."""
    processes, count = started.get(replace(result.point, threads=1)), result.point.threads
    if processes is not None and 1 < count <= processes.count:
        result.processes.append(processes.time(count))


def pyramid_megapixels(point: Point, pnet: Architecture, scale_factor: float) -> float:
    """Millions of pixels of all levels together."""
    sizes = level_sizes(point.width, point.height, point.min_face, None, pnet.window, scale_factor)
    return 1e-6 * sum(width * height for width, height in sizes)


def fit(amounts: Sequence[float], times: Sequence[float]) -> Line:
    """Return the line through times over at least two different amounts. Raises ValueError for fewer."""
    x, y = np.asarray(amounts, np.float64), np.asarray(times, np.float64)
    if len(x) < 2 or np.ptp(x) == 0:
        raise ValueError(f"fit: expected two different amounts or more, got {x.tolist()}")
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / np.square(x - x.mean()).sum())
    intercept = float(y.mean() - slope * x.mean())
    spread, rest = np.square(y - y.mean()).sum(), np.square(y - intercept - slope * x).sum()
    return Line(slope, intercept, float(1 - rest / spread) if spread else float("nan"))


def lines(results: Sequence[Result]) -> dict[str, Line]:
    """Return the line of each thing changed that has one and was given two values or more."""
    found = {}
    for changed in AMOUNTS:
        some = [result for result in results if result.point.changed == changed]
        if len({result.amount for result in some}) > 1:
            found[changed] = fit([result.amount for result in some], [result.median for result in some])
    return found


def sentence(changed: str, line: Line) -> str:
    """Say a line in words."""
    unit = AMOUNTS[changed].replace("megapixels", "megapixel", 1).removesuffix("s")
    return f"{changed}: {line.intercept:.1f} ms + {line.slope:.2f} ms a {unit}, R² {line.r_squared:.4f}"


def speed_up(results: Sequence[Result]) -> str | None:
    """Say how many times as fast more threads are than the first number of them, or None for one number alone.

    The median over the rounds, in each of which one number is timed right after the other.
    """
    some = [result for result in results if result.point.changed == "threads"]
    if len(some) < 2:
        return None
    times = ", ".join(f"{other.point.threads} are {ratio(other.times, some[0].times):.2f}" for other in some[1:])
    return f"threads: {times} times as fast as {some[0].point.threads}"


def given(results: Sequence[Result]) -> list[Given]:
    """Return what processes reach, for each number of threads that they were timed beside."""
    some = [result for result in results if result.point.changed == "threads"]
    alone = next((result.times for result in some if result.point.threads == 1), None)
    return [
        Given(
            result.point.threads,
            None if alone is None else ratio(result.processes, alone),
            ratio(result.times, result.processes),
        )
        for result in some
        if result.processes
    ]


def given_sentences(found: Sequence[Given]) -> list[str]:
    """Say what the cores give and how much of it the threads reach, in a line each; none where nothing is known."""
    told = []
    fast = [each for each in found if each.speed_up is not None]
    if fast:
        times = ", ".join(f"{each.threads} are {each.speed_up:.2f}" for each in fast)
        told.append(f"cores: {times} times as fast as 1".replace("are", "processes of one thread each are", 1))
    if found:
        shares = (
            f"{each.threads} reach {100 * each.share:.0f} % of what {each.threads} processes reach" for each in found
        )
        told.append(f"threads: {', '.join(shares)}")
    return told


def table(results: Sequence[Result]) -> str:
    """Return the table for the terminal, a row a point."""
    header = ("changed", "size", "min_face", "faces", "found", "threads", "median ms", "ms/megapixel")
    rows = []
    for result in results:
        point = result.point
        row = (point.changed, f"{point.width}x{point.height}", f"{point.min_face:g}", point.faces, result.found)
        rows.append((*row, point.threads, f"{result.median:.1f}", f"{result.median / point.megapixels:.1f}"))
    return text_table(header, rows)
