"""WIDER FACE's annotation in its text form, written; `cascade.datasets.wider` reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._listing import Add, LabelledFace, faces_of, relative_name, writing_text
from ._wider_entries import LABELS
from .photo import Photo

__all__ = ["open_wider"]


@contextmanager
def open_wider(file: str | Path) -> Iterator[Add]:
    """Write a file as wider_face_train_bbx_gt.txt: yields the function that adds a photo.

    Each photo has its name, the number of faces, and a line for each: x, y, width, height in whole pixels, which the
    programs that read such files expect, then blur, expression, illumination, invalid, occlusion and pose. These are 0
    unless the photo has them as attributes; ``ignored`` faces are invalid. Scores, names and landmarks have no place.
    Raises OSError, and ValueError for a photo whose name leads out of a folder or has a line end.
    """
    with writing_text(file) as stream:

        def add(photo: Photo) -> None:
            name = relative_name(photo)
            if len(name.splitlines()) != 1 or name != name.strip():
                raise ValueError(f"{name!r}: expected a name of one line, without blanks around it")
            lines = [_line(face) for face in faces_of(photo)]
            none = " ".join("0" * 10)
            stream.write("\n".join([name, str(len(lines)), *(lines or [none]), ""]))

        yield add


def _line(face: LabelledFace) -> str:
    x1, y1, x2, y2 = (round(value) for value in face.box)
    labels = {label: int(face.labels.get(label, 0)) for label in LABELS}
    if face.ignored:
        labels["invalid"] = 1
    return " ".join(str(value) for value in (x1, y1, x2 - x1, y2 - y1, *labels.values()))
