"""A folder per class: how FER2013 and most small sets come."""

from __future__ import annotations

from pathlib import Path

from .identities import read_identities
from .labelled import LabelledPhoto, LabelledPhotos

__all__ = ["read_class_folders"]


def read_class_folders(root: str | Path, attribute: str, *, strict: bool = False) -> LabelledPhotos:
    """Read a folder that has a folder of photos for each class: ``root/happy/photo.jpg``.

    The folder's name is the label of the ``attribute``. Names are paths below ``root``. Photos beside the folders are
    left out and reported together.

    Raises DatasetError when there is no such photo, or, if ``strict``, for the first problem.
    """
    people = read_identities(root, strict=strict)
    photos = tuple(LabelledPhoto(photo.path, photo.name, {attribute: str(photo.person)}) for photo in people)
    return LabelledPhotos(people.name, photos, people.problems)
