"""Groups of ages in years, as papers and data sets have them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

AgeGroups = tuple[tuple[str, float, float], ...]
"""Of each group its name, its first and its last year, both within it."""


def _groups(starts: tuple[int, ...], names: tuple[str, ...] = ()) -> AgeGroups:
    """The groups that begin with these years, each up to the next one, the last one without end."""
    found = []
    for at, first in enumerate(starts):
        last = starts[at + 1] - 1 if at + 1 < len(starts) else math.inf
        usual = f"{first}+" if last == math.inf else f"{first}-{last}"
        found.append((names[at] if names else usual, float(first), float(last)))
    return tuple(found)


AGE_GROUPS: Mapping[str, AgeGroups] = {
    "twelve": _groups(tuple(range(0, 120, 10))),
    "nine": _groups((0, 3, 10, 20, 30, 40, 50, 60, 70)),
    "six": _groups((0, 16, 26, 36, 46, 61)),
    "three": _groups((0, 30, 60), ("young", "adult", "elderly")),
}
"""Decades from 0–9 to 110+; FairFace's nine; IMDB-WIKI's six as in Rohani et al. 2023; young, adult and elderly."""


def age_groups(name: str) -> AgeGroups:
    """The groups of that name. Raises ValueError for another one."""
    if name not in AGE_GROUPS:
        raise ValueError(f"groups: expected one of {', '.join(AGE_GROUPS)}, got {name!r}")
    return AGE_GROUPS[name]


def group_numbers(ages: npt.ArrayLike, groups: AgeGroups) -> npt.NDArray[np.intp]:
    """Which group each of N ages is in, (N,); completed years count. −1 for NaN and what is below all groups."""
    years = np.floor(np.asarray(ages, np.float64))
    found = np.searchsorted([first for _, first, _ in groups], years, side="right") - 1
    return np.where(np.isnan(years), -1, found)
