"""What the readers of attribute sets return: photos of one face each, and what the set says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from .people import People
from .photo import PhotoSet
from .utkface import UTKFACE_RACES

__all__ = ["GENDERS", "LabelledPhoto", "LabelledPhotos", "labelled_people"]

GENDERS = ("male", "female")
"""Names of the labels of gender, in the order of UTKFace's numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPhoto:
    """One photo of one face.

    path    the image file
    name    stable name within the set, with forward slashes
    labels  what is known, by the name of the attribute, as text: a class ("female"), a number ("37"), a range of
            numbers ("20-29", "70+"). What is not known is not there.

    Raises ValueError for an empty name or label.
    """

    path: Path
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError(f"{self.path}: a photo needs a name")
        for attribute, label in self.labels.items():
            if not (isinstance(label, str) and label):
                raise ValueError(f"{self.name}: label of {attribute} must be text, got {label!r}")
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))


class LabelledPhotos(PhotoSet[LabelledPhoto]):
    """The photos of one attribute set: a `PhotoSet` of `LabelledPhoto`."""

    __slots__ = ()


def labelled_people(people: People) -> LabelledPhotos:
    """Return what UTKFace and FG-NET know of each photo: age, gender and ethnicity."""
    photos = []
    for photo in people:
        labels = {} if photo.age != photo.age else {"age": f"{photo.age:g}"}
        if "gender" in photo.attributes:
            labels["gender"] = GENDERS[photo.attributes["gender"]]
        if "race" in photo.attributes:
            labels["ethnicity"] = UTKFACE_RACES[photo.attributes["race"]]
        photos.append(LabelledPhoto(photo.path, photo.name, labels))
    return LabelledPhotos(people.name, tuple(photos), people.problems)
