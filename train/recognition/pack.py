"""Cuts the aligned crops that recognition learns from: photo → detector → landmarks → 112×112 pixels.

One command does it:

    python -m train faces --data train/recipes/recognition.toml --root DATA --out runs/faces
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import IO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.datasets import PersonPhoto
from cascade.detect import Detector
from cascade.face_model import five_point_yaw
from cascade.faces import Faces
from cascade.imaging.alignment import AlignError
from cascade.imaging.reading import ImageError, RGBImage, read_image
from cascade.single_face import over_centre
from train.recognition.crops import SIDE, FaceCrops
from train.recognition.sources import LABELLED, UNCENTRED, FaceSource, source_photos


@dataclass(frozen=True)
class _Job:
    photo: PersonPhoto
    min_face: float
    kind: str


@cache
def _detector(min_face: float) -> Detector:
    return Detector(min_face=min_face, threads=1)


Cut = tuple[NDArray[np.uint8], NDArray[np.float32]]


def faces_of(job: _Job) -> Cut | str:
    """Aligned crops (n, 112, 112, 3) of a photo's faces and their yaws (n,), or why it cannot be read."""
    try:
        image = read_image(job.photo.path)
        faces = _detector(job.min_face).detect(image)
        if job.kind in LABELLED:
            faces = one_face(faces, image, job.kind)
        return faces.align(image), five_point_yaw(faces.landmarks).astype(np.float32)
    except (ImageError, AlignError) as error:
        return f"{job.photo.name}: {error}"


def one_face(faces: Faces, image: RGBImage, kind: str) -> Faces:
    """The face of a photo of one person in a set of that kind, or none."""
    if kind in UNCENTRED and len(faces) == 1:
        return faces
    return largest_over_centre(faces, image.shape[1], image.shape[0])


def largest_over_centre(faces: Faces, width: int, height: int) -> Faces:
    """The largest of the faces over the photo's centre, where sets of one person a photo have theirs; or none."""
    over = np.flatnonzero(over_centre(faces, width, height))
    sides = faces.boxes[over, 2:] - faces.boxes[over, :2]
    return faces[over[np.argsort(-sides.prod(axis=1), kind="stable")[:1]]]


def pack(sources: Iterable[FaceSource], workers: int, limit: int | None = None) -> FaceCrops:
    """The faces of all sources; a photo that cannot be read or has no face is counted and left out."""
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - several gigabytes that need not fit into memory, mapped at the end
    length = 0
    persons: list[int] = []
    ages: list[float] = []
    yaws: list[float] = []
    numbers: list[int] = []
    names: dict[tuple[int, str], int] = {}
    kinds, about, counts, problems = [], [], [], []
    for number, source in enumerate(sources):
        before = length
        missed = 0
        for photo, cut in _cut(source, workers, limit):
            if isinstance(cut, str):
                problems.append(cut)
                continue
            faces, angles = cut
            missed += not len(faces)
            label = -1 if photo.person is None else names.setdefault((number, photo.person), len(names))
            spool.write(faces.tobytes())
            length += len(faces)
            persons += [label] * len(faces)
            ages += [photo.age] * len(faces)
            yaws += angles.tolist()
            numbers += [number] * len(faces)
        kinds.append(source.kind)
        about.append(source.about or source.kind)
        counts.append({"faces": length - before, "photos_without_face": missed})
    people = [name for _, name in names]
    meta = {"kinds": kinds, "sources": about, "counts": counts, "persons": people, "problems": problems}
    packed = _mapped(spool, length)
    labels = np.array(persons, np.int32), np.array(ages, np.float32), np.array(numbers, np.uint8)
    return FaceCrops(packed, *labels, meta, yaws=np.array(yaws, np.float32))


def _mapped(spool: IO[bytes], count: int) -> NDArray[np.uint8]:
    """The crops (count, 112, 112, 3) in a file, which is removed once nothing reads them."""
    if not count:
        return np.empty((0, SIDE, SIDE, 3), np.uint8)
    spool.flush()
    return np.memmap(spool, np.uint8, "r", shape=(count, SIDE, SIDE, 3))


Found = tuple[PersonPhoto, Cut | str]


def _cut(source: FaceSource, workers: int, limit: int | None) -> Iterator[Found]:
    photos = source_photos(source)[:limit]
    jobs = [_Job(photo, source.min_face, source.kind) for photo in photos]
    progress = tqdm(total=len(jobs), desc=source.about or source.kind, unit="photo")
    with ProcessPoolExecutor(workers) as pool, progress:
        for photo, cut in zip(photos, pool.map(faces_of, jobs, chunksize=16), strict=True):
            yield photo, cut
            progress.update()
