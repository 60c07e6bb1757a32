"""What training learns from: a TOML file that lists annotated sets of photos.

    [[source]]
    name = "face_masks"                     # a set of `cascade.datasets.REGISTRY` whose split is "train" …
    pseudo_labels = "face_masks.json"       # … and what is added or changed
    fully_labelled = true

    [[source]]
    kind = "wider"                          # or photos of one's own: "wider", "coco", "folder" (without any face),
                                            # "labelstudio", "cvat", "voc", "yolo", "jsonl", "csv", "parquet" (see
                                            # docs/formats.md), "facepoint" (lists of five points, such as MTCNN
                                            # learned from), "xmp" (takes no annotations), or "pseudo" (see
                                            # `cascade.datasets.read_pseudo_labels`), or "points68" (photos with .pts
                                            # files of 68 points beside them; takes no annotations)
    annotations = "wider/wider_face_split/wider_face_train.mat"
    images = "wider/WIDER_train/images"
    exclude = "wider/validation_from_train.txt"     # photos kept out, one a line
    fully_labelled = true                   # false: other faces may be there, so nothing blind becomes a negative
    box_rule = [0.0, 0.0, 0.0, 0.0]         # moves left, top, right, bottom edge by these parts of width or height,
                                            # to bring another box convention to that of WIDER FACE
    pseudo_labels = "mine.json"             # a detector's, see train.detection.pseudo_labels: never negatives
    landmarks = true                        # false: nothing learns the landmarks of this set
    landmarks_from = 40                     # shorter side in pixels; those of smaller faces are not learned
    passes = 1                              # times each photo is gone through, for sets that count more than others
    about = "my photos"                     # what the model cards say of it

Paths are relative to the root given on the command line, those of ``pseudo_labels`` to the folder of pseudo-labels, and
those that begin with "./" to the folder of the TOML file. Of a registered set landmarks are learned only if the
registry has them among its labels.
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
from cascade.checks import is_finite_number
from cascade.datasets import PHOTO_READERS, REGISTRY, Dataset, Entry, Photo, read_photos
from train.detection.points import read_points_photos

POINTS = "points68"
KINDS = (*PHOTO_READERS, POINTS)

WITHOUT_ANNOTATIONS = {
    "folder": "a folder of photos without any face",
    POINTS: "a folder of photos with .pts files",
    "xmp": "a folder of photos with XMP",
}
"""Kinds that have no file of annotations."""

BESIDE = {POINTS: (".pts",), "xmp": (".xmp",)}
"""Suffixes of the labels beside the photos of such a kind. (XMP within photos is not read for this.)"""

RECIPE_FIELDS = ("kind", "fully_labelled", "box_rule", "landmarks", "landmarks_from", "passes")
"""The fields of a source that change what is learned from the same files."""


@dataclass(frozen=True)
class Source:
    """One set of photos; the fields are those of the TOML file."""

    kind: str
    images: Path
    annotations: Path | None = None
    exclude: Path | None = None
    fully_labelled: bool = True
    box_rule: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    pseudo_labels: Path | None = None
    landmarks: bool = True
    landmarks_from: float = 0.0
    passes: int = 1
    about: str = ""


class SourceError(ValueError):
    """The TOML file of training sources is wrong."""


def read_sources(file: Path, root: Path, pseudo_labels: Path) -> tuple[Source, ...]:
    """Read the TOML file; paths in it are below ``root``, files of pseudo-labels in ``pseudo_labels``.

    Raises SourceError naming the entry that is wrong.
    """
    entries = read_entries(file)
    entries = [_beside(entry, file.parent) for entry in entries]
    return tuple(_source(entry, root, pseudo_labels, f"{file}: source {i + 1}") for i, entry in enumerate(entries))


def read_entries(file: Path) -> list[dict[str, Any]]:
    """Return the [[source]] entries of a TOML file. Raises SourceError where it has none."""
    try:
        entries = tomllib.loads(file.read_text())["source"]
    except (ValueError, KeyError) as error:  # not TOML, not UTF-8, or without the key
        raise SourceError(f"{file}: expected [[source]] entries ({error!r})") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SourceError(f"{file}: expected [[source]] entries, got {entries!r}")
    return entries


def registered(name: Any) -> Entry:
    """Return a training set of the registry. Raises SourceError for any other name, those of test sets included."""
    trainable = [known for known, entry in REGISTRY.items() if entry.split == "train"]
    if name in trainable:
        return REGISTRY[name]
    kept_out = REGISTRY.get(name) if isinstance(name, str) else None
    if kept_out is not None:
        raise SourceError(f"name: {name} is a {kept_out.split} set, which takes no part in training")
    raise SourceError(f"name: expected one of {', '.join(trainable)}, got {name!r}")


def resolve_paths(values: dict[str, Any], names: tuple[str, ...], root: Path) -> None:
    """Put those of the named paths that are there below ``root``. Raises SourceError for what is no path."""
    for name in names:
        if name in values:
            if not isinstance(values[name], str):
                raise SourceError(f"{name}: expected a path, got {values[name]!r}")
            values[name] = root / values[name]


def _beside(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the values with those of the paths that begin with "./" put into the folder."""
    found = dict(values)
    for name in ("images", "annotations", "exclude", "pseudo_labels"):
        if isinstance(found.get(name), str) and found[name].startswith("./"):
            found[name] = str(folder.absolute() / found[name])
    return found


