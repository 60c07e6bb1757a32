"""The sets that attributes are evaluated on: how each is read, and in which words it says what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cascade.datasets import (
    FAIRFACE_AGES,
    FAIRFACE_RACES,
    GENDERS,
    UTKFACE_RACES,
    LabelledPhoto,
    LabelledPhotos,
    labelled_people,
    read_celeba_attributes,
    read_class_folders,
    read_fairface,
    read_fgnet,
    read_genki4k,
    read_label_csv,
    read_utkface,
)

__all__ = ["PROTOCOLS", "Protocol", "chosen"]

YES_NO = ("no", "yes")
EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

Read = Callable[[Path, "Path | None", str], LabelledPhotos]


@dataclass(frozen=True, slots=True)
class Protocol:
    """One set.

    read     takes the folder of the photos, the file of labels or None, and the name of the attribute
    classes  by task, its classes in their order; those of other tasks are as in the data
    merged   by task, the set's name for classes of finer models
    crops    whether its photos are crops of one face
    fold     attribute that says which fold a photo is in; None: there are none
    note     what the figures must not be taken for
    """

    read: Read
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    merged: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    crops: bool = False
    fold: str | None = None
    note: str = ""


def _utkface(images: Path, labels: Path | None, attribute: str) -> LabelledPhotos:
    return labelled_people(read_utkface(images))


def _fairface(images: Path, labels: Path | None, attribute: str) -> LabelledPhotos:
    return read_fairface(labels or _first(images, ("val.csv", "fairface_label_val.csv")), images)


def _celeba(images: Path, labels: Path | None, attribute: str) -> LabelledPhotos:
    lists = ("list_attr_celeba.txt", "list_attr_celeba.zip")
    inside = images / "images"
    return read_celeba_attributes(labels or _first(images, lists), inside if inside.is_dir() else images)


def _folder(images: Path, labels: Path | None, attribute: str) -> LabelledPhotos:
    if labels is not None:
        return read_label_csv(labels, images)
    if not attribute:
        raise ValueError("--attribute: expected what the names of the folders say, or --labels FILE.csv")
    return read_class_folders(images, attribute)


def _first(folder: Path, names: Sequence[str]) -> Path:
    """The first of these files that is there. Raises FileNotFoundError."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"--labels: there is no {' or '.join(names)} in {folder}")


PROTOCOLS: Mapping[str, Protocol] = {
    "utkface": Protocol(
        _utkface,
        {"gender": GENDERS, "ethnicity": UTKFACE_RACES},
        {
            "ethnicity": {
                "East Asian": "Asian",
                "Southeast Asian": "Asian",
                "Middle Eastern": "other",
                "Latino_Hispanic": "other",
            }
        },
        crops=True,
        note="labels partly estimated by a network and checked by people",
    ),
    "fgnet": Protocol(
        lambda images, labels, attribute: labelled_people(read_fgnet(images)),
        note="1,002 photos of 82 people, scans of prints among them: one person's photos are alike",
    ),
    "fairface": Protocol(
        _fairface,
        {"gender": GENDERS, "ethnicity": FAIRFACE_RACES, "age": FAIRFACE_AGES},
        crops=True,
        note="labels as perceived by crowd workers",
    ),
    "fer2013": Protocol(
        lambda images, labels, attribute: read_class_folders(images, "expression"),
        {"expression": EXPRESSIONS},
        crops=True,
        note="some labels are wrong, and some pictures are no faces",
    ),
    "genki4k": Protocol(
        lambda images, labels, attribute: read_genki4k(images),
        {"smile": YES_NO},
        fold="fold",
        note="a model may have learned from three of the four folds: choose the fourth with --where fold=N",
    ),
    "celeba": Protocol(_celeba, {"smile": YES_NO, "gender": GENDERS}),
    "folder": Protocol(_folder),
}
"""By name; "folder" is anybody's own: a folder for each class, or a CSV file."""


def chosen(photos: LabelledPhotos, where: Sequence[tuple[str, str]]) -> tuple[LabelledPhoto, ...]:
    """The photos that have all these labels. Raises ValueError where none has."""
    found = tuple(photo for photo in photos if all(photo.labels.get(name) == label for name, label in where))
    if not found:
        wanted = ", ".join(f"{name}={label}" for name, label in where)
        known = {name: sorted({photo.labels.get(name, "") for photo in photos})[:10] for name, _ in where}
        raise ValueError(f"--where: no photo has {wanted}; there are {known}")
    return found
