"""Running our detector over photos before evaluating it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import cv2
import numpy as np

from cascade.boxes import iou
from cascade.checks import number, probabilities
from cascade.datasets import Photo
from cascade.imaging.reading import RGBImage
from eval.detection.predictions import Found
from eval.photos import images_of

__all__ = ["InputRule", "OurDetector", "Run", "Settings", "merge", "run"]

InputRule = Literal["original", "vga"]

# Thresholds of P-Net and R-Net, unless they are lower anyway, where a curve is drawn down to low scores.
CURVE_THRESHOLDS = (0.2, 0.1)
VGA_SIDE = 640
MERGE_OVERLAP = 0.4


@dataclass(frozen=True, slots=True)
class Settings:
    """How our detector is run. What is None is left to the detector.

    weights        name of a shipped set or a folder
    min_face       smallest face in pixels of the photo as it is given to the detector
    thresholds     face probabilities for P-Net, R-Net and O-Net
    score_floor    report faces from this score on, so that a full curve can be drawn: it replaces the last threshold,
                   and P-Net and R-Net let through what `CURVE_THRESHOLDS` says; None: as the thresholds are
    input_rule     "original" photos, or "vga": scaled so that the longer side is 640 pixels
    scales         further factors; with several, what each finds is merged
    rotations      angles in degrees by which photos are rotated before they are searched
    exposure       "auto", or "none" for photos as they are
    """

    weights: str | None = None
    min_face: float | None = None
    max_face: float | None = None
    scale_factor: float | None = None
    thresholds: tuple[float, float, float] | None = None
    score_floor: float | None = 0.02
    engine: str | None = None
    threads: int | None = None
    device: str | None = None
    precision: str | None = None
    input_rule: InputRule = "original"
    scales: tuple[float, ...] = (1.0,)
    rotations: tuple[int, ...] | None = None
    exposure: str | None = None

    def __post_init__(self) -> None:
        if not self.scales or not all(0.05 <= scale <= 20 for scale in self.scales):
            raise ValueError(f"scales: numbers from 0.05 to 20 expected, got {self.scales}")
        if self.score_floor is not None:
            number("score_floor", self.score_floor, 0.0, 1.0)


class OurDetector:
    """Our detector under ``settings``: call it with an image.

    Raises ValueError, TypeError or ``cascade.models.detector.WeightsError`` for settings or weights that are not fit.
    """

    def __init__(self, settings: Settings) -> None:
        from cascade.detect import THRESHOLDS  # the extension and weights are needed only here
        from eval.detection.operations import CountingDetector

        self.settings = settings
        scan = ("weights", "min_face", "max_face", "scale_factor", "rotations", "exposure")
        names = (*scan, "engine", "threads", "device", "precision")
        given = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
        pnet, rnet, onet = probabilities("thresholds", settings.thresholds or THRESHOLDS, 3)
        thresholds = (pnet, rnet, onet)
        self.default_score = thresholds[2]
        if settings.score_floor is not None:
            pnet, rnet, onet = map(min, thresholds, (*CURVE_THRESHOLDS, settings.score_floor))
            thresholds = (pnet, rnet, onet)
        self.detector: Any = CountingDetector(thresholds=thresholds, **given)

    @property
    def gflop(self) -> float:
        """Billions of floating-point operations that the networks did in all calls so far."""
        return float(self.detector.gflop)

    @property
    def weights_sha256(self) -> str:
        """The hash of the weights in use."""
        return str(self.detector.weights.sha256)

    def about(self) -> dict[str, Any]:
        """Return name, hash and all settings as plain values, those that the detector chose included."""
        chosen = {name: getattr(self.detector, name) for name in ("min_face", "max_face", "scale_factor")}
        chosen["threads"] = getattr(self.detector.engine, "threads", None)  # torch has its own
        settings = {**asdict(self.settings), **chosen, "thresholds": list(self.detector.thresholds)}
        settings["weights"] = self.detector.weights.name
        settings["precision"] = getattr(self.detector.engine, "precision", "float32")
        settings["scales"] = list(self.settings.scales)
        settings["rotations"] = list(self.detector.rotations)
        settings["exposure"] = self.detector.exposure
        return {
            "detector": "cascade",
            "weights_sha256": self.weights_sha256,
            "default_score": self.default_score,
            "settings": settings,
        }

    def __call__(self, image: RGBImage) -> Found:
        """Return what is found in an (H, W, 3) uint8 RGB image, in its pixels, at all scales together."""
        height, width = image.shape[:2]
        base = VGA_SIDE / max(height, width) if self.settings.input_rule == "vga" else 1.0
        parts = [self._at_scale(image, base * scale) for scale in self.settings.scales]
        return parts[0] if len(parts) == 1 else merge(parts)

    def _at_scale(self, image: RGBImage, scale: float) -> Found:
        height, width = image.shape[:2]
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        if size != (width, height):
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            image = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
        faces = self.detector.detect(image)
        back = np.array([width / size[0], height / size[1]])
        boxes = faces.boxes.astype(np.float64) * np.tile(back, 2)
        return Found(boxes, faces.scores.astype(np.float64), faces.landmarks.astype(np.float64) * back)


def merge(parts: Sequence[Found], overlap: float = MERGE_OVERLAP) -> Found:
    """Join what several runs found in one photo: of two boxes that overlap by more, the surer one stays."""
    found = Found.join(parts)
    shared = iou(found.boxes, found.boxes)
    left = np.ones(len(found), bool)
    kept = []
    for k in np.argsort(-found.scores, kind="stable"):
        if left[k]:
            kept.append(k)
            left &= shared[k] <= overlap
    return found.at(np.array(kept, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What was found in each photo by name; photo sizes (width, height); and why some could not be read.

    ``milliseconds`` are those of the detection alone, the photo already decoded.
    """

    found: Mapping[str, Found]
    sizes: Mapping[str, tuple[int, int]]
    broken: Mapping[str, str] = field(default_factory=dict)
    milliseconds: Mapping[str, float] = field(default_factory=dict)


def run(photos: Iterable[Photo], detect: Callable[[RGBImage], Found] | None) -> Run:
    """Read every photo and let ``detect`` look at it (None: only note the sizes).

    A photo that cannot be read is noted as broken, and the others go on.
    """
    found: dict[str, Found] = {}
    sizes: dict[str, tuple[int, int]] = {}
    broken: dict[str, str] = {}
    milliseconds: dict[str, float] = {}
    for photo, image in images_of(photos, broken):
        sizes[photo.name] = (image.shape[1], image.shape[0])
        if detect is not None:
            start = time.perf_counter()
            found[photo.name] = detect(image)
            milliseconds[photo.name] = round(1e3 * (time.perf_counter() - start), 3)
    return Run(found, sizes, broken, milliseconds)
