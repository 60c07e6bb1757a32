"""What recognition learns from: a TOML file that lists sets of photos.

    [[source]]
    name = "utkface_train"           # a set of `cascade.datasets.REGISTRY` whose split is "train", and what is changed

    [[source]]
    kind = "lfw"                     # or photos of one's own: folders of people …
    images = "lfw/images"
    pairs = "lfw/pairs.txt"          # … without the people of
    without_folds = [9, 10]          # these folds
    without_people = "tested.txt"    # and of these people, one a line, in a file beside this one
    about = "Labeled Faces in the Wild"

Kinds and what they know of a face:

    lfw, identities   the person: a folder for each
    celeba_people     the person, from identity_CelebA.txt beside the folder
    utkface           the age, from the file's name
    agedb, fgnet      person and age, from the file's name
    csv               a file with columns image, and person, age or both; either may be empty
    photos            nothing: every face that the detector finds ("exclude" is a list of photos kept out)

A registered set of photos for the detector is of the kind "photos" here.

Paths are below the root given on the command line.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.datasets import (
    PEOPLE_READERS,
    DatasetError,
    PersonPhoto,
    people_in_folds,
    read_folder,
    read_photo_list,
)
from train.detection.sources import SourceError, read_entries, registered, resolve_paths

LABELLED = (*PEOPLE_READERS, "csv")
"""Kinds whose photos show one person each."""

UNCENTRED = ("celeba_people",)
"""Those of them where the face may be anywhere if it is the only one."""

KINDS = (*LABELLED, "photos")


@dataclass(frozen=True)
class FaceSource:
    """One set; the fields are those of the TOML file."""

    kind: str
    images: Path | None = None
    pairs: Path | None = None
    without_folds: tuple[int, ...] = ()
    without_people: Path | None = None
    exclude: Path | None = None
    labels: Path | None = None
    min_face: float = 20.0
    about: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SourceError(f"kind: expected one of {', '.join(KINDS)}, got {self.kind!r}")
        if not isinstance(self.about, str):
            raise SourceError(f"about: expected text, got {self.about!r}")
        if self.images is None:
            raise SourceError("images: expected a path")
        if self.kind == "csv" and self.labels is None:
            raise SourceError("labels: expected the path of a CSV file")
        if self.without_folds and self.pairs is None:
            raise SourceError("pairs: without_folds needs the list of pairs")
        if not self.min_face >= 12:
            raise SourceError(f"min_face: expected at least 12 pixels, got {self.min_face!r}")


def read_face_sources(file: Path, root: Path) -> tuple[FaceSource, ...]:
    """Read the TOML file. Raises SourceError naming the entry that is wrong."""
    found = []
    for number, entry in enumerate(read_entries(file), 1):
        try:
            found.append(_source(entry, root, file.parent))
        except (SourceError, TypeError) as error:
            raise SourceError(f"{file}: source {number}: {error}") from error
    return tuple(found)


def _source(entry: dict[str, Any], root: Path, beside: Path) -> FaceSource:
    values = _registered_values(entry)
    resolve_paths(values, ("images", "pairs", "exclude", "labels"), root)
    resolve_paths(values, ("without_people",), beside)
    folds = values.get("without_folds", [])
    if not isinstance(folds, list) or not all(isinstance(fold, int) for fold in folds):
        raise SourceError(f"without_folds: expected numbers of folds, got {folds!r}")
    values["without_folds"] = tuple(folds)
    return FaceSource(**values)


def _registered_values(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the values of an entry, those of the registry in place of what it leaves out."""
    values = dict(entry)
    if "name" not in values:
        return values
    known = registered(values.pop("name"))
    given = {field: getattr(known, field) for field in ("images", "pairs", "exclude") if getattr(known, field)}
    given |= {"kind": known.kind if known.kind in PEOPLE_READERS else "photos", "about": known.note}
    return {**given, "without_folds": list(known.without_folds), **values}


def source_photos(source: FaceSource) -> list[PersonPhoto]:
    """The photos of a source in a fixed order. Raises DatasetError or SourceError."""
    assert source.images is not None
    if source.kind == "csv":
        return _without(source, _from_csv(source))
    if source.kind == "photos":
        return _without(source, [PersonPhoto(photo.path, photo.name, None) for photo in read_folder(source.images)])
    people = _without(source, list(PEOPLE_READERS[source.kind](source.images)))
    left_out: set[str | None] = set()
    if source.without_people is not None:  # of whom some may have no photo here
        left_out |= set(read_photo_list(source.without_people))
    if source.without_folds:
        assert source.pairs is not None
        left_out |= people_in_folds(source.pairs, source.images, source.without_folds)
    return [photo for photo in people if photo.person is None or photo.person not in left_out]


def _without(source: FaceSource, photos: list[PersonPhoto]) -> list[PersonPhoto]:
    """Leave out the photos listed in ``exclude``. Raises SourceError where it lists others."""
    if source.exclude is None:
        return photos
    excluded = {name.strip() for name in read_photo_list(source.exclude)}
    left = [photo for photo in photos if photo.name not in excluded]
    if len(left) + len(excluded) != len(photos):
        raise SourceError(f"exclude: {source.exclude} lists photos that are not below {source.images}")
    return left


def _from_csv(source: FaceSource) -> list[PersonPhoto]:
    assert source.labels is not None and source.images is not None
    photos = []
    with source.labels.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        names = set(rows.fieldnames or ())
        if "image" not in names or not names & {"person", "age"}:
            raise DatasetError(f"{source.labels}: expected columns image and person or age, got {rows.fieldnames}")
        for row in rows:
            try:
                age = float(row["age"]) if row.get("age") else math.nan
                photos.append(PersonPhoto(source.images / row["image"], row["image"], row.get("person") or None, age))
            except (TypeError, ValueError) as error:
                raise DatasetError(f"{source.labels}, line {rows.line_num}: {error}") from error
    return photos
