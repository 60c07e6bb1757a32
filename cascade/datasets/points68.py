"""300-W and the sets in its order of points: HELEN, AFW, LFPW, iBUG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ._images import ProblemLog, listed
from ._points import POINTS, read_points
from ._text import LineError
from .folders import read_folder
from .photo import DatasetError, PhotoSet

__all__ = ["PointsPhoto", "PointsPhotos", "read_points68"]

MATLAB_PIXEL = 0.5  # in .pts files the centre of the first pixel is at 1, here it is at 0.5


@dataclass(frozen=True, slots=True, eq=False)
class PointsPhoto:
    """One photo and the 68 points of one face in it; other faces may be there.

    points  (68, 2) float32, read-only, in the order of iBUG's 300-W, in pixels of the image, which spans [0, W]×[0, H]

    Raises ValueError for points of another shape or not finite.
    """

    path: Path
    name: str
    points: NDArray[np.float32]

    def __post_init__(self) -> None:
        points = np.array(self.points, np.float32)
        if points.shape != (POINTS, 2) or not np.isfinite(points).all():
            raise ValueError(f"{self.name}: points must be finite, ({POINTS}, 2), got shape {points.shape}")
        points.setflags(write=False)
        object.__setattr__(self, "points", points)


class PointsPhotos(PhotoSet[PointsPhoto]):
    """The photos of one set with 68 points: a `PhotoSet` of `PointsPhoto`."""

    __slots__ = ()


def read_points68(root: str | Path, *, strict: bool = False) -> PointsPhotos:
    """Read every photo below a folder that has a .pts file of the same name beside it.

    The points are the 68 of 300-W, from 1 in the files (the centre of the first pixel is 1, 1) and in our own frame in
    what is returned. Names are paths below ``root``.

    The sets are C. Sagonas et al., 300 Faces in-the-Wild Challenge, ICCV Workshops 2013.

    Raises DatasetError when there is no such photo, or, if ``strict``, for the first problem: a photo without a .pts
    file, or a malformed one.
    """
    root, log = Path(root), ProblemLog(strict)
    content = read_folder(root, strict=strict)
    photos: list[PointsPhoto] = []
    without: list[str] = []
    for photo in content:
        file = photo.path.with_suffix(".pts")
        if not file.exists():
            without.append(photo.name)
            continue
        try:
            points = read_points(file, plain=True) - MATLAB_PIXEL
        except (LineError, DatasetError) as error:
            log.add(file, getattr(error, "line", None), getattr(error, "message", str(error)))
            continue
        photos.append(PointsPhoto(photo.path, photo.name, points.astype(np.float32)))
    if not photos:
        raise DatasetError(f"{root}: no photos with a .pts file of 68 points beside them")
    if without:
        log.add(root, None, f"{len(without)} photos without a .pts file: {listed(without)}")
    return PointsPhotos(root.name, tuple(photos), (*content.problems, *log.problems))
