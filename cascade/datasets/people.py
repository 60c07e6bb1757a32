"""What the readers of recognition sets return: photos of people, and pairs of photos to compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .photo import PhotoSet, Problem

__all__ = ["Pair", "Pairs", "People", "PersonPhoto"]


@dataclass(frozen=True, slots=True, eq=False)
class PersonPhoto:
    """One photo that shows one person; other people may be in it.

    path        the image file
    name        stable name within the set, with forward slashes
    person      who it is, a name or number of the set; None where the set does not say
    age         in years when the photo was taken; NaN where unknown
    landmarks   (5, 2) float32, read-only: left eye, right eye, nose, left and right mouth corner as seen in
                the image, in pixels; None where the set has none
    attributes  further labels as integers, such as gender (0 male, 1 female) and race

    Raises ValueError for an empty name, an age that is negative or infinite, and landmarks of another shape
    or not finite.
    """

    path: Path
    name: str
    person: str | None
    age: float = math.nan
    landmarks: NDArray[np.float32] | None = None
    attributes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError(f"{self.path}: a photo needs a name")
        if self.age < 0 or math.isinf(self.age):
            raise ValueError(f"{self.name}: age must be a number of years, or NaN where unknown, got {self.age}")
        if self.landmarks is not None:
            points = np.array(self.landmarks, np.float32)
            if points.shape != (5, 2) or not np.isfinite(points).all():
                raise ValueError(f"{self.name}: landmarks must be finite, (5, 2), got shape {points.shape}")
            points.setflags(write=False)
            object.__setattr__(self, "landmarks", points)


class People(PhotoSet[PersonPhoto]):
    """The photos of one set of people: a `PhotoSet` of `PersonPhoto`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photos to compare.

    same  whether both show the same person
    fold  number of the part of the protocol, from 1; no person is in two parts
    """

    image_a: PersonPhoto
    image_b: PersonPhoto
    same: bool
    fold: int

    @property
    def age_a(self) -> float:
        """Age in the first photo in years, NaN where unknown."""
        return self.image_a.age

    @property
    def age_b(self) -> float:
        """Age in the second photo in years, NaN where unknown."""
        return self.image_b.age


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The pairs of one verification protocol, in its order, and the problems met while reading it.

    Length, iteration and an index give pairs.
    """

    name: str
    pairs: tuple[Pair, ...]
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", tuple(self.pairs))
        object.__setattr__(self, "problems", tuple(self.problems))

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __getitem__(self, index: int) -> Pair:
        return self.pairs[index]

    def photos(self) -> tuple[PersonPhoto, ...]:
        """Return every photo once, in the order in which they come up."""
        both = (photo for pair in self.pairs for photo in (pair.image_a, pair.image_b))
        return tuple({photo.name: photo for photo in both}.values())

    def folds(self) -> tuple[int, ...]:
        """Return the numbers of the parts that have pairs, in rising order."""
        return tuple(sorted({pair.fold for pair in self.pairs}))
