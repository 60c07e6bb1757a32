"""Pictures of mistakes: labelled faces and detections drawn on a part of a photo, or on the whole."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from cascade.datasets import Photo
from cascade.imaging.drawing import draw_faces
from cascade.imaging.reading import RGBImage
from eval.detection.average_precision import FloatArray
from eval.detection.errors import Detections, Mistake

__all__ = ["COLOURS", "crop_picture", "photo_picture"]

COLOURS = {
    "labelled face": (86, 180, 233),
    "labelled face that does not count": (190, 190, 190),
    "detection": (230, 159, 0),
    "detection that is not reported": (230, 110, 190),
}
"""Red, green and blue by what is drawn, mostly of B. Wong's palette (2011) for people with colour-blindness."""
LABELLED, IGNORED, DETECTED, UNREPORTED = COLOURS.values()

THICK, MIDDLING, THIN = 3, 2, 1
"""Lines in pixels of the picture; on whole photos thick ones would hide the smallest faces."""
CROP_SIDE, PHOTO_SIDE = 480, 1280
"""The longer side of a picture in pixels; whole photos are only made smaller."""

CONTEXT, CLOSE, SMALLEST_CROP = 2.6, 1.6, 64.0
"""Side of a crop over that of what it shows, and where landmarks are; and the smallest side in pixels of the photo."""


def crop_picture(image: RGBImage, mistake: Mistake, detections: Detections) -> RGBImage:
    """Return the surroundings of a mistake, (H, W, 3) uint8 RGB; its own boxes are drawn thick.

    ``image`` is the photo, ``detections`` are those in it. What is not reported by default is left out, but for the
    one that has to do with the mistake.
    """
    found = detections.found
    own = [mistake.box] if mistake.detection is None else [mistake.box, found.boxes[mistake.detection]]
    points = mistake.kind == "landmarks"
    part = _surroundings(np.array(own), image, CLOSE if points else CONTEXT)
    view = _View(image, part, CROP_SIDE, enlarge=True)
    _draw_thin(view, mistake.photo, detections)
    if mistake.kind != "false_alarm":
        truth = mistake.photo.landmarks[mistake.face].astype(np.float64).reshape(1, 5, 2) if points else None
        view.draw(mistake.box[None], LABELLED, THICK, landmarks=truth)
    if mistake.detection is not None:
        one = found.at(np.array([mistake.detection]))
        color = DETECTED if detections.reported[mistake.detection] else UNREPORTED
        view.draw(one.boxes, color, THICK, scores=one.scores, landmarks=one.landmarks if points else None)
    return view.canvas


def photo_picture(image: RGBImage, mistakes: Sequence[Mistake], detections: Detections) -> RGBImage:
    """Return a whole photo, (H, W, 3) uint8 RGB, with all its mistakes: missed faces and false alarms thick."""
    view = _View(image, (0, 0, image.shape[1], image.shape[0]), PHOTO_SIDE, enlarge=False)
    _draw_thin(view, mistakes[0].photo, detections)
    missed = [mistake.box for mistake in mistakes if mistake.kind == "miss"]
    view.draw(np.reshape(missed, (-1, 4)), LABELLED, MIDDLING)
    places = [mistake.detection for mistake in mistakes if mistake.kind == "false_alarm"]
    alarms = detections.found.at(np.array(places, np.int64))
    view.draw(alarms.boxes, DETECTED, MIDDLING, scores=alarms.scores)
    return view.canvas


class _View:
    """A part of a photo, x1, y1, x2, y2, scaled so that its longer side has ``longest`` pixels.

    ``canvas`` is the picture so far; boxes and landmarks are given in pixels of the photo.
    """

    def __init__(self, image: RGBImage, part: Sequence[int], longest: int, *, enlarge: bool) -> None:
        x1, y1, x2, y2 = part
        factor = longest / max(x2 - x1, y2 - y1)
        factor = factor if enlarge else min(factor, 1.0)
        size = max(round((x2 - x1) * factor), 1), max(round((y2 - y1) * factor), 1)
        method = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
        self.canvas: RGBImage = np.asarray(cv2.resize(image[y1:y2, x1:x2], size, interpolation=method), np.uint8)
        self.corner = np.array([x1, y1], np.float64)
        self.scale = np.array([size[0] / (x2 - x1), size[1] / (y2 - y1)])

    def draw(
        self,
        boxes: FloatArray,
        color: Sequence[int],
        width: int,
        *,
        scores: FloatArray | None = None,
        landmarks: FloatArray | None = None,
    ) -> None:
        """Draw (N, 4) boxes with lines of that width, and scores (N,) and landmarks (N, 5, 2) where given."""
        points = np.zeros((len(boxes), 5, 2)) if landmarks is None else landmarks
        self.canvas = draw_faces(
            self.canvas,
            self._moved(boxes.reshape(-1, 2, 2)).reshape(-1, 4),
            np.ones(len(boxes), np.float32) if scores is None else scores.astype(np.float32),
            self._moved(points),
            color=color,
            width=width,
            with_scores=scores is not None,
            with_landmarks=landmarks is not None,
        )

    def _moved(self, points: FloatArray) -> NDArray[np.float32]:
        moved: NDArray[np.float32] = ((points - self.corner) * self.scale).astype(np.float32)
        return moved


def _draw_thin(view: _View, photo: Photo, detections: Detections) -> None:
    """Draw all labelled faces and all detections that are reported by default."""
    boxes = photo.boxes.astype(np.float64)
    view.draw(boxes[photo.ignored], IGNORED, THIN)
    view.draw(boxes[~photo.ignored], LABELLED, THIN)
    view.draw(detections.found.boxes[detections.reported], DETECTED, THIN)


def _surroundings(boxes: FloatArray, image: RGBImage, context: float) -> list[int]:
    """Return x1, y1, x2, y2 of a part of the image around all the boxes, in integer pixels."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    size = np.array([image.shape[1], image.shape[0]])
    reach = max(context * float((high - low).max()), SMALLEST_CROP) / 2
    # A middle within the photo, so that something is left even of a box that lies outside.
    middle = np.clip((low + high) / 2, 0, size)
    corners = np.concatenate([np.floor(np.maximum(middle - reach, 0)), np.ceil(np.minimum(middle + reach, size))])
    return [int(value) for value in corners]
