"""Cuts the aligned crops that attributes are learned from: photo → detector → landmarks → 112×112 pixels.

In sets of photos as taken a photo counts where one face is clearly the largest. In sets of crops the face is there, so
the detector need not be sure; where it sees none, the crop is aligned by the median landmarks of the set's others.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.datasets import DatasetError, LabelledPhoto
from cascade.imaging.alignment import TEMPLATE_SIZE, AlignError, align
from cascade.imaging.reading import ImageError
from cascade.single_face import Cut, SingleFace, align_as_usual, find_single_face
from train.attributes.sources import AttributeSource
from train.attributes.store import LabelledCrops, encode_labels, load_labelled_crops
from train.common.files import save_array, save_json

RIVAL = 0.6  # a second face of this share of the largest one's side leaves open whom the labels are about


def cut_face(path: Path, crops: bool, cut: Cut = align) -> SingleFace | str | None:
    """The face of a photo; None if none is found, or why the photo cannot be used."""
    try:
        face = find_single_face(path, crops, cut)
    except (ImageError, AlignError) as error:
        return str(error)
    if not crops and face is not None and face.rival > RIVAL:
        return "several faces of similar size"
    return face


def pack_source(source: AttributeSource, root: Path, folder: Path, workers: int, cut: Cut = align) -> LabelledCrops:
    """Packs a set into ``folder``, unless it is there already; ``cut`` makes the crops.

    Raises DatasetError when the set cannot be read or has no usable photo, ValueError for a folder of another set, or
    of other photos or labels.
    """
    dataset = source.read(root)
    photos = _chosen(dataset.photos, source.limit)
    about = {"source": source.name, "kind": source.kind, "crops": source.crops, "limit": source.limit}
    about["photos"] = _fingerprint(photos)
    if cut is not align:
        about["cut"] = cut.__name__
    if (folder / "meta.json").exists():
        packed = load_labelled_crops(folder)
        if {name: packed.meta.get(name) for name in about} != about:
            raise ValueError(
                f"{folder} was packed with other settings, photos or labels; remove it or use another folder"
            )
        return packed
    folder.mkdir(parents=True, exist_ok=True)
    problems = [str(problem) for problem in dataset.problems]
    with tempfile.TemporaryFile(dir=folder) as spool:  # with room for a face in each; it has no name to leave behind
        crops = np.memmap(spool, np.uint8, "w+", shape=(len(photos), TEMPLATE_SIZE, TEMPLATE_SIZE, 3))
        used, found = _fill(crops, photos, source, workers, problems, cut)
        if not used:
            raise DatasetError(f"{source.name}: no face in any of {len(photos)} photos")
        save_array(folder / "crops.npy", crops[: len(used)])
    labels, texts = encode_labels([photo.labels for photo in used])
    save_array(folder / "labels.npy", labels)
    save_array(folder / "found.npy", found)
    meta: dict[str, Any] = {**about, "about": source.about, "problems": problems, "texts": texts}
    meta["names"] = [photo.name for photo in used]
    save_json(folder / "meta.json", meta)
    return load_labelled_crops(folder)


def _fingerprint(photos: Sequence[LabelledPhoto]) -> str:
    """SHA-256 of the names, sizes and labels of photos."""
    digest = hashlib.sha256()
    for photo in photos:
        size = photo.path.stat().st_size if photo.path.exists() else -1
        digest.update(repr((photo.name, size, sorted(photo.labels.items()))).encode())
    return digest.hexdigest()


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
    cut: Cut,
) -> tuple[list[LabelledPhoto], NDArray[np.bool_]]:
    """Fills the first rows of ``crops``; returns the photos they are of, and whether their faces were found.

    Adds what is left out to the problems.
    """
    used: list[LabelledPhoto] = []
    landmarks: list[NDArray[np.float32]] = []
    missed: list[LabelledPhoto] = []
    for photo, face in _cut(photos, source, workers, cut):
        if isinstance(face, SingleFace):
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
            crops[len(used)] = align_as_usual(photo.path, usual, cut)
            used.append(photo)
    return used, np.arange(len(used)) < found


def _cut(
    photos: Sequence[LabelledPhoto], source: AttributeSource, workers: int, cut: Cut
) -> Iterator[tuple[LabelledPhoto, SingleFace | str | None]]:
    with ProcessPoolExecutor(workers) as pool, tqdm(total=len(photos), desc=source.name, unit="photo") as progress:
        paths, crops = [photo.path for photo in photos], [source.crops] * len(photos)
        for photo, face in zip(photos, pool.map(partial(cut_face, cut=cut), paths, crops, chunksize=32), strict=True):
            yield photo, face
            progress.update()
