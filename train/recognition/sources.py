"""What recognition learns from: a TOML file that lists sets of photos.

    [[source]]
    kind = "lfw"                     # folders of people …
    images = "lfw/images"
    pairs = "lfw/pairs.txt"          # … without the people of
    without_folds = [9, 10]          # these folds
    about = "Labeled Faces in the Wild"

Kinds and what they know of a face:

    lfw, identities   the person: a folder for each
    utkface           the age, from the file's name
    csv               a file with columns image, and person, age or both; either may be empty
    photos            nothing: every face that the detector finds ("exclude" is a list of photos kept out)

Paths are below the root given on the command line.
"""

from __future__ import annotations

import csv
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.datasets import DatasetError, PersonPhoto, read_folder, read_identities, read_lfw_pairs, read_utkface
from train.detection.sources import SourceError

KINDS = ("lfw", "identities", "utkface", "csv", "photos")
LABELLED = ("lfw", "identities", "utkface", "csv")
"""Kinds whose photos show one person each."""


@dataclass(frozen=True)
class FaceSource:
    """One set; the fields are those of the TOML file."""

    kind: str
    images: Path | None = None
    pairs: Path | None = None
    without_folds: tuple[int, ...] = ()
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
    """Reads the TOML file. Raises SourceError naming the entry that is wrong."""
    try:
        entries = tomllib.loads(file.read_text())["source"]
    except (ValueError, KeyError) as error:
        raise SourceError(f"{file}: expected [[source]] entries ({error!r})") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SourceError(f"{file}: expected [[source]] entries, got {entries!r}")
    found = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(_source(entry, root))
        except (SourceError, TypeError) as error:
            raise SourceError(f"{file}: source {number}: {error}") from error
    return tuple(found)


def _source(entry: dict[str, Any], root: Path) -> FaceSource:
    values = dict(entry)
    for name in ("images", "pairs", "exclude", "labels"):
        if name in values:
            if not isinstance(values[name], str):
                raise SourceError(f"{name}: expected a path, got {values[name]!r}")
            values[name] = root / values[name]
    folds = values.get("without_folds", [])
    if not isinstance(folds, list) or not all(isinstance(fold, int) for fold in folds):
        raise SourceError(f"without_folds: expected numbers of folds, got {folds!r}")
    values["without_folds"] = tuple(folds)
    return FaceSource(**values)


def source_photos(source: FaceSource) -> list[PersonPhoto]:
    """The photos of a source in a fixed order. Raises DatasetError or SourceError."""
    assert source.images is not None
    if source.kind == "utkface":
        return list(read_utkface(source.images))
    if source.kind == "csv":
        return _from_csv(source)
    if source.kind == "photos":
        lines = source.exclude.read_text().splitlines() if source.exclude else []
        kept_out = {line.strip() for line in lines} - {""}
        every = read_folder(source.images)
        photos = [photo for photo in every if photo.name not in kept_out]
        if len(photos) + len(kept_out) != len(every):
            raise SourceError(f"exclude: {source.exclude} lists photos that are not below {source.images}")
        return [PersonPhoto(photo.path, photo.name, None) for photo in photos]
    people = list(read_identities(source.images))
    if not source.without_folds:
        return people
    pairs = read_lfw_pairs(source.pairs or "", source.images, require_images=False)
    if not set(source.without_folds) <= set(pairs.folds()):
        raise SourceError(f"without_folds: {source.pairs} has folds {pairs.folds()}, got {source.without_folds}")
    tested = [pair for pair in pairs if pair.fold in source.without_folds]
    left_out = {photo.person for pair in tested for photo in (pair.image_a, pair.image_b)}
    return [photo for photo in people if photo.person not in left_out]


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
