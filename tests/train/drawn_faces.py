"""Drawn photos whose truth is known to a fraction of a pixel: smooth faces with a blue left eye and a green right eye.

Nothing else in them is blue or green, so the centroid of "blueness" in any crop is where the left eye went.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SKIN, BLUE, GREEN, RED, DARK = (225, 185, 150), (10, 20, 240), (10, 220, 30), (190, 60, 40), (90, 30, 30)
COLOURS = (BLUE, GREEN, RED, DARK, DARK)
# Landmarks in shares of the face's box: left eye, right eye, nose, left and right mouth corner.
LAYOUT = np.array([(0.28, 0.4), (0.72, 0.4), (0.5, 0.6), (0.34, 0.79), (0.66, 0.79)])
EYE = 0.13  # radius of an eye over the width of the face


@dataclass(frozen=True)
class Face:
    """One face of a photo; an ``ignored`` one is a crowd in COCO's words."""

    box: tuple[float, float, float, float]
    ignored: bool = False
    has_landmarks: bool = True  # its landmarks are in the annotation

    @property
    def landmarks(self) -> np.ndarray:
        """The five points (5, 2) in pixels of the photo."""
        x1, y1, x2, y2 = self.box
        return np.array((x1, y1)) + LAYOUT * (x2 - x1, y2 - y1)


def blank(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A grey photo of soft and fine texture, (height, width, 3) uint8."""
    soft = cv2.resize(rng.uniform(20, 235, (height // 12 + 2, width // 12 + 2)), (width, height))
    fine = cv2.GaussianBlur(rng.uniform(-60, 60, (height, width)), (0, 0), 0.8)
    return np.repeat(np.clip(soft + fine, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def draw(image: np.ndarray, faces: Iterable[Face]) -> np.ndarray:
    """A copy of the photo with the faces in it."""
    canvas = image.astype(np.float64)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    for face in faces:
        x1, y1, x2, y2 = face.box
        _blend(canvas, x, y, ((x1 + x2) / 2, (y1 + y2) / 2), ((x2 - x1) / 2, (y2 - y1) / 2), SKIN)
        radius = EYE * (x2 - x1)
        for number, (point, colour) in enumerate(zip(face.landmarks, COLOURS, strict=True)):
            size = radius if number < 2 else 0.7 * radius
            _blend(canvas, x, y, point, (size, size), colour)
    return np.round(canvas).astype(np.uint8)


def _blend(canvas: np.ndarray, x: np.ndarray, y: np.ndarray, centre, radii, colour) -> None:
    """Paints an ellipse with soft edges."""
    distance = (np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1]) - 1) * min(radii)
    alpha = np.clip(0.5 - distance, 0, 1)[:, :, None]
    canvas *= 1 - alpha
    canvas += alpha * colour


def blueness(crops: np.ndarray) -> np.ndarray:
    """How blue each pixel of (..., 3) is, above what blurring and rounding make of skin and grey."""
    crops = crops.astype(np.float64)
    return np.clip(crops[..., 2] - crops[..., :2].max(axis=-1) - 8, 0, None)


def greenness(crops: np.ndarray) -> np.ndarray:
    """How green each pixel of (..., 3) is."""
    crops = crops.astype(np.float64)
    return np.clip(crops[..., 1] - crops[..., ::2].max(axis=-1) - 8, 0, None)


def centroids(weights: np.ndarray) -> np.ndarray:
    """Centres (n, 2), x and y, of weights (n, height, width), a pixel's centre being at +0.5; NaN without weight."""
    y, x = np.mgrid[: weights.shape[1], : weights.shape[2]] + 0.5
    total = weights.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return np.stack([(weights * x).sum(axis=(1, 2)) / total, (weights * y).sum(axis=(1, 2)) / total], axis=1)


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes, the slow and plain way."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def random_faces(rng: np.random.Generator, width: int, height: int, count: int) -> list[Face]:
    """Up to ``count`` faces of 16 to 70 pixels that do not touch."""
    faces: list[Face] = []
    for _ in range(50):
        wide = rng.uniform(16, 70)
        high = wide * rng.uniform(1.05, 1.3)
        if len(faces) == count or high > height:
            continue
        x, y = rng.uniform(0, width - wide), rng.uniform(0, height - high)
        box = (x, y, x + wide, y + high)
        if all(iou((x - 4, y - 4, x + wide + 4, y + high + 4), other.box) == 0 for other in faces):
            faces.append(Face(box))
    return faces


def save_photo(path: Path, image: np.ndarray) -> None:
    """Writes an RGB array without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[:, :, ::-1])


def save_coco(folder: Path, photos: dict[str, list[Face]], **info) -> Path:
    """Writes annotations.json for photos of the folder."""
    images, annotations = [], []
    for number, (name, faces) in enumerate(photos.items()):
        images.append({"id": number, "file_name": name})
        for face in faces:
            x1, y1, x2, y2 = face.box
            entry = {"image_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": int(face.ignored)}
            if face.has_landmarks:
                entry["keypoints"] = np.c_[face.landmarks, np.full(5, 2)].ravel().tolist()
            annotations.append(entry)
    file = folder / "annotations.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"info": info, "images": images, "annotations": annotations}))
    return file


def save_set(folder: Path, count: int, seed: int, size: tuple[int, int] = (144, 112)) -> dict[str, list[Face]]:
    """Draws ``count`` photos of one to three faces into a folder, with their annotation."""
    rng = np.random.default_rng(seed)
    photos: dict[str, list[Face]] = {}
    for number in range(count):
        faces = random_faces(rng, *size, count=int(rng.integers(1, 4)))
        photos[f"{number:03}.png"] = faces
        save_photo(folder / f"{number:03}.png", draw(blank(*size, rng), faces))
    save_coco(folder, photos)
    return photos


def save_empty(folder: Path, count: int, seed: int, size: tuple[int, int] = (144, 112)) -> None:
    """Draws photos without a face into a folder."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        save_photo(folder / f"none{number:02}.png", blank(*size, rng))
