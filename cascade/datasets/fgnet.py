"""FG-NET: photos of 82 people over decades, with ages and 68 landmarks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ._images import ProblemLog, listed, without_suffix
from ._points import read_points
from ._text import LineError
from .folders import read_folder
from .people import People, PersonPhoto
from .photo import DatasetError

__all__ = ["FGNET_FIVE", "read_fgnet"]

FGNET_FIVE = (31, 36, 67, 48, 54)
"""Of FG-NET's 68 points, counted from 0: both pupils, the nose tip, both mouth corners, left ones in the image first.

Its order is its own: it is not that of 300-W, where 31 to 36 are on the nose and the right eye.
"""

_NAME = re.compile(r"(?P<person>\d{3})A(?P<age>\d{2})[a-z]?", re.IGNORECASE)


def read_fgnet(root: str | Path, *, strict: bool = False) -> People:
    """Read FG-NET as it is distributed: the folders ``images`` and ``points`` in ``root``.

    ``root`` may also be the folder of the photos itself; the points are then in ``points`` in it, or beside
    it where it is called images.

    A photo's name is person, "A", age and perhaps a letter: 001A43a.JPG. Its five landmarks come from the
    .pts file of the same name (capitals do not matter), in pixels as they stand there; None without one.
    Names are paths below ``root``.

    The data set is A. Lanitis, C. Taylor, T. Cootes, Toward Automatic Simulation of Aging Effects on Face
    Images, IEEE Transactions on Pattern Analysis and Machine Intelligence 24(4), 2002.

    Raises DatasetError when there is no such photo, or, if ``strict``, for the first problem: a name of
    another form, a missing or malformed .pts file.
    """
    root = Path(root)
    log = ProblemLog(strict)
    folder = "images" if (root / "images").is_dir() else ""
    beside = root.parent if root.name == "images" else root
    points = {file.stem.lower(): file for file in sorted((beside / "points").glob("*.[pP][tT][sS]"))}
    photos: list[PersonPhoto] = []
    odd: list[str] = []
    without: list[str] = []
    content = read_folder(root / folder, strict=strict)
    for photo in content:
        stem = without_suffix(photo.name)
        label = _NAME.fullmatch(stem)
        if label is None:
            odd.append(photo.name)
            continue
        file = points.get(stem.lower())
        if file is None:
            without.append(photo.name)
        landmarks = None if file is None else _five_points(file, log)
        name = f"{folder}/{photo.name}".lstrip("/")
        photos.append(PersonPhoto(photo.path, name, label["person"], float(label["age"]), landmarks))
    if not photos:
        raise DatasetError(f"{root}: no photos named like 001A02.JPG, in it or in its folder images")
    if odd:
        log.add(root, None, f"{len(odd)} photos are not named like 001A02.JPG: {listed(odd)}")
    if without:
        log.add(beside / "points", None, f"{len(without)} photos without a .pts file: {listed(without)}")
    return People("fgnet", tuple(photos), (*content.problems, *log.problems))


def _five_points(file: Path, log: ProblemLog) -> NDArray[np.float32] | None:
    """Return the five landmarks of a .pts file; a malformed one is noted."""
    try:
        points = read_points(file)
    except (LineError, DatasetError) as error:
        log.add(file, getattr(error, "line", None), getattr(error, "message", str(error)))
        return None
    return points[list(FGNET_FIVE)].astype(np.float32)
