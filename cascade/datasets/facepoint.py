"""CUHK's lists of five facial points: net_7876 and LFW, the landmarks that MTCNN's authors trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ._images import ProblemLog
from ._listing import LabelledFace, Listed, photos_of
from ._text import LineError, decode, parse_rows, read_lines
from .photo import Dataset, DatasetError

__all__ = ["read_facepoint"]

NUMBERS = (14,)
"""Of a line: left, right, top and bottom of the box, and x, y of five points."""


def read_facepoint(
    annotations: str | Path, images: str | Path | None = None, *, require_images: bool = True, strict: bool = False
) -> Dataset:
    r"""Read a list such as trainImageList.txt: one photo a line, with the box and five points of one face in it.

    annotations     the list
    images          the folder that its names start from; by default the folder of the list
    require_images  False: photos that are not there are in the set, too

    A line is a name (with / or \), the left, right, top and bottom edge of the box in pixels, and five points as x, y:
    left eye, right eye, nose, left and right mouth corner as seen in the photo. The numbers are taken as they stand.
    Boxes reach from brow to chin. Other faces may be there, so none of the photos is fully labelled.

    The set is that of Y. Sun et al., Deep Convolutional Network Cascade for Facial Point Detection, CVPR 2013.

    Raises DatasetError when there is no such list or no photo of it, or, if ``strict``, for the first problem: a broken
    line, or photos that are not there.
    """
    source, log = Path(annotations), ProblemLog(strict)
    root = source.parent if images is None else Path(images)
    photos = tuple(
        photos_of(source, root, _entries(source, log), log, require_images=require_images, fully_labelled=False)
    )
    if not photos:
        raise DatasetError(f"{source}: none of its photos is below {root}")
    return Dataset(source.stem, photos, tuple(log.problems))


def _entries(source: Path, log: ProblemLog) -> Iterator[Listed]:
    for number, line in enumerate(read_lines(source), 1):
        name, *numbers = line.split(maxsplit=1) or [b""]
        if not name:
            continue
        try:
            path = decode(name, number).replace("\\", "/")
            (row,) = parse_rows(numbers or [b""], number, NUMBERS)
        except LineError as error:
            log.add(source, error.line, error.message)
            continue
        left, right, top, bottom = row[:4].tolist()
        face = LabelledFace((left, top, right, bottom), row[4:].reshape(5, 2).tolist())
        yield Listed(path, [face], line=number)
