"""How often a recogniser's threshold is wrong for small faces, measured on people held out of training.

Photos are shrunk until their face has a given size; the detector finds it there, as it would in a photo of that size,
and all pairs of these faces are compared. The rates go into the weight file, where `cascade.Recognizer.verify` reads
them:

    python -m train face-sizes --images DATA/lfw/images --people train/recipes/held_out_people.txt --weights FILE
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from cascade.datasets import PersonPhoto, read_identities
from cascade.detect import Detector
from cascade.faces import Faces
from cascade.imaging.alignment import AlignError
from cascade.imaging.reading import ImageError, RGBImage, read_image
from cascade.models.recognizer import restate_recognizer
from cascade.recognize import Recognizer, face_sizes
from train.recognition.cards import restate_card
from train.recognition.held_out import photos_of
from train.recognition.pack import largest_over_centre

SIZES = (16, 18, 20, 22, 24, 27, 30, 35, 40, 50, 60, 80)
"""Pixels. Faces of LFW photos have about 100, so larger sizes cannot be measured there."""

SMALLEST = 12.0  # pixels of the faces that the detector looks for in shrunk photos

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rates:
    """What a threshold accepts where both faces of a pair have one size."""

    face_size: float
    faces: int
    different_pairs: int
    different_accepted: int
    same_pairs: int
    same_accepted: int

    def to_dict(self) -> dict[str, Any]:
        """As the weight file states it; no rate is below one pair, since fewer cannot be measured."""
        return {
            "face_size": self.face_size,
            "false_accept_rate": max(self.different_accepted, 1) / self.different_pairs,
            "true_accept_rate": self.same_accepted / self.same_pairs,
            "pairs": self.different_pairs,
        }


def held_out_photos(images: Path, people: Path) -> list[PersonPhoto]:
    """The photos of the people that a text file names, one a line. Raises DatasetError for a name without photos."""
    return photos_of(people, read_identities(images))


def embed_by_size(
    photos: Sequence[PersonPhoto], recognizer: Recognizer, sizes: Sequence[float] = SIZES
) -> tuple[NDArray[np.intp], dict[float, Floats]]:
    """The person (n,) of each photo with a face, and by size the embeddings (n, D), NaN where there is none.

    A face is never enlarged, and one that is not found or cannot be aligned in the shrunk photo has no embedding.
    Photos that cannot be read are left out.
    """
    small = Detector(min_face=SMALLEST, threads=recognizer.threads)
    numbers: dict[str, int] = {}
    persons: list[int] = []
    rows: dict[float, list[Floats]] = {size: [] for size in sizes}
    for photo in tqdm(photos, unit="photo"):
        try:
            image = read_image(photo.path)
        except ImageError as error:
            tqdm.write(f"left out: {photo.name}: {error}")
            continue
        face = _main_face(recognizer.detector, image)
        if not len(face):
            continue
        persons.append(numbers.setdefault(str(photo.person), len(numbers)))
        for size in sizes:
            rows[size].append(_embedding(recognizer, small, image, size / float(face_sizes(face.boxes)[0])))
    if not persons:
        raise ValueError(f"photos: expected faces, found none in {len(photos)} photos")
    return np.array(persons), {size: np.stack(of_size) for size, of_size in rows.items()}


def _embedding(recognizer: Recognizer, detector: Detector, image: RGBImage, scale: float) -> Floats:
    """The embedding (D,) of the main face of the image at that scale, NaN if there is none or it cannot be aligned."""
    height, width = image.shape[:2]
    if scale <= 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        shrunk = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        face = _main_face(detector, shrunk)
        if len(face):
            with suppress(AlignError):
                embedding: Floats = recognizer.embed(shrunk, face)[0]
                return embedding
    return np.full(recognizer.dimension, np.nan, np.float32)


def _main_face(detector: Detector, image: RGBImage) -> Faces:
    return largest_over_centre(detector.detect(image), image.shape[1], image.shape[0])


def rates_by_size(persons: NDArray[np.intp], embeddings: dict[float, Floats], threshold: float) -> list[Rates]:
    """The rates over all pairs of one size. Raises ValueError where a size has no pairs of one kind."""
    found = []
    for size, rows in embeddings.items():
        usable = np.isfinite(rows).all(axis=1)
        first, second = np.triu_indices(int(usable.sum()), 1)
        accepted = (rows[usable] @ rows[usable].T)[first, second] >= threshold
        same = persons[usable][first] == persons[usable][second]
        if same.all() or not same.any():
            raise ValueError(f"people: expected pairs of one person and of two with faces of {size:g} pixels")
        counts = (~same).sum(), (accepted & ~same).sum(), same.sum(), (accepted & same).sum()
        found.append(Rates(size, int(usable.sum()), *map(int, counts)))
    return found


def measure_face_sizes(images: Path, people: Path, weights: Path, threads: int | None = None) -> list[Rates]:
    """Measures the rates by face size and writes them into the weight file and the model card beside it.

    A file that ships with the package then needs its new hash in SHA256SUMS.
    """
    recognizer = Recognizer(weights, threads)
    if recognizer.operating_point is None:
        raise ValueError(f"{weights}: expected weights with a threshold, whose rates are measured")
    persons, embeddings = embed_by_size(held_out_photos(images, people), recognizer)
    found = rates_by_size(persons, embeddings, recognizer.operating_point.threshold)
    verification = dict(recognizer.weights.metadata["verification"])
    verification["by_face_size"] = [rates.to_dict() for rates in found]
    about = f"{len(np.unique(persons))} people held out of training, {len(persons)} photos shrunk"
    verification["by_face_size_measured_on"] = about
    sha256 = restate_recognizer(weights, {"verification": verification})
    shares = ", ".join(f"{each.different_accepted / each.different_pairs:.2%} at {each.face_size:g}" for each in found)
    fact = f"false accepts with both faces of that many pixels: {shares}; {about}"
    restate_card(weights, {"Small faces": fact}, sha256)
    return found
