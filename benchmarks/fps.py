"""Milliseconds and frames a second of the detector, beside peers in the same run.

Ours and every peer detect in alternation, so that a machine that slows down slows all of them; ratios are medians of
the pairs. A ratio counts only if every face that the peer finds is found.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascade import _native
from cascade.boxes import iou
from cascade.detect import Detector
from cascade.images import read_image

SAME_FACE_IOU = 0.5


@dataclass(frozen=True)
class Timing:
    """Times of one detector on one photo, in milliseconds, and the boxes (n, 4) that it found."""

    name: str
    times: list[float]
    boxes: np.ndarray

    @property
    def median(self) -> float:
        """The median time."""
        return statistics.median(self.times)

    @property
    def p95(self) -> float:
        """The time that 95 % of the runs stay below."""
        return float(np.percentile(self.times, 95))


class Peer:
    """A peer detector served by `benchmarks/peer_worker.py` in another interpreter."""

    def __init__(self, name: str, python: str, image: Path, min_face: int, threads: int) -> None:
        self.name = name
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        worker = Path(__file__).with_name("peer_worker.py")
        self.process = subprocess.Popen(
            [python, str(worker), name, str(image), str(min_face), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answer()

    def detect(self) -> tuple[float, np.ndarray]:
        """Milliseconds and boxes of one detection."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self._answer()
        return float(answer["ms"]), np.array(answer["boxes"], np.float32).reshape(-1, 4)

    def close(self) -> None:
        """Ends the worker."""
        self.process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"peer {self.name} failed:\n{self.process.stderr.read()[-2000:]}")
        return dict(json.loads(line))


def measure(
    image: Path, detector: Detector, peers: dict[str, str], min_face: int, threads: int, runs: int
) -> list[Timing]:
    """Our timing first, then each peer's; detections alternate. ``peers`` maps a name to its interpreter."""
    pixels = read_image(image)
    workers = [Peer(name, python, image, min_face, threads) for name, python in peers.items()]
    times: dict[str, list[float]] = {name: [] for name in ("cascade", *peers)}
    boxes: dict[str, np.ndarray] = {"cascade": detector.detect(pixels).boxes}
    for _ in range(runs):
        started = time.perf_counter()
        detector.detect(pixels)
        times["cascade"].append(1e3 * (time.perf_counter() - started))
        for worker in workers:
            spent, boxes[worker.name] = worker.detect()
            times[worker.name].append(spent)
    for worker in workers:
        worker.close()
    return [Timing(name, times[name], boxes[name]) for name in times]


def shared_faces(ours: Timing, peer: Timing) -> int:
    """Faces of the peer that we find too."""
    if not len(ours.boxes) or not len(peer.boxes):
        return 0
    return int((iou(peer.boxes, ours.boxes).max(axis=1) >= SAME_FACE_IOU).sum())


def report(image: Path, timings: list[Timing]) -> str:
    """A table of one photo's timings."""
    ours = timings[0]
    lines = [f"{image.name}: level {_native.default_level()}, {len(ours.times)} paired runs"]
    lines.append(f"{'':18}{'median ms':>10}{'p95':>9}{'fps':>8}{'faces':>7}{'ratio':>8}  faces shared")
    for timing in timings:
        pairs = [theirs / mine for theirs, mine in zip(timing.times, ours.times, strict=True)]
        ratio = "" if timing is ours else f"{statistics.median(pairs):7.1f}x"
        same = "" if timing is ours else f"  {shared_faces(ours, timing)} of {len(timing.boxes)}"
        lines.append(
            f"{timing.name:18}{timing.median:10.1f}{timing.p95:9.1f}{1e3 / timing.median:8.1f}"
            f"{len(timing.boxes):7d}{ratio:>8}{same}"
        )
    return "\n".join(lines)


def run(images: list[Path], peers: dict[str, str], min_face: int, threads: int, runs: int, weights: str | None) -> None:
    """Times every photo and prints a table for each."""
    detector = Detector(min_face=min_face, threads=threads, weights=weights)
    for image in images:
        print(report(image, measure(image, detector, peers, min_face, threads, runs)), file=sys.stdout)
