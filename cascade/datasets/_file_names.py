"""Photos of people whose labels are in the names of the files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ._images import ProblemLog, listed
from .folders import read_folder
from .people import People, PersonPhoto
from .photo import DatasetError, Photo


def read_file_names(
    title: str,
    root: str | Path,
    label: Callable[[str], re.Match[str] | None],
    person_photo: Callable[[Photo, re.Match[str]], PersonPhoto],
    example: str,
    strict: bool,
) -> People:
    """Return what ``person_photo`` makes of every photo below a folder whose name has a ``label``.

    Photos named otherwise than ``example`` are left out and reported together. Raises DatasetError when there is no
    such photo, or, if ``strict``, for the first problem.
    """
    folder = read_folder(root, strict=strict)
    log = ProblemLog(strict)
    photos: list[PersonPhoto] = []
    odd: list[str] = []
    for photo in folder:
        match = label(photo.name)
        if match is None:
            odd.append(photo.name)
        else:
            photos.append(person_photo(photo, match))
    if not photos:
        raise DatasetError(f"{root}: no photos named like {example}")
    if odd:
        log.add(Path(root), None, f"{len(odd)} photos are not named like {example}: {listed(odd)}")
    return People(title, tuple(photos), (*folder.problems, *log.problems))
