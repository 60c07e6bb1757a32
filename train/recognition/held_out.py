"""The faces that were held out of a recogniser's training: to calibrate on, and to measure what quality is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.datasets import REGISTRY, DatasetError, People, PersonPhoto, read_photo_list
from cascade.imaging.alignment import AlignError
from cascade.imaging.reading import ImageError, read_image
from cascade.quality import FaceQuality, measure
from cascade.recognize import Recognizer
from train.recognition.pack import one_face

NAMED = ("lfw_train", "celeba_people")
"""Sets with named people."""

HELD_OUT = {"lfw_train": "held_out_people.txt", "celeba_people": "held_out_celeba.txt"}
"""The recipes' lists of those of them who are held out of training."""

NAMELESS = "utkface_val"
"""A set of people of all ages, each photo another person."""

RECIPES = Path(__file__).parents[1] / "recipes"


@dataclass(frozen=True, eq=False)
class HeldOutFaces:
    """Faces of one set: embeddings (n, D), apparent ages (n,) in years, persons (n,), each a number, and quality."""

    embeddings: NDArray[np.float32]
    ages: NDArray[np.float32]
    persons: NDArray[np.intp]
    quality: FaceQuality


def held_out_faces(data: Path, names: Sequence[str], recognizer: Recognizer) -> list[HeldOutFaces]:
    """The faces of these sets, each found and aligned as in training. Raises DatasetError for people without photos."""
    return [_embedded(_photos(data, name), REGISTRY[name].kind, recognizer) for name in names]


def _photos(data: Path, name: str) -> list[PersonPhoto]:
    """The photos of a set, of one with named people those of the people held out."""
    people = REGISTRY[name].read(data)
    assert isinstance(people, People)
    if name not in HELD_OUT:
        return list(people)
    return photos_of(RECIPES / HELD_OUT[name], people)


def photos_of(names: Path, people: People) -> list[PersonPhoto]:
    """The photos of the people whom a list names, one a line. Raises DatasetError for a name without photos."""
    wanted = set(read_photo_list(names))
    photos = [photo for photo in people if photo.person in wanted]
    missing = sorted(wanted - {str(photo.person) for photo in photos})
    if missing or not photos:
        raise DatasetError(f"{names}: no photos in {people.name} of {', '.join(missing[:5]) or 'anybody'}")
    return photos


def _embedded(photos: Sequence[PersonPhoto], kind: str, recognizer: Recognizer) -> HeldOutFaces:
    """The face of each photo that has one; photos without a name show a person each."""
    numbers: dict[str, int] = {}
    embeddings, ages, persons, qualities = [], [], [], []
    for photo in tqdm(photos, unit="photo"):
        try:
            image = read_image(photo.path)
            face = one_face(recognizer.detector.detect(image), image, kind)
            analysis = recognizer.analyze(image, face)
        except (ImageError, AlignError):
            continue
        if len(face):
            embeddings.append(analysis.embeddings[0])
            ages.append(analysis.ages[0])
            qualities.append(measure(image, face))
            persons.append(numbers.setdefault(photo.person or f"photo {photo.name}", len(numbers)))
    if not embeddings:
        raise DatasetError(f"expected faces, found none in {len(photos)} photos")
    return HeldOutFaces(np.stack(embeddings), np.array(ages), np.array(persons), FaceQuality.joined(qualities))
