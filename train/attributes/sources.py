"""What attributes are learned from: the [[source]] entries of a TOML file.

    [[source]]
    name = "fairface_train"          # a set of `cascade.datasets.REGISTRY`

    [[source]]
    name = "fer2013_val"
    use = "validation"               # measured on and never learned from; "test" sets are neither

    [[source]]
    name = "helmets"                 # or photos of one's own: a folder for each class …
    kind = "folders"
    images = "helmets"
    attribute = "helmet"             # … of this attribute

    [[source]]
    name = "colleagues"
    kind = "csv"                     # or a CSV file with a column "image" and one for each attribute
    images = "photos"
    labels = "colleagues.csv"
    crops = true                     # each photo is the crop of one face: where the detector sees none, the crop is
                                     # aligned by the median landmarks of the set's others
    where = {part = ["a", "b"]}      # only photos with these labels; a set may have several entries if no photo is
                                     # learned from through one and measured on through another
    validation = 0.1                 # share held out to measure on, in place of the run's

Paths are below the root given on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cascade.datasets import REGISTRY, LabelledPhotos, read_class_folders, read_label_csv
from train.detection.sources import SourceError, resolve_paths

KINDS = ("folders", "csv")
USES = ("train", "validation")


@dataclass(frozen=True)
class AttributeSource:
    """One set; the fields are those of the TOML file. ``kind`` is "registry" for a registered one."""

    name: str
    kind: str = "registry"
    images: Path | None = None
    labels: Path | None = None
    attribute: str = ""
    crops: bool = False
    use: Literal["train", "validation"] = "train"
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    validation: float | None = None
    limit: int | None = None
    about: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise SourceError(f"name: expected the name of the set, got {self.name!r}")
        if self.kind == "registry":
            _check_registered(self.name, self.use)
        elif self.kind not in KINDS:
            raise SourceError(f"kind: expected one of {', '.join(KINDS)}, or a registered name, got {self.kind!r}")
        elif self.images is None:
            raise SourceError("images: expected a path")
        if self.kind == "csv" and self.labels is None:
            raise SourceError("labels: expected the path of a CSV file")
        if self.kind == "folders" and not self.attribute:
            raise SourceError("attribute: expected the name of what the folders say")
        if self.use not in USES:
            raise SourceError(f"use: expected one of {', '.join(USES)}, got {self.use!r}")
        if self.validation is not None and not 0 <= self.validation < 1:
            raise SourceError(f"validation: expected a share from 0 to 1, got {self.validation!r}")

    def read(self, root: Path) -> LabelledPhotos:
        """Its photos below a folder, all of them. Raises DatasetError."""
        if self.kind == "registry":
            return REGISTRY[self.name].read_labels(root)
        assert self.images is not None
        if self.kind == "folders":
            return read_class_folders(self.images, self.attribute)
        assert self.labels is not None
        return read_label_csv(self.labels, self.images)


def _check_registered(name: str, use: str) -> None:
    """Raises SourceError for an unknown set, and for one that may not be used so."""
    if name not in REGISTRY:
        known = ", ".join(n for n, entry in REGISTRY.items() if entry.split == "train" and _has_labels(n))
        raise SourceError(f"name: {name!r} needs kind and images, or is one of {known}")
    split = REGISTRY[name].split
    allowed = ("train",) if use == "train" else ("train", "holdout")
    if split not in allowed:
        raise SourceError(f"name: {name} is a {split} set, which cannot be used for {use}")


def _has_labels(name: str) -> bool:
    return bool({"age", "gender", "ethnicity", "expression", "smile"} & set(REGISTRY[name].labels))


def read_attribute_sources(entries: Any, root: Path) -> tuple[AttributeSource, ...]:
    """The sources of the entries of a TOML file. Raises SourceError naming the entry that is wrong."""
    if not isinstance(entries, list) or not entries:
        raise SourceError("expected [[source]] entries")
    found: list[AttributeSource] = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(_source(entry, root))
        except (SourceError, TypeError) as error:
            raise SourceError(f"source {number}: {error}") from error
    names = [source.name for source in found]
    for source in found:
        if names.count(source.name) > 1 and not source.where:
            raise SourceError(f"name: {source.name} is there twice")
    return tuple(found)


def _source(entry: dict[str, Any], root: Path) -> AttributeSource:
    values = dict(entry)
    resolve_paths(values, ("images", "labels"), root)
    if "kind" not in values and values.get("name") in REGISTRY:
        known = REGISTRY[values["name"]]
        values = {"crops": known.crops, "about": known.note, **values}
    where = values.get("where", {})
    values["where"] = {name: tuple(map(str, labels)) for name, labels in where.items()}
    return AttributeSource(**values)
