"""Results of detection as JSON Lines or JSON: what ``cascade detect`` and others write, read and written again."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cascade.checks import is_finite_number
from cascade.faces import LANDMARK_NAMES

from ._images import ProblemLog
from ._listing import (
    NAME,
    SCORE,
    Add,
    LabelledFace,
    Listed,
    as_photo,
    faces_of,
    photos_of,
    size_of,
    writing_array,
    writing_text,
)
from .photo import Dataset, DatasetError, Photo

if TYPE_CHECKING:
    from cascade.faces import Faces

__all__ = ["PhotoFaces", "open_json", "open_json_lines", "photos_from_faces", "read_results"]

LONGEST_LINE = 1 << 28
"""Characters of a line: a photo of 100,000 faces with embeddings has fewer."""

KNOWN = ("box", "score", "landmarks", "data", "matches", "ignored")


class PhotoFaces(NamedTuple):
    """One photo and the faces that were found in it: what every source of results gives."""

    path: str
    width: int
    height: int
    faces: Faces


def photos_from_faces(results: Iterable[PhotoFaces], images: str | Path | None = None) -> Iterator[Photo]:
    """Yield results as photos of a data set, which every writer takes.

    images  the folder that names start from; without it, and for photos elsewhere, the name is the path

    Score and the arrays in ``Faces.data`` become attributes: "names", an array of texts, becomes "name". Raises
    ValueError for a size that is not positive.
    """
    for path, width, height, faces in results:
        if width < 1 or height < 1:
            raise ValueError(f"{path}: expected a width and height from 1 on, got {width}×{height}")
        labels = [{SCORE: face.score, **{key: values.tolist() for key, values in face.data.items()}} for face in faces]
        for each in labels:
            if "names" in each:
                each[NAME] = each.pop("names")
        rows = zip(faces.boxes.tolist(), faces.landmarks.tolist(), labels, strict=True)
        listed = [LabelledFace(box, points, False, each) for box, points, each in rows]
        yield as_photo(Listed(_name(path, images), listed, (width, height)), Path(path))


def _name(path: str, images: str | Path | None) -> str:
    """The path below a folder; of a photo elsewhere, the path that leads to it."""
    if images is None:
        return Path(path).as_posix()
    absolute, root = os.path.abspath(path), os.path.join(os.path.abspath(images), "")
    if absolute.startswith(root):
        return Path(absolute[len(root) :]).as_posix()
    below = os.path.exists(os.path.join(root, path)) or not os.path.exists(absolute)
    return Path(path if below else absolute).as_posix()


def read_results(
    file: str | Path, images: str | Path | None = None, *, require_images: bool = True, strict: bool = False
) -> Dataset:
    """Read JSON Lines or a JSON array of ``cascade detect``, and of the commands that write the same and more.

    images          the folder that relative paths start from; by default the folder that is the current one
    require_images  False: keep photos that are not on disk

    Photos are named by their paths, or by what is below ``images``. Boxes and landmarks are pixels of the upright
    photo; landmarks that are null are NaN. The score and what else is known of a face become attributes: a number or
    text each, or a list of numbers. Of "matches", as ``cascade gallery identify`` writes them, the first is the
    attribute "name". All photos count as fully labelled. A line that is no such record is left out.

    Raises DatasetError when the file cannot be read or holds no record, or, if ``strict``, for the first problem.
    """
    source, log = Path(file), ProblemLog(strict)
    entries = result_entries(source, log)
    photos = tuple(named_photos(source, images, entries, log, require_images=require_images))
    return Dataset(source.stem, photos, tuple(log.problems))


def named_photos(
    source: Path, images: str | Path | None, entries: Iterable[Listed], log: ProblemLog, *, require_images: bool = True
) -> Iterator[Photo]:
    """Yield the photos of entries whose names are paths, which may be absolute or below ``images`` already."""
    root = Path() if images is None else Path(images)
    renamed = (entry._replace(name=_name(entry.name, images)) for entry in entries)
    yield from photos_of(source, root, renamed, log, require_images=require_images)


def result_entries(file: Path, log: ProblemLog) -> Iterator[Listed]:
    """Yield the records of a file. Raises DatasetError."""
    count = 0
    for line, record in _records(file, log):
        try:
            yield _listed(record, line)
            count += 1
        except ValueError as error:
            log.add(file, line, str(error))
    if not count and not _is_empty_list(file):
        raise DatasetError(f"{file}: holds no results of cascade detect: records with path, width, height and faces")


def _is_empty_list(file: Path) -> bool:
    return file.stat().st_size < 64 and file.read_bytes().strip() in (b"[]", b"")


def _records(file: Path, log: ProblemLog) -> Iterator[tuple[int, Any]]:
    """The number and the value of each line, or of each element of an array."""
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            number = good = 0
            while line := lines.readline(LONGEST_LINE):
                number += 1
                text = line.strip().removesuffix(",")  # in our arrays each element has a line of its own
                if text in ("", "[", "]", "[]"):
                    continue
                try:
                    value = json.loads(text)
                except (ValueError, RecursionError) as error:
                    if not good:  # perhaps an array that is laid out in another way
                        lines.seek(0)
                        value = _whole(lines.read(), file)
                        yield from ((1, each) for each in value)
                        return
                    log.add(file, number, f"not JSON: {error}")
                    continue
                good += 1
                yield from ((number, each) for each in (value if isinstance(value, list) else [value]))
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error


def _whole(text: str, file: Path) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: not JSON Lines, nor JSON: {error}") from None
    return value if isinstance(value, list) else [value]


def _listed(record: Any, line: int) -> Listed:
    if not isinstance(record, dict) or not isinstance(record.get("path"), str) or not record["path"]:
        raise ValueError("not a record of a photo: it has no path")
    path, faces = record["path"], record.get("faces")
    size = record.get("width"), record.get("height")
    if not isinstance(faces, list) or not all(isinstance(face, dict) for face in faces):
        raise ValueError(f"{path}: faces: expected a list of faces")
    if size == (None, None):
        return Listed(path, [_face(face, path) for face in faces], None, line)
    width, height = size
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise ValueError(f"{path}: expected a width and height from 1 on, got {width!r}×{height!r}")
    return Listed(path, [_face(face, path) for face in faces], (width, height), line)


def _face(face: dict[str, Any], path: str) -> LabelledFace:
    box = face.get("box")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_finite_number, box)):
        raise ValueError(f"{path}: box: expected four numbers, got {box!r}")
    points = face.get("landmarks")
    places = None
    if points is not None:
        try:
            places = [[math.nan, math.nan] if points[name] is None else points[name] for name in LANDMARK_NAMES]
            places = [[float(x), float(y)] for x, y in places]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: landmarks: expected a point for each of {', '.join(LANDMARK_NAMES)}") from error
    data = face.get("data") or {}
    labels = {**data} if isinstance(data, dict) else {}
    labels |= {key: value for key, value in face.items() if key not in KNOWN}
    if "names" in labels:
        labels[NAME] = labels.pop("names")
    matches = face.get("matches")
    if isinstance(matches, list):
        labels[NAME] = str(matches[0].get("name") or "") if matches and isinstance(matches[0], dict) else ""
    if is_finite_number(face.get("score")):
        labels[SCORE] = float(face["score"])
    return LabelledFace(box, places, face.get("ignored") is True, {k: v for k, v in labels.items() if _is_label(v)})


def _is_label(value: Any) -> bool:
    """Whether a value is one number or text, or a list of numbers (of one depth or two)."""
    if isinstance(value, list):
        return bool(value) and (
            all(map(is_finite_number, value))
            or all(isinstance(row, list) and all(map(is_finite_number, row)) for row in value)
        )
    return isinstance(value, str | bool) or is_finite_number(value)


# --------------------------------------------------------------------------------------------------
# Writing


@contextmanager
def open_json_lines(file: str | Path) -> Iterator[Add]:
    """Write a record a line, as ``cascade detect`` does: yields the function that adds a photo.

    Landmarks that are not known are null, as is the score; ``ignored`` and further labels stand beside them. Raises
    OSError, and ValueError for a photo whose size is not known.
    """
    with writing_text(file) as stream:

        def add(photo: Photo) -> None:
            stream.write(json.dumps(_record(photo)) + "\n")

        yield add


@contextmanager
def open_json(file: str | Path) -> Iterator[Add]:
    """The same as one JSON array, an element a line."""
    with writing_array(file) as element:
        yield lambda photo: element(json.dumps(_record(photo)))


def _record(photo: Photo) -> dict[str, Any]:
    width, height = size_of(photo)
    return {
        "path": str(photo.path),
        "width": width,
        "height": height,
        "faces": [_row(face) for face in faces_of(photo)],
    }


def _row(face: LabelledFace) -> dict[str, Any]:
    places = None
    if face.landmarks is not None:
        known = ([x, y] if math.isfinite(x) and math.isfinite(y) else None for x, y in face.landmarks)
        places = dict(zip(LANDMARK_NAMES, known, strict=True))
    row: dict[str, Any] = {"box": list(face.box), "score": face.labels.get(SCORE), "landmarks": places}
    row |= {"ignored": True} if face.ignored else {}
    return row | {name: value for name, value in face.labels.items() if name != SCORE}
