"""Groups of photos by what their labels say: age in bands, gender, race, and combinations of these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.datasets import PersonPhoto
from cascade.datasets.utkface import UTKFACE_RACES
from eval.recognition.verification import gap_name

__all__ = ["AGE_BANDS", "GENDERS", "PROBE_BANDS", "Groups", "by_label", "combined", "in_bands"]

AGE_BANDS = ((0.0, 10.0), (11.0, 20.0), (21.0, 30.0), (31.0, 40.0), (41.0, 50.0), (51.0, 60.0), (61.0, math.inf))
"""First and last year of each band, both within it."""

PROBE_BANDS = ((0.0, 5.0), (6.0, 12.0), (13.0, 18.0), (19.0, math.inf))
"""The same for photos that are searched for: faces change fastest in the first years."""

GENDERS = ("male", "female")

ATTRIBUTES = {"gender": GENDERS, "race": UTKFACE_RACES}

BoolArray = NDArray[np.bool_]
Groups = dict[str, dict[str, BoolArray]]
"""Kind, such as "gender" → group, such as "female" → (N,) bool: which photos belong to it."""


def in_bands(ages: ArrayLike, bands: Sequence[tuple[float, float]] = AGE_BANDS) -> dict[str, BoolArray]:
    """Return which of N ages are in each band, "11-20" or "61+"; completed years count, NaN is in none."""
    years = np.floor(np.asarray(ages, np.float64))
    return {gap_name(first, last): (years >= first) & (years <= last) for first, last in bands}


def by_label(photos: Sequence[PersonPhoto]) -> Groups:
    """Return the groups of the kinds "age", "gender" and "race", without kinds of which no photo has a label.

    Groups without a photo are there too.
    """
    ages = np.array([photo.age for photo in photos], np.float64)
    found: Groups = {"age": in_bands(ages)} if np.isfinite(ages).any() else {}
    for kind, names in ATTRIBUTES.items():
        numbers = np.array([photo.attributes.get(kind, -1) for photo in photos])
        if (numbers >= 0).any():
            found[kind] = {name: numbers == number for number, name in enumerate(names)}
    return found


def combined(groups: Mapping[str, Mapping[str, BoolArray]], at_least: int) -> dict[str, BoolArray]:
    """Return the photos in one group of each of two or more kinds, "21-30, female", where there are so many."""
    found: dict[str, BoolArray] = {}
    for count in range(2, len(groups) + 1):
        for kinds in combinations(groups.values(), count):
            for parts in product(*(kind.items() for kind in kinds)):
                members = np.all([photos for _, photos in parts], axis=0)
                if members.sum() >= at_least:
                    found[", ".join(name for name, _ in parts)] = members
    return found
