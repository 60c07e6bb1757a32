"""Which faces are still found when the photo changes: colour, light, in-plane rotation, close-ups, border cuts.

A photo is brought to a long side of 640 pixels. Its reference faces are the labelled faces from 20 pixels on that every
detector compared finds there. Each condition changes the photo, or cuts a part of it about one face, and says where the
faces are then. A face counts as found if a detection overlaps its transformed box by an IoU of at least 0.4. The result
is the share of the reference faces that are found, by condition and detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from cascade.boxes import iou
from cascade.imaging.reading import RGBImage
from cascade.imaging.rotation import rotate_boxes, rotate_image

__all__ = [
    "CLOSE_UP_SIDE",
    "CONDITIONS",
    "LONG_SIDE",
    "OVERLAP",
    "SMALLEST",
    "VISIBLE",
    "Boxes",
    "Condition",
    "Detect",
    "Measurement",
    "Tally",
    "Variant",
    "clip",
    "found",
    "reference_faces",
    "to_long_side",
]

LONG_SIDE = 640
"""Longer side in pixels of the photos that are changed."""

OVERLAP = 0.4
"""IoU of a detection with the transformed box from which on the face counts as found."""

SMALLEST = 20.0
"""Shorter side, in pixels of the photo at `LONG_SIDE`, from which on a face can be a reference face."""

CLOSE_UP_SIDE = 150
"""Longer side of a close-up in pixels."""

VISIBLE = 0.6
"""Share of a face's width or height that a border cut leaves."""

PADDING_VALUE = (128, 128, 128)

Boxes = npt.NDArray[np.float64]
Group = Literal["colour", "light", "rotation", "close-up", "border"]


@dataclass(frozen=True)
class Variant:
    """A changed image (h, w, 3) uint8 RGB, and where the faces are that must be found there (k, 4) in its pixels."""

    image: RGBImage
    boxes: Boxes


Change = Callable[[RGBImage, Boxes], Iterator[Variant]]


@dataclass(frozen=True)
class Condition:
    """A way to change photos. ``change`` takes an image and the boxes of its reference faces, which lie in it."""

    name: str
    group: Group
    change: Change


Detect = Callable[[RGBImage], Boxes]
"""Takes an image (h, w, 3) uint8 RGB and returns boxes (n, 4) in its pixels."""


@dataclass
class Tally:
    """How many reference faces there were in the changed photos of a condition, and how many of them were found."""

    photos: int = 0
    faces: int = 0
    found: int = 0

    def add(self, hit: npt.NDArray[np.bool_]) -> None:
        """Count one changed photo; ``hit`` says which of its faces were found."""
        self.photos += 1
        self.faces += len(hit)
        self.found += int(hit.sum())

    @property
    def share(self) -> float:
        """Share of the faces that were found; NaN without faces."""
        return self.found / self.faces if self.faces else float("nan")


@dataclass
class Measurement:
    """Runs detectors on photos under every condition and adds up what they find.

    detectors  by name
    most       reference faces of a photo; where there are more, the largest are taken
    photos     how many photos had a reference face so far
    faces      how many reference faces there were
    tallies    by name of the condition, and by name of the detector
    """

    detectors: Mapping[str, Detect]
    most: int
    photos: int = 0
    faces: int = 0
    tallies: dict[str, dict[str, Tally]] = field(init=False)

    def __post_init__(self) -> None:
        self.tallies = {condition.name: {name: Tally() for name in self.detectors} for condition in CONDITIONS}

    def add(self, image: RGBImage, boxes: Boxes) -> None:
        """Take in one photo and the boxes (n, 4) of its labelled faces in pixels; they may overhang the photo."""
        image, boxes = to_long_side(image, clip(boxes, image))
        unchanged = {name: self._detect(name, image) for name in self.detectors}
        boxes = reference_faces(boxes, unchanged)[: self.most]
        if not len(boxes):
            return
        self.photos += 1
        self.faces += len(boxes)
        for condition in CONDITIONS:
            for variant in condition.change(image, boxes):
                for name, tally in self.tallies[condition.name].items():
                    again = variant.image is image
                    detections = unchanged[name] if again else self._detect(name, variant.image)
                    tally.add(found(detections, variant.boxes))

    def _detect(self, name: str, image: RGBImage) -> Boxes:
        """Boxes clipped to the image, since some detectors report boxes that overhang it and others do not."""
        return clip(self.detectors[name](image), image)


def clip(boxes: npt.ArrayLike, image: RGBImage) -> Boxes:
    """The parts of boxes (n, 4) that are in the image."""
    return np.clip(np.asarray(boxes, np.float64).reshape(-1, 4), 0, np.tile(image.shape[1::-1], 2))


