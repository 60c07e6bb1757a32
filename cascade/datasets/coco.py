"""Faces in COCO's JSON form: bounding boxes, and five keypoints where there are any."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._geometry import corners
from ._images import ImageFinder, ProblemLog
from .photo import Dataset, DatasetError, Photo

__all__ = ["read_coco"]


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
    visibility 0 gives NaN. The attribute is category_id (−1 where absent). ``size`` is width and height where
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


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read: {error.strerror or error}") from error
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
    return _Face(_numbers("bbox", entry.get("bbox"), 4), bool(entry.get("iscrowd")), landmarks, category)


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
        attributes={"category_id": np.array([face.category for face in faces], np.int64)},
        size=_size(entry.get("width"), entry.get("height")),
    )


def _size(width: Any, height: Any) -> tuple[int, int] | None:
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None
