"""Frames a second of video: decoding, detecting, following, and telling who and how people look.

The clips are made of the scenes of `benchmarks.scenes`, over which a camera moves, and encoded as H.264. Each way of
working goes through the same clips frame by frame, decoding included, one after the other in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scenes import scene
from cascade.attributes import AttributeEstimator
from cascade.detect import Detector
from cascade.gallery import Gallery
from cascade.imaging.pixels import RGBImage
from cascade.models.detector import DetectorWeights
from cascade.recognize import Recognizer
from cascade.video import VideoAnalyzer, VideoFrame, VideoWriter, read_video
from eval.baselines.adapters import BASELINES, Options

__all__ = ["FACES", "SIZES", "Loop", "baseline_loops", "make_clip", "measure", "our_loops"]

SIZES = ((640, 480), (1920, 1080))
FACES = {0: "none", 1: "one", 6: "six"}
RATE = 30
MARGIN = 0.1  # of the scene around what the camera shows, which it moves through

Each = Callable[[VideoFrame], object]


@dataclass(eq=False)
class Loop:
    """One way of going through a video. ``begin`` returns what is called with each frame."""

    name: str
    begin: Callable[[], Each]
    wall: list[float] = field(default_factory=list)
    """Seconds of each frame."""
    cpu: list[float] = field(default_factory=list)
    """Seconds that the processor was busy for this process with each frame."""

    def figures(self) -> dict[str, float]:
        """Frames a second by the clock and by processor time, the median and the 95th percentile of a frame in ms."""
        return {
            "fps": len(self.wall) / sum(self.wall),
            "fps_cpu": len(self.cpu) / sum(self.cpu),
            "median_ms": 1e3 * float(np.median(self.wall)),
            "p95_ms": 1e3 * float(np.percentile(self.wall, 95)),
            "p95_cpu_ms": 1e3 * float(np.percentile(self.cpu, 95)),
        }


def make_clip(path: Path, faces: int, size: tuple[int, int], frames: int) -> None:
    """Writes a clip of so many faces: a camera that sways over a scene."""
    width, height = size
    across, down = (2 * round(side * (1 + 2 * MARGIN) / 2) for side in size)
    image = scene(FACES[faces], across, down).image
    with VideoWriter(path) as writer:
        for at in range(frames):
            phase = 2 * np.pi * at / (4 * RATE)
            left = round((across - width) / 2 * (1 + 0.8 * np.sin(phase)))
            top = round((down - height) / 2 * (1 + 0.8 * np.sin(1.3 * phase)))
            writer.write(np.ascontiguousarray(image[top : top + height, left : left + width]), at / RATE)


def our_loops(weights: DetectorWeights, threads: int, min_face: float, every: int) -> list[Loop]:
    """Decoding alone, detecting in every frame, following, and following with identities and attributes."""
    detector = Detector(weights=weights, threads=threads, min_face=min_face)
    recognizer = Recognizer(threads=threads, detector=detector)
    attributes = AttributeEstimator(threads=threads, detector=detector)

    def following(**settings: Any) -> Each:
        return VideoAnalyzer(detector=detector, every=every, **settings).update

    return [
        Loop("decoding alone", lambda: lambda frame: None),
        Loop("detecting in every frame", lambda: lambda frame: detector.detect(frame.image)),
        Loop(f"following, every {every}", lambda: following(recognizer=False)),
        Loop(
            f"following, every {every}, identities, attributes",
            lambda: following(recognizer=recognizer, gallery=_gallery(recognizer), attributes=attributes),
        ),
    ]


def _gallery(recognizer: Recognizer) -> Gallery:
    """Fifty people: the one of the scenes, and random ones."""
    gallery = Gallery(recognizer)
    gallery.add("portrait", recognizer.embed(scene("one", 640, 480).image)[:1])
    rows = np.random.default_rng(0).normal(size=(49, recognizer.dimension))
    for number, row in enumerate(rows / np.linalg.norm(rows, axis=1, keepdims=True)):
        gallery.add(f"person {number}", row)
    return gallery


def baseline_loops(threads: int, min_face: float, yunet_model: str | None) -> tuple[list[Loop], list[str]]:
    """The baselines of `eval.baselines.adapters` that this Python has, and why others are left out."""
    loops, left_out = [], []
    for name in ("yunet", "facenet-pytorch"):
        baseline = BASELINES[name]
        try:
            detect = baseline.load(Options(threads=threads, model=yunet_model or ""))
        except (ImportError, FileNotFoundError) as error:
            left_out.append(f"{baseline.title} ({error})")
            continue

        def each(frame: VideoFrame, detect: Any = detect, baseline: Any = baseline) -> object:
            image = frame.image if baseline.rgb else np.ascontiguousarray(frame.image[..., ::-1])
            return detect(image, baseline.default_score, min_face)

        loops.append(Loop(f"{baseline.title} in every frame", lambda each=each: each))  # type: ignore[misc]
    return loops, left_out


def measure(clip: Path, loops: list[Loop], threads: int, rounds: int) -> None:
    """Goes through a clip ``rounds`` times with each loop in turn, and notes the time of each frame."""
    for _ in range(rounds):
        for loop in loops:
            each = loop.begin()
            frames = read_video(clip, threads=threads)
            each(VideoFrame(-1.0, -1, _warm_up(clip)))  # what is loaded and allocated on first use
            for wall, cpu in _timed(frames, each):
                loop.wall.append(wall)
                loop.cpu.append(cpu)


def _warm_up(clip: Path) -> RGBImage:
    with read_video(clip) as frames:
        return next(frames).image


def _timed(frames: Iterator[VideoFrame], each: Each) -> Iterator[tuple[float, float]]:
    while True:
        wall, cpu = time.perf_counter(), time.process_time()
        frame = next(frames, None)
        if frame is None:
            return
        each(frame)
        yield time.perf_counter() - wall, time.process_time() - cpu