def to_long_side(image: RGBImage, boxes: Boxes, side: int = LONG_SIDE) -> tuple[RGBImage, Boxes]:
    """The image with a longer side of ``side`` pixels, and the boxes moved along."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return image, boxes
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8), boxes * np.tile([size[0] / width, size[1] / height], 2)


def found(detections: Boxes, boxes: Boxes) -> npt.NDArray[np.bool_]:
    """Which of the ``boxes`` (k, 4) some detection (n, 4) overlaps enough; one detection can serve one face only."""
    hit, used = np.zeros(len(boxes), bool), np.zeros(len(detections), bool)
    overlaps = iou(boxes, detections)
    for pair in np.argsort(-overlaps, axis=None, kind="stable"):
        face, detection = np.unravel_index(pair, overlaps.shape)
        if overlaps[face, detection] < OVERLAP:
            break
        if not hit[face] and not used[detection]:
            hit[face] = used[detection] = True
    return hit


def reference_faces(boxes: Boxes, detections: Mapping[str, Boxes]) -> Boxes:
    """Those of the labelled ``boxes`` that are large enough and that every detector finds in the unchanged photo.

    The face with the largest area comes first.
    """
    large = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) >= SMALLEST
    for each in detections.values():
        large &= found(each, boxes)
    boxes = boxes[large]
    return boxes[np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")]


# Conditions of the whole photo


def _unchanged(image: RGBImage, boxes: Boxes) -> Iterator[Variant]:
    yield Variant(image, boxes)


def _pixelwise(change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]) -> Change:
    """Changes colours only; ``change`` takes and gives float32 RGB, which is then clipped and rounded."""

    def apply(image: RGBImage, boxes: Boxes) -> Iterator[Variant]:
        values = change(image.astype(np.float32))
        yield Variant(np.clip(np.rint(values), 0, 255).astype(np.uint8), boxes)

    return apply


def _scaled(*factors: float) -> Change:
    return _pixelwise(lambda image: image * np.array(factors, np.float32))


def _night_vision(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    gray = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return gray[:, :, None] * np.array([0.25, 1.0, 0.15], np.float32)


def _rotated(degrees: float) -> Change:
    """Rotates about the middle, clockwise, on a gray canvas that holds the corners."""

    def apply(image: RGBImage, boxes: Boxes) -> Iterator[Variant]:
        rotated, transform = rotate_image(image, degrees, PADDING_VALUE, expand=True)
        yield Variant(rotated, rotate_boxes(boxes, transform))

    return apply


# Conditions of one face at a time


def _close_up(context: float, gray: bool) -> Change:
    """The square about a face's box times ``context``, as far as the photo reaches, as a photo of its own."""

    def apply(image: RGBImage, boxes: Boxes) -> Iterator[Variant]:
        for box in boxes:
            centre, side = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() * context
            low = np.maximum(np.floor(centre - side / 2), 0).astype(int)
            high = np.minimum(np.ceil(centre + side / 2), image.shape[1::-1]).astype(int)
            cut = image[low[1] : high[1], low[0] : high[0]]
            close, moved = to_long_side(cut, (box - np.tile(low, 2))[None], CLOSE_UP_SIDE)
            if gray:
                close = np.repeat(cv2.cvtColor(close, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
            yield Variant(close, clip(moved, close))

    return apply


def _cut(edge: Literal["left", "right", "top", "bottom"]) -> Change:
    """Ends the photo at a face, so that `VISIBLE` of its width or height is left."""

    def apply(image: RGBImage, boxes: Boxes) -> Iterator[Variant]:
        for x1, y1, x2, y2 in boxes:
            left = top = 0
            bottom, right = image.shape[:2]
            if edge == "right":
                right = round(x1 + VISIBLE * (x2 - x1))
            elif edge == "left":
                left = round(x2 - VISIBLE * (x2 - x1))
            elif edge == "bottom":
                bottom = round(y1 + VISIBLE * (y2 - y1))
            else:
                top = round(y2 - VISIBLE * (y2 - y1))
            part = np.ascontiguousarray(image[top:bottom, left:right])
            yield Variant(part, clip([x1 - left, y1 - top, x2 - left, y2 - top], part))

    return apply


CONDITIONS: tuple[Condition, ...] = (
    Condition("original", "colour", _unchanged),
    Condition("red and blue swapped", "colour", _pixelwise(lambda image: image[:, :, ::-1])),
    Condition("blue light", "colour", _scaled(0.35, 0.5, 1.2)),
    Condition("red light", "colour", _scaled(1.2, 0.35, 0.3)),
    Condition("night vision", "colour", _pixelwise(_night_vision)),
    Condition("dark × 0.15", "light", _scaled(0.15)),
    Condition("dark × 0.06", "light", _scaled(0.06)),
    Condition("low contrast", "light", _pixelwise(lambda image: image * 0.2 + 100)),
    Condition("overexposed", "light", _scaled(2.2)),
    *(Condition(f"rotated {d}°", "rotation", _rotated(d)) for d in (30, 45, 60, 90, 180)),
    *(
        Condition(f"close-up × {context:g}{', gray' if gray else ''}", "close-up", _close_up(context, gray))
        for gray in (False, True)
        for context in (0.8, 1.0, 1.3)
    ),
    *(Condition(f"cut {edge}", "border", _cut(edge)) for edge in ("left", "right", "top", "bottom")),
)
"""The conditions in the order of the report; the first leaves photos as they are."""
