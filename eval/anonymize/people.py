"""Photos of people for the attacks on hidden faces: two of each, and some of other people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from cascade.datasets import Entry, Pairs, People, PersonPhoto
from cascade.detect import Detector
from cascade.imaging.alignment import AlignError, align
from cascade.imaging.reading import ImageError, read_image
from eval.anonymize.recovery import Subject
from eval.recognition.embedding import main_face

__all__ = ["read_subjects"]

OTHERS_SET = "lfw_train"
"""Whose people the attacks may learn from."""

OTHERS = 400

MIN_FACE = 40.0


def read_subjects(
    registry: Mapping[str, Entry], data: Path, name: str, most: int, threads: int | None = None
) -> tuple[list[Subject], list[Subject], list[Subject], list[str]]:
    """Probes and gallery of up to ``most`` people of a set, in the same order, photos of other people, and problems.

    Of each person with two photos, the first two are taken. The order of the people is shuffled with a fixed seed.
    People of photos that cannot be read or aligned are left out, and the problems say why. Raises ValueError where
    nobody is left, and what the readers raise.
    """
    problems: list[str] = []
    detector = Detector(MIN_FACE, threads=threads)
    people = _people(registry[name].read(data, strict=True))
    pairs: list[tuple[Subject, Subject]] = []
    for first, second, *_ in _shuffled(photos for photos in people.values() if len(photos) > 1):
        found = _subject(first, detector, problems), _subject(second, detector, problems)
        if found[0] is not None and found[1] is not None:
            pairs.append((found[0], found[1]))
        if len(pairs) == most:
            break
    if not pairs:
        raise ValueError(f"{name}: nobody has two photos with a face")
    used = {probe.person for probe, _ in pairs}
    strangers = _people(registry[OTHERS_SET].read(data, strict=True))
    others: list[Subject] = []
    for photos in _shuffled(each for person, each in strangers.items() if person not in used):
        subject = _subject(photos[0], detector, problems)
        others += [] if subject is None else [subject]
        if len(others) == OTHERS:
            break
    return [probe for probe, _ in pairs], [mate for _, mate in pairs], others, problems


def _people(read: object) -> dict[str, list[PersonPhoto]]:
    """The photos of each person of a set of people or of pairs."""
    assert isinstance(read, People | Pairs)
    found: dict[str, list[PersonPhoto]] = {}
    for photo in read.photos() if isinstance(read, Pairs) else read:
        if photo.person is not None:
            found.setdefault(photo.person, []).append(photo)
    return found


def _shuffled(items: Iterable[list[PersonPhoto]]) -> list[list[PersonPhoto]]:
    listed = list(items)
    return [listed[at] for at in np.random.default_rng(0).permutation(len(listed))]


def _subject(photo: PersonPhoto, detector: Detector, problems: list[str]) -> Subject | None:
    """The photo and its main face; None where none is found, and, with a problem, where one cannot be used."""
    try:
        image = read_image(photo.path)
        faces = detector.detect(image)
        if not len(faces):
            return None
        face = faces[[main_face(faces, image.shape[1], image.shape[0])]]
        align(image, face.landmarks)  # as the attacks do
    except (ImageError, AlignError) as error:
        problems.append(f"{photo.name}: {error}")
        return None
    return Subject(str(photo.person), image, face)