def _source(entry: dict[str, Any], root: Path, pseudo_labels: Path, where: str) -> Source:
    try:
        values = _registered_values(entry)
        resolve_paths(values, ("images", "annotations", "exclude"), root)
        resolve_paths(values, ("pseudo_labels",), pseudo_labels)
        _check_values(values)
        source = Source(**values)
    except (SourceError, TypeError) as error:
        raise SourceError(f"{where}: {error}") from None
    if source.kind not in KINDS:
        raise SourceError(f"{where}: kind: expected {_listed(KINDS)}, got {source.kind!r}")
    if source.kind not in WITHOUT_ANNOTATIONS and source.annotations is None:
        raise SourceError(f"{where}: annotations are missing")
    if source.kind == POINTS and source.exclude is not None:
        raise SourceError(f"{where}: exclude: a set of kind {POINTS} is taken as a whole")
    if source.kind in WITHOUT_ANNOTATIONS and source.annotations is not None:
        raise SourceError(f"{where}: annotations: {WITHOUT_ANNOTATIONS[source.kind]} takes none")
    return source


def _registered_values(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the values of an entry, those of the registry in place of what it leaves out."""
    values = dict(entry)
    if "name" not in values:
        return values
    known = registered(values.pop("name"))
    fields = ("kind", "images", "annotations", "exclude", "fully_labelled")
    given = {field: getattr(known, field) for field in fields if getattr(known, field) is not None}
    given |= {"box_rule": list(known.box_rule), "landmarks": "landmarks" in known.labels, "about": known.note}
    return {**given, **values}


def _check_values(values: dict[str, Any]) -> None:
    if "box_rule" in values:
        rule = values["box_rule"]
        if not isinstance(rule, list) or len(rule) != 4 or not all(is_finite_number(v) for v in rule):
            raise SourceError(f"box_rule: expected four numbers, got {rule!r}")
        values["box_rule"] = tuple(map(float, rule))
    if not isinstance(values.get("about", ""), str):
        raise SourceError(f"about: expected text, got {values['about']!r}")
    smallest = values.get("landmarks_from", 0)
    if not is_finite_number(smallest) or smallest < 0:
        raise SourceError(f"landmarks_from: expected pixels from 0 on, got {smallest!r}")
    passes = values.get("passes", 1)
    if not isinstance(passes, int) or isinstance(passes, bool) or passes < 1:
        raise SourceError(f"passes: expected a whole number from 1 on, got {passes!r}")
    for name in ("fully_labelled", "landmarks"):
        if not isinstance(values.get(name, True), bool):
            raise SourceError(f"{name}: expected true or false, got {values[name]!r}")


def _listed(names: Any) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"


def describe(sources: tuple[Source, ...]) -> str:
    """The training sets in one line."""
    return "; ".join(s.about or f"{s.kind} {s.images.name}" for s in sources)


def photos(source: Source) -> Iterator[Photo]:
    """The photos of a source in our box convention; faces that only the pseudo-labels have are ignored ones.

    What its reader had to leave out is told on stderr.
    """
    labels = json.loads(source.pseudo_labels.read_text()) if source.pseudo_labels else {}
    dataset = _dataset(source)
    for problem in dataset.problems:
        print(problem, file=sys.stderr)
    for photo in dataset:
        faces = labels.get(photo.path.relative_to(source.images).as_posix(), []) if labels else []
        labelled = photo.fully_labelled and source.fully_labelled  # a file that denies it is believed
        moved = replace(_moved(photo, source.box_rule), fully_labelled=labelled)
        moved = replace(moved, landmarks=_learned_landmarks(moved, source))
        yield _with_ignored(moved, np.array(faces, np.float32).reshape(-1, 15))


def _dataset(source: Source) -> Dataset:
    if source.kind == POINTS:
        return read_points_photos(source.images)
    return read_photos(source.kind, source.images, source.annotations, exclude=source.exclude)


def _learned_landmarks(photo: Photo, source: Source) -> np.ndarray:
    """The landmarks (n, 5, 2), NaN where nothing is to learn them."""
    sides = (photo.boxes[:, 2:] - photo.boxes[:, :2]).min(axis=1, initial=np.inf)
    learned = source.landmarks & (sides >= source.landmarks_from)
    return np.where(learned[:, None, None], photo.landmarks, np.float32(np.nan))


def _moved(photo: Photo, rule: tuple[float, float, float, float]) -> Photo:
    boxes = photo.boxes
    sizes = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return replace(photo, boxes=boxes + np.array(rule, np.float32) * sizes)


def _with_ignored(photo: Photo, pseudo_labels: np.ndarray) -> Photo:
    """Add the pseudo-labels (n, 15) that no label overlaps, as faces that are neither positive nor negative."""
    if len(pseudo_labels) == 0:
        return photo
    extra = pseudo_labels[:, :4]
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


def recipe_fingerprint(sources: tuple[Source, ...]) -> str:
    """SHA-256 over what the recipe says of its sources, and over labels that lie beside the photos.

    Folders count by their names alone, so that the data may move.
    """
    digest = hashlib.sha256()
    for source in sources:
        said = {name: str(getattr(source, name)) for name in RECIPE_FIELDS}
        digest.update(json.dumps([said, source.images.name]).encode())
        for suffix in BESIDE.get(source.kind, ()):
            for file in sorted(source.images.rglob(f"*{suffix}")):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def fingerprint(sources: tuple[Source, ...]) -> str:
    """SHA-256 over the annotation files and lists, those in folders by name, for the record of a training run."""
    digest = hashlib.sha256()
    for source in sources:
        for path in (source.annotations, source.exclude, source.pseudo_labels):
            if path is not None:
                files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
                for file in files:
                    digest.update(file.read_bytes())
    return digest.hexdigest()
