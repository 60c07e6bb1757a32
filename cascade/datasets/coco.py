"""Faces in COCO's JSON form: bounding boxes, and five keypoints where there are any."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.faces import LANDMARK_NAMES
from cascade.version import __version__

from ._geometry import corners
from ._images import ImageFinder, ProblemLog
from ._listing import FACE, NAME, SCORE, Add, LabelledFace, faces_of, short_labels, size_of, writing_text
from .photo import Dataset, DatasetError, Photo

__all__ = ["open_coco", "read_coco"]

SKELETON = ((1, 3), (2, 3), (3, 4), (3, 5))
"""Which of the five points programs join by lines, counted from 1."""

IGNORED = "ignored"


def read_coco(
    annotations: str | Path,
    images: str | Path | None = None,
    *,
    fully_labelled: bool | None = None,
    require_images: bool = True,
    strict: bool = False,
) -> Dataset:
    """Read a COCO JSON file whose annotations are faces.

    images          the folder that ``file_name`` starts from; by default the folder of the JSON file
    fully_labelled  whether every face of every photo has a box; by default what ``info.fully_labelled`` in
                    the file says, and True where it says nothing
    require_images  False: keep photos that are not on disk

    A photo's name is its ``file_name``; boxes are pixels, x1, y1, x2, y2, made of ``bbox`` x, y, width,
    height. ``ignored`` are crowds and boxes without width or height. ``keypoints`` are five triples x, y,
    visibility in the order left eye, right eye, nose, left and right mouth corner as seen in the image;
    visibility 0 gives NaN. The attribute is category_id (−1 where absent); score, and name out of ``attributes``, where
    a face of the photo has them (else NaN and empty). ``size`` is width and height where
    both are given. A photo with a broken annotation is left out, or its other faces would pass for
    background. Missing photos are reported together, as one problem.

    Raises DatasetError when the file is not such a JSON file, or, if ``strict``, for the first problem.
    """
    annotations = Path(annotations)
    log = ProblemLog(strict)
    content = _load(annotations)
    if fully_labelled is None:
        info = content.get("info")
        fully_labelled = not (isinstance(info, dict) and info.get("fully_labelled") is False)
    listed = _listed_images(content["images"], annotations, log)
    faces = _faces(content["annotations"], listed, annotations, log)
    finder = ImageFinder(annotations.parent if images is None else Path(images))
    photos: list[Photo] = []
    missing: list[str] = []
    for key, entry in listed.items():
        if key not in faces:
            continue
        path = finder.exact(entry["file_name"])
        if path is None:
            missing.append(entry["file_name"])
            if require_images:
                continue
            path = finder.root / entry["file_name"]
        try:
            photos.append(_photo(entry, faces[key], path, fully_labelled))
        except ValueError as error:
            log.add(annotations, None, str(error))
    if require_images:
        log.add_missing(annotations, missing, len(listed), finder.root)
    return Dataset(annotations.stem, tuple(photos), tuple(log.problems))


@dataclass(frozen=True, slots=True)
class _Face:
    xywh: list[float]
    crowd: bool
    landmarks: list[list[float]]
    category: int
    score: float | None
    name: str


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    except json.JSONDecodeError as error:
        raise DatasetError(f"{file}:{error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, numbers of thousands of digits, deep nesting
        raise DatasetError(f"{file}: not JSON: {error}") from error
    for key in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DatasetError(f"{file}: not a COCO file: it has no list {key!r}")
    return dict(content)


def _listed_images(entries: list[Any], file: Path, log: ProblemLog) -> dict[int | str, dict[str, Any]]:
    """Return the good entries of ``images`` by id, in order; the others are noted."""
    listed: dict[int | str, dict[str, Any]] = {}
    names: set[str] = set()
    for at, entry in enumerate(entries):
        name = entry.get("file_name") if isinstance(entry, dict) else None
        key = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or not isinstance(key, int | str):
            log.add(file, None, f"images[{at}]: needs an id and a file_name")
        elif key in listed or name in names:
            log.add(file, None, f"images[{at}]: {name} (id {key}) is listed twice, the first entry is kept")
        else:
            listed[key] = entry
            names.add(name)
    return listed


def _faces(
    entries: list[Any], listed: dict[int | str, dict[str, Any]], file: Path, log: ProblemLog
) -> dict[int | str, list[_Face]]:
    """Return the faces of every image whose annotations are all good."""
    faces: dict[int | str, list[_Face]] = {key: [] for key in listed}
    for at, entry in enumerate(entries):
        key = entry.get("image_id") if isinstance(entry, dict) else None
        if not isinstance(key, int | str) or key not in listed:
            log.add(file, None, f"annotations[{at}]: no image has the id {key!r}")
            continue
        try:
            face = _face(entry)
        except ValueError as error:
            log.add(file, None, f"annotations[{at}] of {listed[key]['file_name']}: {error}")
            faces.pop(key, None)
        else:
            if key in faces:  # else an earlier annotation of this photo was broken
                faces[key].append(face)
    return faces


def _face(entry: dict[str, Any]) -> _Face:
    category = entry.get("category_id", -1)
    if not isinstance(category, int) or abs(category) >= 2**63:
        raise ValueError(f"category_id must be an integer, got {category!r}")
    landmarks = [[math.nan, math.nan]] * 5
    if entry.get("keypoints"):
        values = _numbers("keypoints", entry["keypoints"], 15)
        triples = [values[k : k + 3] for k in range(0, 15, 3)]
        landmarks = [[x, y] if visible > 0 else [math.nan, math.nan] for x, y, visible in triples]
    score = None if entry.get(SCORE) is None else _numbers(SCORE, [entry[SCORE]], 1)[0]
    further = entry.get("attributes")
    name = str(further.get(NAME) or "") if isinstance(further, dict) else ""
    crowd = bool(entry.get("iscrowd")) or (isinstance(further, dict) and further.get(IGNORED) is True)
    return _Face(_numbers("bbox", entry.get("bbox"), 4), crowd, landmarks, category, score, name)


def _numbers(label: str, values: Any, count: int) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"{label} must be a list of {count} numbers")
    for value in values:
        # Written so that NaN, which Python's JSON reader takes, does not pass.
        if not (isinstance(value, int | float) and abs(value) <= 1e9):
            raise ValueError(f"{label} holds {value!r}, not a number in reach")
    return [float(value) for value in values]


def _photo(entry: dict[str, Any], faces: list[_Face], path: Path, fully_labelled: bool) -> Photo:
    boxes, flat = corners([face.xywh for face in faces])
    return Photo(
        path=path,
        name=entry["file_name"],
        boxes=boxes.astype(np.float32),
        ignored=flat | np.array([face.crowd for face in faces], bool),
        landmarks=np.array([face.landmarks for face in faces], np.float32).reshape(-1, 5, 2),
        fully_labelled=fully_labelled,
        attributes=_attributes(faces),
        size=_size(entry.get("width"), entry.get("height")),
    )


def _attributes(faces: list[_Face]) -> dict[str, NDArray[Any]]:
    attributes: dict[str, NDArray[Any]] = {"category_id": np.array([face.category for face in faces], np.int64)}
    if any(face.score is not None for face in faces):
        attributes[SCORE] = np.array([math.nan if face.score is None else face.score for face in faces])
    if any(face.name for face in faces):
        attributes[NAME] = np.array([face.name for face in faces])
    return attributes


def _size(width: Any, height: Any) -> tuple[int, int] | None:
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


# --------------------------------------------------------------------------------------------------
# Writing


@contextmanager
def open_coco(file: str | Path) -> Iterator[Add]:
    """Write a COCO JSON file: yields the function that adds a photo.

    All faces are of category 1, "face", which has five keypoints; a photo's ``file_name`` is its name. Coordinates are
    pixels, to 0.001. Points have visibility 2, those that are unknown 0. ``ignored`` faces are crowds. The score stands
    beside the box, the name and other labels of one value in ``attributes``, as CVAT and datumaro write them. Raises
    OSError, and ValueError for a photo whose size is not known.
    """
    with writing_text(file) as stream, tempfile.TemporaryFile("w+", encoding="utf-8") as annotations:
        fully = True
        images = faces = 0
        stream.write('{"images": [')

        def add(photo: Photo) -> None:
            nonlocal fully, images, faces
            width, height = size_of(photo)
            entry = {"id": images + 1, "file_name": photo.name, "width": width, "height": height}
            rows = [_row(face, images + 1, faces + at) for at, face in enumerate(faces_of(photo), start=1)]
            stream.write(("," if images else "") + "\n" + json.dumps(entry))
            for at, row in enumerate(rows):
                annotations.write(("," if faces or at else "") + "\n" + json.dumps(row))
            images, faces, fully = images + 1, faces + len(rows), fully and photo.fully_labelled

        yield add
        stream.write('\n], "annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, stream)
        category = {"id": 1, "name": FACE, "supercategory": FACE, "keypoints": LANDMARK_NAMES, "skeleton": SKELETON}
        info = {"description": f"faces, by cascade {__version__}", "fully_labelled": fully}
        end = json.dumps({"categories": [category], "licenses": [], "info": info})
        stream.write(f"\n], {end[1:]}\n")


def _row(face: LabelledFace, image: int, key: int) -> dict[str, Any]:
    x1, y1, x2, y2 = face.box
    box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
    row: dict[str, Any] = {"id": key, "image_id": image, "category_id": 1, "bbox": box}
    row |= {"area": round(box[2] * box[3], 3), "iscrowd": int(face.ignored)}
    points = face.landmarks or [[math.nan, math.nan]] * 5
    known = [[round(x, 3), round(y, 3), 2] if math.isfinite(x) and math.isfinite(y) else [0, 0, 0] for x, y in points]
    if any(point[2] for point in known):
        row |= {"keypoints": list(chain.from_iterable(known)), "num_keypoints": sum(point[2] > 0 for point in known)}
    labels = short_labels(face)
    labels.pop("category_id", None)
    if SCORE in labels:
        row[SCORE] = labels.pop(SCORE)
    return row | {"attributes": labels}
