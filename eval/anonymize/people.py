"""Photos of people for the attacks on hidden faces: two of each, and some of other people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from cascade.datasets import Entry, Pairs, People, PersonPhoto
from cascade.detect import Detector
from cascade.imaging.reading import read_image
from eval.anonymize.recovery import Subject
from eval.recognition.embedding import main_face

__all__ = ["read_subjects"]

OTHERS_SET = "lfw_train"
"""Whose people the attacks may learn from."""

OTHERS = 400

MIN_FACE = 40.0


def read_subjects(
    registry: Mapping[str, Entry], data: Path, name: str, most: int, threads: int | None = None
) -> tuple[list[Subject], list[Subject], list[Subject]]:
    """Probes and gallery of up to ``most`` people of a set, in the same order, and photos of other people.

    Of each person with two photos, the first two are taken. The order of the people is shuffled with a fixed seed.
    Raises ValueError where there are none, and what the readers raise.
    """
    detector = Detector(MIN_FACE, threads=threads)
    people = _people(registry[name].read(data, strict=True))
    pairs: list[tuple[Subject, Subject]] = []
    for first, second, *_ in _shuffled(photos for photos in people.values() if len(photos) > 1):
        found = _subject(first, detector), _subject(second, detector)
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
        subject = _subject(photos[0], detector)
        others += [] if subject is None else [subject]
        if len(others) == OTHERS:
            break
    return [probe for probe, _ in pairs], [mate for _, mate in pairs], others


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


def _subject(photo: PersonPhoto, detector: Detector) -> Subject | None:
    """The photo and its main face, None where none is found."""
    image = read_image(photo.path)
    faces = detector.detect(image)
    if not len(faces):
        return None
    return Subject(str(photo.person), image, faces[[main_face(faces, image.shape[1], image.shape[0])]])
