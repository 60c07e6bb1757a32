"""Milliseconds and frames a second of the detector on photos, beside peers in the same run.

Ours and every peer detect in alternation in the very same pixels, so that a machine that slows down slows all of
them; ratios are medians over the pairs. A ratio counts only if every face that the peer finds is found.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from benchmarks.baselines import Peer, PeerError
from benchmarks.scenes import letterbox, scene
from benchmarks.timing import Timing
from cascade.detect import Detector
from cascade.imaging.reading import RGBImage, read_image
from cascade.models.detector import DetectorWeights
from eval.detection.operations import CountingDetector

__all__ = ["OURS", "SCENE_SIZE", "Measured", "Settings", "load", "measure", "missing_device"]

OURS = "cascade"
SCENE_SIZE = (640, 480)


@dataclass(frozen=True)
class Settings:
    """How our detector runs, and how often: see `cascade.detect.Detector`. ``min_face`` is in pixels.

    With a ``batch`` of more than 1 so many copies of a photo are given to `Detector.detect_batch` together; times stay
    those of one photo.
    """

    device: str = "cpu"
    engine: str = "native"
    threads: int = 1
    min_face: float = 20
    runs: int = 15
    precision: Literal["float32", "int8"] | None = None
    batch: int = 1

    def detector(self, weights: DetectorWeights, kind: type[Detector] = Detector) -> Detector:
        """A detector with these settings. torch is held to ``threads`` too, in the whole process."""
        if self.engine == "torch":
            import torch

            torch.set_num_threads(self.threads)
        return kind(
            min_face=self.min_face,
            engine="torch" if self.engine == "torch" else "native",
            threads=self.threads,
            weights=weights,
            device=self.device,
            precision=self.precision,
        )


@dataclass(frozen=True, eq=False)
class Measured:
    """One photo's results: its size in pixels, our timing first, then those of the peers that worked.

    ``gflop`` is what our networks computed for one detection, in billions of operations, two for each multiply-add
    that the networks' definitions ask for. ``failures`` says in a line each which peers failed.
    """

    photo: str
    width: int
    height: int
    gflop: float
    timings: list[Timing]
    failures: list[str] = field(default_factory=list)

    def share_of(self, gflops: float) -> float:
        """Our arithmetic over the median time, as a share of a peak in GFLOP/s."""
        return self.gflop / (1e-3 * self.timings[0].median) / gflops


def missing_device(device: str) -> str | None:
    """Why nothing can be measured on "cuda" here, in a line, or None if it can. "cpu" is always there."""
    if device == "cpu":
        return None
    try:
        import torch
    except ImportError:
        return 'no GPU was measured: torch is not installed (pip install "cascade-faces[train]")'
    if torch.cuda.is_available():
        return None
    return f"no GPU was measured: torch {torch.__version__} finds no CUDA device here"


def load(source: str | Path, size: tuple[int, int] | None) -> tuple[str, RGBImage]:
    """Name and pixels of a scene (a `str` of `benchmarks.scenes.SCENES`) or a photo's file (a `Path`).

    With a ``size`` (width, height) in pixels a scene is composed at it and a photo letterboxed to it; without, a
    scene has 640 × 480 and a photo its own. Raises `cascade.imaging.reading.ImageError` for a file that is no photo.
    """
    if isinstance(source, str):
        return source, scene(source, *(size or SCENE_SIZE)).image
    image = read_image(source)
    return source.name, letterbox(image, *size) if size else image


def measure(
    name: str,
    image: RGBImage,
    settings: Settings,
    weights: DetectorWeights,
    peers: Sequence[Peer] = (),
    after_each: Callable[[], object] = lambda: None,
) -> Measured:
    """Times our detector and the peers in turn on an image (height, width, 3) uint8 RGB.

    Each detects once before, untimed. ``after_each`` is called after every round. A peer that fails is left out.
    """
    counting = settings.detector(weights, CountingDetector)
    assert isinstance(counting, CountingDetector)
    boxes = counting.detect(image).boxes
    detector = settings.detector(weights)
    milliseconds_each(detector, image, settings.batch)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "photo.png")
        ready, failures = _open(peers, file, image, settings.min_face)
        ours = Timing(OURS, [], boxes)
        theirs = {peer: Timing(peer.name, [], np.empty((0, 4), np.float32)) for peer in ready}
        for _ in range(settings.runs):
            ours.times.append(milliseconds_each(detector, image, settings.batch))
            for peer in list(theirs):
                try:
                    spent, found = peer.detect()
                    theirs[peer] = Timing(peer.name, [*theirs[peer].times, spent], found)
                except PeerError as error:
                    failures.append(str(error))
                    del theirs[peer]
            after_each()
    height, width = image.shape[:2]
    return Measured(name, width, height, counting.gflop, [ours, *theirs.values()], failures)


def milliseconds_each(detector: Detector, image: RGBImage, batch: int) -> float:
    """The time of detecting once, or of one photo of a batch of copies."""
    started = time.perf_counter()
    if batch == 1:
        detector.detect(image)
    else:
        detector.detect_batch([image] * batch)
    return 1e3 * (time.perf_counter() - started) / batch


def _open(peers: Sequence[Peer], file: Path, image: RGBImage, min_face: float) -> tuple[list[Peer], list[str]]:
    """Show every peer the image, losslessly; return those that take it, and why the others do not."""
    ready: list[Peer] = []
    failures: list[str] = []
    if peers and not cv2.imwrite(str(file), image[..., ::-1]):
        raise OSError(f"cannot write {file}")
    for peer in peers:
        try:
            peer.open(file, min_face)
            ready.append(peer)
        except PeerError as error:
            failures.append(str(error))
    return ready, failures
