"""Finding faces again where they are expected, without a search of the whole frame, and telling where a shot ends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cascade.boxes import iou
from cascade.detect import Detector
from cascade.engines.base import BatchEngine, run
from cascade.faces import Face
from cascade.imaging.pixels import RGBImage
from cascade.imaging.pyramid import Pyramid
from cascade.stages import Candidates, find_faces

__all__ = ["CutFinder", "find_again"]

FloatArray = npt.NDArray[np.float32]

PRIOR_LOGIT = 2.0  # log-odds of a face where one was expected, in the place of those of P-Net and R-Net
USUAL_VOTES = 2.0  # one candidate has one in each look of O-Net
LEAST_OVERLAP = 0.3  # with where the face was expected
MARGIN = 1.0  # of the part of the frame around a box, over its sides
CROP_SIDE = 96  # pixels of a face that O-Net's crops are cut from without loss


def find_again(detector: Detector, image: RGBImage, boxes: FloatArray) -> list[Face | None]:
    """The faces expected in boxes (n, 4) in pixels of an image, each computed by O-Net and L-Net alone.

    None where there is no face any more. The time depends on the number of boxes, not on the size of the image.
    """
    patches = [_patch(image, box) for box in boxes]
    inside = [at for at, (patch, _) in enumerate(patches) if min(patch.shape[:2]) >= 8]
    found: list[Face | None] = [None] * len(boxes)
    pyramids = _pyramids(detector, [patches[at][0] for at in inside], boxes[inside])
    generators = []
    for at, pyramid in zip(inside, pyramids, strict=True):
        local = (boxes[at] - np.tile(patches[at][1], 2)).astype(np.float32)[None]
        candidates = Candidates(local, np.full(1, PRIOR_LOGIT, np.float32))
        threshold = detector.thresholds[2]
        generators.append(find_faces(detector.weights, pyramid, candidates, threshold, usual_votes=USUAL_VOTES))
    for at, faces in zip(inside, run(detector.engine, generators), strict=True):
        corner = patches[at][1]
        if len(faces) and iou(faces.boxes[:1] + np.tile(corner, 2), boxes[at])[0, 0] >= LEAST_OVERLAP:
            face = faces[0]
            found[at] = Face(face.box + np.tile(corner, 2), face.score, face.landmarks + corner)
    return found


def _patch(image: RGBImage, box: FloatArray) -> tuple[RGBImage, FloatArray]:
    """The part of an image around a box, and its corner x, y in pixels."""
    height, width = image.shape[:2]
    sides = MARGIN * (box[2:] - box[:2])
    left, top = np.clip(np.floor(box[:2] - sides), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(box[2:] + sides), 0, (width, height)).astype(int)
    return np.ascontiguousarray(image[top:bottom, left:right]), np.array([left, top], np.float32)


def _pyramids(detector: Detector, patches: list[RGBImage], boxes: FloatArray) -> list[Pyramid]:
    """Each patch with its halves, down to where a face has `CROP_SIDE` pixels."""
    sizes = []
    for patch, box in zip(patches, boxes, strict=True):
        height, width = patch.shape[:2]
        halvings = max(0, int(np.log2(max(1.0, float((box[2:] - box[:2]).max()) / CROP_SIDE))))
        sizes.append([(max(1, width >> step), max(1, height >> step)) for step in range(1, halvings + 1)])
    engine = detector.engine
    if isinstance(engine, BatchEngine):
        return list(engine.pyramids(patches, sizes)) if patches else []
    return [engine.pyramid(patch, levels) for patch, levels in zip(patches, sizes, strict=True)]


class CutFinder:
    """Tells where a video shows another shot: the frame before differs, in its colours and from place to place."""

    def __init__(self, least_colours: float = 0.35, least_places: float = 0.12) -> None:
        self._least_colours = least_colours
        self._least_places = least_places
        self._before: tuple[FloatArray, FloatArray] | None = None

    def add(self, image: RGBImage) -> bool:
        """Whether a frame (H, W, 3) uint8 RGB begins another shot."""
        now = _colours(image), _places(image)
        before, self._before = self._before, now
        if before is None or before[1].shape != now[1].shape:
            return before is not None
        colours = float(np.abs(now[0] - before[0]).sum()) / 2
        places = float(np.abs(now[1] - before[1]).mean()) / 255
        return colours > self._least_colours and places > self._least_places


def _samples(image: RGBImage, across: int) -> RGBImage:
    step = max(1, image.shape[1] // across)
    return image[step // 2 :: step, step // 2 :: step]


def _colours(image: RGBImage) -> FloatArray:
    """Shares (64,) of the colours, two bits of each channel."""
    bits = (_samples(image, 80) >> 6).astype(np.intp)
    codes = bits[..., 0] * 16 + bits[..., 1] * 4 + bits[..., 2]
    return np.asarray(np.bincount(codes.ravel(), minlength=64) / codes.size, np.float32)


def _places(image: RGBImage) -> FloatArray:
    """Mean grays of parts of the image, at most (9, 16)."""
    gray = _samples(image, 80)[..., 1].astype(np.float32)
    rows, columns = (
        np.unique(np.linspace(0, side, parts, endpoint=False, dtype=np.intp))
        for side, parts in zip(gray.shape, (9, 16), strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(gray, rows, axis=0), columns, axis=1)
    areas = np.outer(np.diff(rows, append=gray.shape[0]), np.diff(columns, append=gray.shape[1]))
    return np.asarray(sums / areas, np.float32)
