"""Time against pixels, smallest face, number of faces and threads: one changed at a time, on composed scenes.

Every point is timed once a round, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks.machine import cores
from benchmarks.scenes import compose, grid
from benchmarks.timing import ratio
from cascade.architectures import Architecture
from cascade.detect import Detector
from cascade.images import RGBImage
from cascade.pyramid import level_sizes
from cascade.weights import DetectorWeights
from eval.report import table as text_table

__all__ = [
    "AMOUNTS",
    "HEADER",
    "Line",
    "Point",
    "Result",
    "fit",
    "lines",
    "measure",
    "points",
    "sentence",
    "speed_up",
    "table",
]

HEADER = (
    *("changed", "width", "height", "megapixels", "pyramid_megapixels", "min_face", "faces", "faces_found"),
    *("threads", "median_ms", "ms_per_megapixel"),
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
    """A point's times in milliseconds, the faces found, and the pixels in millions that P-Net slides over."""

    point: Point
    pyramid_megapixels: float
    found: int
    times: list[float] = field(default_factory=list)

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

    def row(self) -> tuple[Any, ...]:
        """Cells under `HEADER`."""
        point = self.point
        pixels = (point.width, point.height, point.megapixels, self.pyramid_megapixels)
        counts = (point.min_face, point.faces, self.found, point.threads)
        return (point.changed, *pixels, *counts, self.median, self.median / point.megapixels)


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

    ``after_each`` is called after every time.
    """
    scenes = {(p.width, p.height, p.faces, p.cells): p.scene() for p in points}
    ready = []
    for point in points:
        detector = Detector(min_face=point.min_face, threads=point.threads, weights=weights)
        image = scenes[point.width, point.height, point.faces, point.cells]
        seen = pyramid_megapixels(point, weights["pnet"].architecture, detector.scale_factor)
        ready.append((detector, image, Result(point, seen, len(detector.detect(image)))))
    for _ in range(runs):
        for detector, image, result in ready:
            detector.detect(image)
            started = time.perf_counter()
            detector.detect(image)
            result.times.append(1e3 * (time.perf_counter() - started))
            after_each()
    return [result for _, _, result in ready]


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


def table(results: Sequence[Result]) -> str:
    """Return the table for the terminal, a row a point."""
    header = ("changed", "size", "min_face", "faces", "found", "threads", "median ms", "ms/megapixel")
    rows = []
    for result in results:
        point, cells = result.point, result.row()
        row = (point.changed, f"{point.width}x{point.height}", f"{point.min_face:g}", point.faces, result.found)
        rows.append((*row, point.threads, f"{cells[-2]:.1f}", f"{cells[-1]:.1f}"))
    return text_table(header, rows)
