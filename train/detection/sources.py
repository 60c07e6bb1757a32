"""What training learns from: a TOML file that lists annotated sets of photos.

    [[source]]
    kind = "wider"                          # or "coco", "folder" (photos without any face)
    annotations = "wider/wider_face_split/wider_face_train.mat"
    images = "wider/WIDER_train/images"
    exclude = "wider/validation_from_train.txt"     # photos kept out, one a line
    fully_labelled = true                   # false: other faces may be there, so nothing blind becomes a negative
    box_rule = [0.0, 0.0, 0.0, 0.0]         # moves left, top, right, bottom edge by these parts of width or height,
                                            # to bring another box convention to that of WIDER FACE
    teacher = "teacher/net7876.json"        # see train.detection.pseudo_labels; its faces are never negatives
    about = "net_7876 training photos"      # what the model cards say of it

Paths are relative to the root given on the command line, a teacher's file to the teacher folder.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cascade.boxes import iou
from cascade.datasets import Dataset, Photo, read_coco, read_folder, read_wider
from cascade.imaging.headers import IMAGE_SUFFIXES


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
    about: str = ""


class SourceError(ValueError):
    """The TOML file of training sources is wrong."""


def read_sources(file: Path, root: Path, teacher: Path) -> tuple[Source, ...]:
    """Reads the TOML file; paths in it are below ``root``, teacher files in ``teacher``.

    Raises SourceError naming the entry that is wrong.
    """
    try:
        entries = tomllib.loads(file.read_text())["source"]
    except (ValueError, KeyError) as error:  # not TOML, not UTF-8, or without the key
        raise SourceError(f"{file}: expected [[source]] entries ({error!r})") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SourceError(f"{file}: expected [[source]] entries, got {entries!r}")
    return tuple(_source(entry, root, teacher, f"{file}: source {i + 1}") for i, entry in enumerate(entries))


def _source(entry: dict[str, Any], root: Path, teacher: Path, where: str) -> Source:
    values = dict(entry)
    for name in ("images", "annotations", "exclude", "teacher"):
        if name in values:
            if not isinstance(values[name], str):
                raise SourceError(f"{where}: {name}: expected a path, got {values[name]!r}")
            values[name] = (teacher if name == "teacher" else root) / values[name]
    if "box_rule" in values:
        values["box_rule"] = _edges(values["box_rule"], where)
    if not isinstance(values.get("about", ""), str):
        raise SourceError(f"{where}: about: expected text, got {values['about']!r}")
    if not isinstance(values.get("fully_labelled", True), bool):
        raise SourceError(f"{where}: fully_labelled: expected true or false, got {values['fully_labelled']!r}")
    try:
        source = Source(**values)
    except TypeError as error:
        raise SourceError(f"{where}: {error}") from None
    if source.kind not in ("wider", "coco", "folder"):
        raise SourceError(f"{where}: kind: expected wider, coco or folder, got {source.kind!r}")
    if source.kind != "folder" and source.annotations is None:
        raise SourceError(f"{where}: annotations are missing")
    return source


def _edges(rule: Any, where: str) -> tuple[float, ...]:
    if not isinstance(rule, list) or len(rule) != 4 or not all(isinstance(v, int | float) for v in rule):
        raise SourceError(f"{where}: box_rule: expected four numbers, got {rule!r}")
    return tuple(map(float, rule))


def describe(sources: tuple[Source, ...]) -> str:
    """The training sets in a few words."""
    return "; ".join(s.about or f"{s.kind} {s.images.name}" for s in sources)


def photos(source: Source) -> Iterator[Photo]:
    """The photos of a source in our box convention; unlabelled faces that the teacher sees are ignored ones.

    What its reader had to leave out is told on stderr.
    """
    lines = source.exclude.read_text().splitlines() if source.exclude else []
    excluded = {_stem(line.strip()) for line in lines if line.strip()}
    taught = json.loads(source.teacher.read_text()) if source.teacher else {}
    dataset = _read(source)
    for problem in dataset.problems:
        print(problem, file=sys.stderr)
    for photo in dataset:
        if _stem(photo.name) in excluded:
            continue
        faces = taught.get(photo.path.relative_to(source.images).as_posix(), [])
        labelled = photo.fully_labelled and source.fully_labelled  # a file that denies it is believed
        moved = replace(_moved(photo, source.box_rule), fully_labelled=labelled)
        yield _with_ignored(moved, np.array(faces, np.float32).reshape(-1, 15))


def _stem(name: str) -> str:
    """A photo's name without the suffix of an image file; other dots are part of the name."""
    path = Path(name)
    return (path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path).as_posix()


def _read(source: Source) -> Dataset:
    if source.kind == "wider":
        assert source.annotations is not None
        return read_wider(source.annotations, source.images, photos="present")
    if source.kind == "coco":
        assert source.annotations is not None
        return read_coco(source.annotations, source.images)
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
        extra = extra[iou(extra, photo.boxes).max(axis=1) < 0.3]
    if len(extra) == 0:
        return photo
    return replace(
        photo,
        boxes=np.concatenate([photo.boxes, extra]),
        ignored=np.concatenate([photo.ignored, np.ones(len(extra), bool)]),
        landmarks=np.concatenate([photo.landmarks, np.full((len(extra), 5, 2), np.nan, np.float32)]),
        attributes={},
    )


def fingerprint(sources: tuple[Source, ...]) -> str:
    """SHA-256 over the annotation files and lists, for the record of a training run."""
    digest = hashlib.sha256()
    for source in sources:
        for path in (source.annotations, source.exclude, source.teacher):
            if path is not None:
                digest.update(path.read_bytes())
    return digest.hexdigest()
