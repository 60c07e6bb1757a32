"""Cuts the aligned crops that attributes are learned from: photo → detector → landmarks → 112×112 pixels.

In sets of photos as taken a photo counts where one face is clearly the largest. In sets of crops the face is there, so
the detector need not be sure; where it sees none, the crop is aligned by the median landmarks of the set's others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.datasets import DatasetError, LabelledPhoto
from cascade.detect import Detector
from cascade.faces import Faces
from cascade.imaging.alignment import TEMPLATE_SIZE, AlignError, align
from cascade.imaging.reading import ImageError, RGBImage, read_image
from train.attributes.sources import AttributeSource
from train.attributes.store import LabelledCrops, encode_labels, load_labelled_crops
from train.recognition.pack import main_face

SURE, UNSURE = (0.7, 0.3, 0.8), (0.5, 0.1, 0.3)  # the detector's thresholds in photos and in crops
SMALLEST = 0.25  # side of a face over a crop's shorter side
SMALL_PHOTO, ENLARGED = 128, 192  # crops with shorter sides below the first are enlarged to the second
RIVAL = 0.6  # a second face of this share of the largest one's side leaves open whom the labels are about
MIN_FACE = 24  # pixels, in photos as taken


@dataclass(frozen=True)
class CutFace:
    """An aligned crop and the landmarks (5, 2) that it was aligned by, as shares of the photo's width and height."""

    crop: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


@cache
def _detector(min_face: int, thresholds: tuple[float, float, float]) -> Detector:
    return Detector(min_face=min_face, thresholds=thresholds, threads=1)


def cut_face(path: Path, crops: bool) -> CutFace | str | None:
    """The face of a photo; None if none is found, or why the photo cannot be used."""
    try:
        image = read_image(path)
        image = enlarged(image) if crops else image
        height, width = image.shape[:2]
        side = max(MIN_FACE, int(SMALLEST * min(height, width))) if crops else MIN_FACE
        faces = _detector(side, UNSURE if crops else SURE).detect(image)
        if not crops and _several(faces):
            return "several faces of similar size"
        face = main_face(faces, width, height) if crops else _largest(faces)
        if not len(face):
            return None
        return CutFace(face.align(image)[0], face.landmarks[0] / (width, height))
    except (ImageError, AlignError) as error:
        return str(error)


def enlarged(image: RGBImage) -> RGBImage:
    """The image, one whose shorter side is below 128 pixels at a shorter side of 192: the detector needs pixels."""
    shorter = min(image.shape[:2])
    if shorter >= SMALL_PHOTO:
        return image
    scale = ENLARGED / shorter
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)


def _sides(faces: Faces) -> NDArray[np.float32]:
    return np.asarray(np.sqrt((faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(axis=1)), np.float32)


def _largest(faces: Faces) -> Faces:
    return faces[np.argsort(-_sides(faces), kind="stable")[:1]]


def _several(faces: Faces) -> bool:
    sides = np.sort(_sides(faces))[::-1]
    return len(sides) > 1 and bool(sides[1] > RIVAL * sides[0])


def pack_source(source: AttributeSource, root: Path, folder: Path, workers: int) -> LabelledCrops:
    """Packs a set into ``folder``, unless it is there already.

    Raises DatasetError when the set cannot be read or has no usable photo, ValueError for a folder of another set.
    """
    about = {"source": source.name, "kind": source.kind, "crops": source.crops, "limit": source.limit}
    if (folder / "meta.json").exists():
        packed = load_labelled_crops(folder)
        if {name: packed.meta.get(name) for name in about} != about:
            raise ValueError(f"{folder} was packed with other settings; remove it or use another folder")
        return packed
    dataset = source.read(root)
    photos = _chosen(dataset.photos, source.limit)
    folder.mkdir(parents=True, exist_ok=True)
    problems = [str(problem) for problem in dataset.problems]
    partial = folder / f"crops.{os.getpid()}.npy"
    shape = (len(photos), TEMPLATE_SIZE, TEMPLATE_SIZE, 3)
    crops = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
    used, found = _fill(crops, photos, source, workers, problems)
    if not used:
        raise DatasetError(f"{source.name}: no face in any of {len(photos)} photos")
    labels, texts = encode_labels([photo.labels for photo in used])
    np.save(folder / "crops.npy", crops[: len(used)])
    partial.unlink()
    np.save(folder / "labels.npy", labels)
    np.save(folder / "found.npy", found)
    meta: dict[str, Any] = {**about, "about": source.about, "problems": problems, "texts": texts}
    meta["names"] = [photo.name for photo in used]
    (folder / "meta.json").write_text(json.dumps(meta) + "\n")
    return load_labelled_crops(folder)


def _chosen(photos: Sequence[LabelledPhoto], limit: int | None) -> Sequence[LabelledPhoto]:
    """All photos, or so many of them at random, always the same ones."""
    if limit is None or limit >= len(photos):
        return photos
    rows = np.random.default_rng(0).permutation(len(photos))[:limit]
    return [photos[row] for row in np.sort(rows)]


def _fill(
    crops: NDArray[np.uint8],
    photos: Sequence[LabelledPhoto],
    source: AttributeSource,
    workers: int,
    problems: list[str],
) -> tuple[list[LabelledPhoto], NDArray[np.bool_]]:
    """Fills the first rows of ``crops``; returns the photos they are of, and whether their faces were found.

    Adds what is left out to the problems.
    """
    used: list[LabelledPhoto] = []
    landmarks: list[NDArray[np.float32]] = []
    missed: list[LabelledPhoto] = []
    for photo, face in _cut(photos, source, workers):
        if isinstance(face, CutFace):
            crops[len(used)] = face.crop
            landmarks.append(face.landmarks)
            used.append(photo)
        elif face is not None:
            problems.append(f"{photo.name}: {face}")
        elif source.crops:
            missed.append(photo)
        else:
            problems.append(f"{photo.name}: no face found")
    found = len(used)
    if found:
        usual = np.median(landmarks, axis=0)
        for photo in missed:
            image = enlarged(read_image(photo.path))
            crops[len(used)] = align(image, usual[None] * image.shape[1::-1])[0]
            used.append(photo)
    return used, np.arange(len(used)) < found


def _cut(
    photos: Sequence[LabelledPhoto], source: AttributeSource, workers: int
) -> Iterator[tuple[LabelledPhoto, CutFace | str | None]]:
    with ProcessPoolExecutor(workers) as pool, tqdm(total=len(photos), desc=source.name, unit="photo") as progress:
        paths, crops = [photo.path for photo in photos], [source.crops] * len(photos)
        for photo, face in zip(photos, pool.map(cut_face, paths, crops, chunksize=32), strict=True):
            yield photo, face
            progress.update()
