"""CelebA's identities."""

from __future__ import annotations

from pathlib import Path

from ._images import ImageFinder, ProblemLog
from ._text import LineError, count_of, decode, read_lines
from .people import People, PersonPhoto
from .photo import DatasetError

__all__ = ["read_celeba_people"]

_FILE = "identity_CelebA.txt"


def read_celeba_people(images: str | Path, *, strict: bool = False) -> People:
    """Read CelebA as photos of people, who are numbers: ``identity_CelebA.txt`` lies beside the folder of photos.

    Lines are "photo number"; a count and a heading before them are passed over. Names are the file names in the list.
    Listed photos that are not on disk are passed over: part of CelebA is often all there is.

    Raises DatasetError when the list cannot be read or has no photo that is there, or, if ``strict``, for the first
    wrong line.
    """
    images = Path(images)
    file, finder, log = images.parent / _FILE, ImageFinder(images), ProblemLog(strict)
    photos: dict[str, PersonPhoto] = {}
    for number, line in enumerate(read_lines(file), 1):
        fields = line.split()
        if len(fields) < 2 or fields == [b"image", b"identity"]:
            continue
        try:
            name, person = decode(fields[0], number), count_of(fields[1])
        except LineError as error:
            log.add(file, error.line, error.message)
            continue
        if len(fields) > 2 or person is None:
            log.add(file, number, f"{name}: expected one number behind the photo")
            continue
        path = finder.exact(name)
        if path is not None:
            photos[name] = PersonPhoto(path, name, str(person))
    if not photos:
        raise DatasetError(f"{file}: lists none of the photos in {images}")
    return People("celeba_people", tuple(photos.values()), tuple(log.problems))
