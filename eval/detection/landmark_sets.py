"""The sets that landmarks are evaluated on, in the layouts that they come in: photos with five landmarks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from cascade.datasets import Dataset, DatasetError, Photo, read_coco, read_facepoint
from cascade.imaging.formats import IMAGE_SUFFIXES
from eval.detection.average_precision import FloatArray

__all__ = ["read_300w", "read_aflw", "read_landmark_set"]

# AFLW's numbers of the five landmarks, its left being the left of the image: the middle of each eye, the
# middle of the nose, the corners of the mouth.
AFLW_LANDMARKS = (8, 11, 15, 18, 20)

# Of the 68 points of 300-W, counted from 0: six around each eye, the nose tip, the corners of the mouth.
EYE_POINTS = (slice(36, 42), slice(42, 48))
NOSE_POINT, MOUTH_POINTS = 30, (48, 54)


def read_landmark_set(data: str | Path, images: str | Path | None = None) -> Dataset:
    """Read a COCO JSON file, CUHK's list (.txt), the database of AFLW (.sqlite, .db) or a folder of 300-W's .pts files.

    ``images`` is the folder that the photos' names start from; by default the reader's own. Photos need not
    be there. Raises DatasetError for anything malformed.
    """
    data = Path(data)
    if data.is_dir():
        return read_300w(data)
    if data.suffix.lower() in (".sqlite", ".sqlite3", ".db"):
        return read_aflw(data, images)
    if data.suffix.lower() == ".txt":
        return read_facepoint(data, images, require_images=False, strict=True)
    return read_coco(data, images, require_images=False, strict=True)


def read_aflw(database: str | Path, images: str | Path | None = None) -> Dataset:
    """Read the SQLite database of AFLW: boxes, five of its 21 landmarks and the head pose.

    ``images`` holds the photos under the paths of the database; by default the folder "flickr" beside it,
    else its own. Landmarks that AFLW leaves out as hidden are NaN. Its coordinates are pixel numbers, so half
    a pixel is added. The attribute "yaw" is in degrees (NaN where unknown). AFLW does not label every face.

    Raises DatasetError when the file is not such a database or holds no face.
    """
    database = Path(database)
    if images is None:
        beside = database.parent / "flickr"
        images = beside if beside.is_dir() else database.parent
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            faces = _aflw_faces(connection)
            points = _aflw_points(connection)
    except sqlite3.Error as error:
        raise DatasetError(f"{database}: not the database of AFLW: {error}") from error
    by_photo: dict[str, list[tuple[Any, ...]]] = {}
    for row in faces:
        by_photo.setdefault(str(row[0]), []).append(row)
    if not by_photo:
        raise DatasetError(f"{database}: holds no face")
    photos = []
    for name, rows in by_photo.items():
        try:
            photos.append(_aflw_photo(Path(images) / name, name, rows, points))
        except (TypeError, ValueError) as error:
            raise DatasetError(f"{database}: {name}: {error}") from error
    return Dataset("aflw", tuple(photos))


def _aflw_faces(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return path, number, x, y, width, height and yaw (radians or None) of every face with a box."""
    query = """
        SELECT FaceImages.filepath, Faces.face_id, FaceRect.x, FaceRect.y, FaceRect.w, FaceRect.h,
        FacePose.yaw FROM Faces JOIN FaceImages ON FaceImages.file_id = Faces.file_id AND FaceImages.db_id =
        Faces.db_id JOIN FaceRect ON FaceRect.face_id = Faces.face_id LEFT JOIN FacePose ON FacePose.face_id =
        Faces.face_id ORDER BY FaceImages.filepath, Faces.face_id
    """
    return list(connection.execute(query))


def _aflw_points(connection: sqlite3.Connection) -> dict[Any, FloatArray]:
    """Return the five landmarks of every face by its number, (5, 2), NaN where not given."""
    points: dict[Any, FloatArray] = {}
    for face, feature, x, y in connection.execute("SELECT face_id, feature_id, x, y FROM FeatureCoords"):
        if feature in AFLW_LANDMARKS:
            five = points.setdefault(face, np.full((5, 2), np.nan))
            five[AFLW_LANDMARKS.index(feature)] = float(x) + 0.5, float(y) + 0.5
    return points


