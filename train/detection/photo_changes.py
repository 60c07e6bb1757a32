"""Changes to photos before samples are cut: rotation, close-ups, truncation by a border, reduction, blur, JPEG.

What happens to pixels of a face inside its photo can be augmented on crops (`train.detection.augment`). What happens
to a photo cannot: a crop does not show what a rotation or a border brings into its corners. Boxes and landmarks move
with the pixels. A face of which little is left is ignored, being neither a face to find nor background.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from cascade.datasets import Photo
from cascade.imaging.reading import RGBImage
from cascade.imaging.rotation import rotate_boxes, rotate_image
from train.detection.in_plane_rotation import PADDING

# Shares of the photos that are rotated, cut about one face, and truncated through one face. The other 27 % stay as they
# are. A cut leaves few faces, so that those of uncut photos still count most.
ROTATED, CLOSE_UP, TRUNCATED = 0.33, 0.13, 0.27

# Angles in degrees: most heads lean a little (standard deviation, limit), and photos lie on a side or upside down (the
# share of the rotated photos whose angle is any).
ANGLE, MAX_ANGLE, ANY_ANGLE = 25.0, 75.0, 0.2

# Share of the rotated photos whose canvas is expanded to hold the corners. The others lose theirs, as a camera would.
EXPANDED = 0.5

# Faces with a smaller shorter side (pixels) give no close-ups or cuts: what is left would be too small to learn from.
MIN_SIDE = 24.0

# A close-up is a square of this many sides of the face, its centre this much of a side off: selfies, down to the face
# alone without hair and chin.
CLOSE_UP_SIDES, CLOSE_UP_SHIFT = (0.72, 1.7), 0.12

# Share of the face's width or height that truncation leaves.
VISIBLE = (0.45, 0.95)

# Least visible share of a face's box. Below the first the face is ignored: annotators disagree about such faces. Below
# the second it is dropped: nothing of a face is to be seen.
LEARNED, IGNORED = 0.4, 0.05

# Smallest side in pixels of a cut; a photo that would be smaller stays as it is.
MIN_CUT = 16

# Share of the photos that are blurred as by upscaling, and by what factors; share that is compressed, and the JPEG
# qualities: messengers and web galleries go down to these.
BLURRED, UPSCALED = 0.08, (1.3, 3.0)

# Share of the photos that are reduced, and the shorter side in pixels that one of their faces then has. Labels of
# detectors come from portraits and groups; in photos of crowds, and of cameras far away, most faces are this small.
REDUCED, REDUCED_FACE = 0.45, (11.0, 40.0)
COMPRESSED, QUALITY = 0.15, (12, 70)


def change_photo(image: RGBImage, photo: Photo, rng: np.random.Generator) -> tuple[RGBImage, Photo]:
    """At most one change of the frame at random, and for some photos reduction, blur or JPEG artefacts.

    ``image`` (height, width, 3) is not changed in place. The photo that comes back has the boxes and landmarks of the
    changed image, without the faces that left it, without attributes and ellipses.
    """
    draw = rng.random()
    if draw < ROTATED:
        image, photo = rotate_photo(image, photo, _angle(rng), rng.random() < EXPANDED)
    elif draw < ROTATED + CLOSE_UP + TRUNCATED:
        sides = (photo.boxes[:, 2:] - photo.boxes[:, :2]).min(axis=1, initial=np.inf)
        large = np.flatnonzero(~photo.ignored & (sides >= MIN_SIDE))
        if len(large):
            box = photo.boxes[rng.choice(large)].astype(np.float64)
            close = draw < ROTATED + CLOSE_UP
            part = _close_up(box, rng) if close else _truncation(box, image.shape, rng)
            image, photo = truncate_photo(image, photo, part)
    if rng.random() < REDUCED:
        image, photo = _reduced(image, photo, rng)
    if rng.random() < BLURRED:
        image = _blurred(image, rng.uniform(*UPSCALED))
    if rng.random() < COMPRESSED:
        image = _compressed(image, int(rng.integers(*QUALITY)))
    return image, photo


def rotate_photo(image: RGBImage, photo: Photo, angle: float, expanded: bool) -> tuple[RGBImage, Photo]:
    """The photo rotated by ``angle`` degrees, clockwise, about its middle; ``expanded``: the canvas holds all of it.

    Boxes become those of the rotated ellipses that they hold: a face fills its ellipse, not the corners.
    """
    rotated, transform = rotate_image(image, angle, PADDING, expand=expanded)
    boxes, landmarks = rotate_boxes(photo.boxes, transform), photo.landmarks @ transform[:, :2].T + transform[:, 2]
    return rotated, _moved(photo, boxes, landmarks, np.array(rotated.shape[1::-1]))


def truncate_photo(image: RGBImage, photo: Photo, part: np.ndarray) -> tuple[RGBImage, Photo]:
    """The pixels that ``part`` (x1, y1, x2, y2) touches; the photo as it is where that would be below MIN_CUT."""
    size = np.array(image.shape[1::-1])
    x1, y1 = np.maximum(np.floor(part[:2]), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(part[2:]), size).astype(int)
    if min(x2 - x1, y2 - y1) < MIN_CUT:
        return image, photo
    corner = np.array([x1, y1], np.float64)
    boxes, landmarks = photo.boxes - np.tile(corner, 2), photo.landmarks - corner
    return np.ascontiguousarray(image[y1:y2, x1:x2]), _moved(photo, boxes, landmarks, np.array([x2 - x1, y2 - y1]))


def _angle(rng: np.random.Generator) -> float:
    if rng.random() < ANY_ANGLE:
        return rng.uniform(-180, 180)
    return float(np.clip(rng.normal(0, ANGLE), -MAX_ANGLE, MAX_ANGLE))


def _close_up(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square about the face (x1, y1, x2, y2)."""
    side = (box[2:] - box[:2]).max()
    centre = (box[:2] + box[2:]) / 2 + rng.uniform(-CLOSE_UP_SHIFT, CLOSE_UP_SHIFT, 2) * side
    half = side * rng.uniform(*CLOSE_UP_SIDES) / 2
    return np.concatenate([centre - half, centre + half])


