"""What training learns from: a TOML file that lists annotated sets of photos.

    [[source]]
    kind = "wider"                          # or "coco", "folder" (photos without any face)
    annotations = "wider/wider_face_split/wider_face_train.mat"
    images = "wider/WIDER_train/images"
    exclude = "wider/validation_from_train.txt"     # photos kept out, one a line
    fully_labelled = true                   # false: other faces may be there, so nothing blind becomes a negative
    box_rule = [0.0, 0.0, 0.0, 0.0]         # moves left, top, right, bottom edge by these parts of width or height,
                                            # to bring another box convention to that of WIDER FACE
    teacher = "teacher/net7876.json"        # see train.teacher; its faces are never negatives

Paths are relative to the root given on the command line, a teacher's file to the teacher folder.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cascade.datasets import Photo, read_coco, read_folder, read_wider


@dataclass(frozen=True)
class Source:
    """One set of photos; the fields are those of the TOML file."""

    kind: str
    images: Path
    annotations: Path | None = None
    exclude: Path | None = None
    fully_labelled: bool = True
    box_rule: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    teacher: Path | None = None


class SourceError(ValueError):
    """The TOML file of training sources is wrong."""


def read_sources(file: Path, root: Path, teacher: Path) -> tuple[Source, ...]:
    """Reads the TOML file; paths in it are below ``root``, teacher files in ``teacher``. Raises SourceError naming the entry that is wrong."""
    try:
        entries = tomllib.loads(file.read_text())["source"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise SourceError(f"{file}: expected [[source]] entries ({error!r})") from error
    return tuple(_source(entry, root, teacher, f"{file}: source {i + 1}") for i, entry in enumerate(entries))


def _source(entry: dict[str, Any], root: Path, teacher: Path, where: str) -> Source:
    values = dict(entry)
    for name in ("images", "annotations", "exclude", "teacher"):
        if name in values:
            values[name] = (teacher if name == "teacher" else root) / values[name]
    if "box_rule" in values:
        values["box_rule"] = tuple(map(float, values["box_rule"]))
    try:
        source = Source(**values)
    except TypeError as error:
        raise SourceError(f"{where}: {error}") from None
    if source.kind not in ("wider", "coco", "folder"):
        raise SourceError(f"{where}: kind: expected wider, coco or folder, got {source.kind!r}")
    if source.kind != "folder" and source.annotations is None:
        raise SourceError(f"{where}: annotations are missing")
    return source


def photos(source: Source) -> Iterator[Photo]:
    """The photos of a source in our box convention; unlabelled faces that the teacher sees are ignored ones."""
    excluded = set(source.exclude.read_text().split()) if source.exclude else set()
    stems = {Path(name).with_suffix("").as_posix() for name in excluded}
    taught = json.loads(source.teacher.read_text()) if source.teacher else {}
    for photo in _read(source):
        if Path(photo.name).with_suffix("").as_posix() in stems or photo.name in stems:
            continue
        faces = taught.get(photo.path.relative_to(source.images).as_posix(), [])
        yield _with_ignored(_moved(photo, source.box_rule), np.array(faces, np.float32).reshape(-1, 15))


def _read(source: Source) -> Any:
    if source.kind == "wider":
        assert source.annotations is not None
        return read_wider(source.annotations, source.images, photos="present")
    if source.kind == "coco":
        assert source.annotations is not None
        return read_coco(source.annotations, source.images, fully_labelled=source.fully_labelled)
    return read_folder(source.images, fully_labelled=True)


def _moved(photo: Photo, rule: tuple[float, float, float, float]) -> Photo:
    boxes = photo.boxes
    sizes = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return replace(photo, boxes=boxes + np.array(rule, np.float32) * sizes)


def _with_ignored(photo: Photo, taught: np.ndarray) -> Photo:
    """Adds what the teacher saw and nobody labelled, as faces that are neither positive nor negative."""
    if len(taught) == 0:
        return photo
    extra = taught[:, :4]
    if len(photo.boxes):
        extra = extra[overlaps(extra, photo.boxes).max(axis=1) < 0.3]
    if len(extra) == 0:
        return photo
    return replace(
        photo,
        boxes=np.concatenate([photo.boxes, extra]),
        ignored=np.concatenate([photo.ignored, np.ones(len(extra), bool)]),
        landmarks=np.concatenate([photo.landmarks, np.full((len(extra), 5, 2), np.nan, np.float32)]),
        attributes={},
    )


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (len(a), len(b)) of boxes."""
    corner = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.clip(corner, 0, None).prod(axis=2)
    areas = [(x[:, 2:] - x[:, :2]).clip(0).prod(axis=1) for x in (a, b)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9))


def fingerprint(sources: tuple[Source, ...]) -> str:
    """SHA-256 over the annotation files and lists, for the record of a training run."""
    digest = hashlib.sha256()
    for source in sources:
        for path in (source.annotations, source.exclude, source.teacher):
            if path is not None:
                digest.update(path.read_bytes())
    return digest.hexdigest()
