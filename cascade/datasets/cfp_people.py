"""CFP, Celebrities in Frontal-Profile: ten frontal and four profile photos of each of 500 people."""

from __future__ import annotations

import re
from pathlib import Path

from ._images import ProblemLog, listed
from .folders import read_folder
from .people import People, PersonPhoto
from .photo import DatasetError

__all__ = ["read_cfp_people"]

_IMAGES = Path("Data", "Images")
_NAME = re.compile(r"(?:.+/)?(?P<name>(?P<person>\d{3})/(?:frontal|profile)/\d{2}\.\w+)")


def read_cfp_people(root: str | Path, *, strict: bool = False) -> People:
    """Read CFP as it is distributed: ``root/Data/Images/001/frontal/01.jpg``.

    ``root`` may also be the folder of the photos itself. Folders between it and those of the people mean nothing. Names
    begin with the person: 001/frontal/01.jpg.

    The data set is S. Sengupta et al., Frontal to Profile Face Verification in the Wild, WACV 2016.

    Raises DatasetError when there is no such photo, or, if ``strict``, for the first problem.
    """
    root = Path(root)
    content = read_folder(root / _IMAGES if (root / _IMAGES).is_dir() else root, strict=strict)
    log = ProblemLog(strict)
    named = [(photo, _NAME.fullmatch(photo.name)) for photo in content]
    photos = [PersonPhoto(photo.path, name["name"], name["person"]) for photo, name in named if name]
    if not photos:
        raise DatasetError(f"{root}: no photos named like 001/frontal/01.jpg")
    if len(photos) < len(named):
        odd = [photo.name for photo, name in named if not name]
        log.add(root, None, f"{len(odd)} photos are not named like 001/frontal/01.jpg: {listed(odd)}")
    return People("cfp_people", tuple(sorted(photos, key=lambda photo: photo.name)), (*content.problems, *log.problems))