def _truncation(box: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The photo up to a border that leaves a part of the face: on the left, above, on the right or below."""
    hidden = (1 - rng.uniform(*VISIBLE)) * (box[2:] - box[:2])
    borders = np.concatenate([box[:2] + hidden, box[2:] - hidden])
    part = np.array([0.0, 0.0, shape[1], shape[0]])
    edge = rng.integers(4)
    part[edge] = borders[edge]
    return part


def _moved(photo: Photo, boxes: np.ndarray, landmarks: np.ndarray, size: np.ndarray) -> Photo:
    """The photo with moved faces in an image of ``size`` (width, height), without those that are no longer in it.

    Boxes end at the border, as annotators draw them. P-Net's windows lie inside the photo, and one that holds the
    visible 60 % of a face overlaps the box of all of it by 0.43 only, too little to be positive.
    """
    inside = np.clip(boxes, 0, np.tile(size, 2))
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    shares = (inside[:, 2:] - inside[:, :2]).prod(axis=1) / np.maximum(areas, 1e-9)
    left = shares > IGNORED
    return replace(
        photo,
        boxes=inside[left],
        ignored=(photo.ignored | (shares < LEARNED))[left],
        landmarks=landmarks[left],
        attributes={},
        ellipses=None,
        size=None,
    )


def _reduced(image: RGBImage, photo: Photo, rng: np.random.Generator) -> tuple[RGBImage, Photo]:
    """The photo reduced until a face of it, picked at random, has a side of REDUCED_FACE; never enlarged."""
    sides = (photo.boxes[:, 2:] - photo.boxes[:, :2]).min(axis=1, initial=np.inf)[~photo.ignored]
    side = math.exp(rng.uniform(*np.log(REDUCED_FACE)))
    large = sides[sides > side]
    size = np.array(image.shape[1::-1])
    if not len(large):
        return image, photo
    reduced = np.maximum(np.round(size * side / rng.choice(large)), 1).astype(int)
    if reduced.min() < MIN_CUT:
        return image, photo
    small = cv2.resize(image, reduced.tolist(), interpolation=cv2.INTER_AREA)
    scale = reduced / size
    boxes, landmarks = photo.boxes * np.tile(scale, 2), photo.landmarks * scale
    return np.asarray(small, np.uint8), _moved(photo, boxes, landmarks, reduced)


def _blurred(image: RGBImage, factor: float) -> RGBImage:
    """The image reduced by the factor and brought back to its size."""
    height, width = image.shape[:2]
    reduced = (max(8, int(width / factor)), max(8, int(height / factor)))
    small = cv2.resize(image, reduced, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _compressed(image: RGBImage, quality: int) -> RGBImage:
    """The image as JPEG of that quality; OpenCV has blue first."""
    _, stored = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(stored, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[:, :, ::-1], np.uint8)
