"""A folder per person: how most recognition sets come, for training and for galleries."""

from __future__ import annotations

from pathlib import Path

from ._images import ProblemLog, listed
from .folders import read_folder
from .people import People, PersonPhoto
from .photo import DatasetError

__all__ = ["read_identities"]


def read_identities(root: str | Path, *, strict: bool = False) -> People:
    """Read a folder that has a folder of photos for each person: ``root/person/photo.jpg``.

    Photos deeper down belong to the person of the first folder. Names are paths below ``root``. Photos beside
    the folders are left out and reported together.

    Raises DatasetError when there is no such photo, or, if ``strict``, for the first problem.
    """
    folder = read_folder(root, strict=strict)
    log = ProblemLog(strict)
    loose = [photo.name for photo in folder if "/" not in photo.name]
    photos = tuple(
        PersonPhoto(photo.path, photo.name, photo.name.partition("/")[0]) for photo in folder if "/" in photo.name
    )
    if not photos:
        raise DatasetError(f"{root}: no person's folder with photos")
    if loose:
        log.add(Path(root), None, f"{len(loose)} photos lie in no person's folder: {listed(loose)}")
    return People(folder.name, photos, (*folder.problems, *log.problems))