def _aflw_photo(path: Path, name: str, rows: list[tuple[Any, ...]], points: dict[Any, FloatArray]) -> Photo:
    unique = {row[1]: row for row in rows}  # a face may have several poses; the last one stands
    boxes = np.array([row[2:6] for row in unique.values()], np.float64)
    flat = np.any(boxes[:, 2:] <= 0, axis=1)
    boxes[:, 2:] = boxes[:, :2] + np.maximum(boxes[:, 2:], 0)
    unknown = np.full((5, 2), np.nan)
    landmarks = np.array([points.get(face, unknown) for face in unique])
    yaws = [np.nan if row[6] is None else np.degrees(float(row[6])) for row in unique.values()]
    return Photo(path, name, boxes.astype(np.float32), flat, landmarks, False, {"yaw": np.array(yaws)})


def read_300w(folder: str | Path) -> Dataset:
    """Read a folder of photos with a .pts file of 68 landmarks beside each, as 300-W and its parts come.

    Points count pixels from 1, so half a pixel is taken off to get this project's frame. The eyes are the
    means of their six points; the box is the smallest around all 68 (300-W keeps its boxes elsewhere, and
    they are those of a detector). A name such as photo_1.pts stands for a second face of photo where there is
    no photo_1 itself. Other faces of a photo are not labelled.

    Raises DatasetError, with the line, for a malformed file, and when there is none.
    """
    folder = Path(folder)
    files = sorted(folder.rglob("*.pts"))
    if not files:
        raise DatasetError(f"{folder}: no .pts files")
    faces: dict[Path, list[FloatArray]] = {}
    for file in files:
        faces.setdefault(_image_of(file), []).append(_read_pts(file))
    photos = []
    for path, points in faces.items():
        stacked = np.array(points)
        boxes = np.concatenate([stacked.min(axis=1), stacked.max(axis=1)], axis=1).astype(np.float32)
        five = np.array([_five_of_68(each) for each in points], np.float32)
        name = path.relative_to(folder).as_posix()
        photos.append(Photo(path, name, boxes, np.zeros(len(points), bool), five, False))
    return Dataset(folder.name, tuple(photos))


def _image_of(file: Path) -> Path:
    """Return the photo beside a .pts file, with the suffix .jpg where there is none."""
    for stem in dict.fromkeys((file.stem, file.stem.rpartition("_")[0] or file.stem)):
        for suffix in IMAGE_SUFFIXES:
            path = file.with_name(stem + suffix)
            if path.is_file():
                return path
    return file.with_suffix(".jpg")


def _five_of_68(points: FloatArray) -> FloatArray:
    eyes = [points[part].mean(axis=0) for part in EYE_POINTS]
    return np.array([*eyes, points[NOSE_POINT], *(points[k] for k in MOUTH_POINTS)])


def _read_pts(file: Path) -> FloatArray:
    """Return the (68, 2) points of one file in pixels of this project's frame; raises DatasetError."""
    points: list[tuple[float, float]] = []
    for line, fields in _inside_braces(file):
        try:
            x, y = map(float, fields)
            if not (abs(x) < 1e6 and abs(y) < 1e6):
                raise ValueError
        except ValueError:
            raise DatasetError(f"{file}:{line}: two numbers expected, found {' '.join(fields)!r}") from None
        points.append((x - 0.5, y - 0.5))
    if len(points) != 68:
        raise DatasetError(f"{file}: 68 points expected, {len(points)} found")
    return np.array(points)


def _inside_braces(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of every line between the braces of a .pts file."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError.unreadable(file, error) from error
    inside = False
    for number, text in enumerate(lines, 1):
        fields = text.split()
        if fields in (["{"], ["}"]):
            inside = fields == ["{"]
        elif inside and fields:
            yield number, fields
