"""The people of a gallery: their embeddings by name, and the search among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.gallery_search import (
    FloatArray,
    Match,
    best_matches,
    each_person_once,
    person_similarities,
    pooled_people,
)

__all__ = ["PeopleEmbeddings"]

BLOCK_SIMILARITIES = 1 << 24
"""Similarities computed at once, which bounds the memory of a search."""


class PeopleEmbeddings:
    """Embeddings (n, D) float32, n ≥ 1, of each person, in the order in which people were added.

    Several threads can search at once, but not while another changes it.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._rows: dict[str, FloatArray] = {}
        self._stacked: tuple[FloatArray, npt.NDArray[np.intp]] | None = None

    @classmethod
    def from_stack(cls, rows: FloatArray, counts: Mapping[str, int]) -> PeopleEmbeddings:
        """The people of whom ``rows`` (n, D) has so many each, person after person."""
        people = cls(rows.shape[1])
        starts = np.cumsum([0, *counts.values()], dtype=np.intp)
        for name, start, end in zip(counts, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            people._rows[name] = rows[start:end]
        people._stacked = rows, starts[:-1]
        return people

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __getitem__(self, name: str) -> FloatArray:
        return self._rows[name]

    def __getstate__(self) -> dict[str, Any]:
        # arrays of their own, not one array as large as the gallery behind each
        return {**self.__dict__, "_rows": {name: rows.copy() for name, rows in self._rows.items()}, "_stacked": None}

    @property
    def counts(self) -> dict[str, int]:
        """How many embeddings each person has."""
        return {name: len(rows) for name, rows in self._rows.items()}

    def add(self, name: str, rows: FloatArray) -> None:
        """Adds embeddings to those of a person, who may be new."""
        self._rows[name] = np.concatenate([self._rows[name], rows]) if name in self._rows else rows
        self._stacked = None

    def drop(self, name: str) -> int:
        """Removes a person, if there is one of that name, and returns how many embeddings there were."""
        self._stacked = None
        return len(self._rows.pop(name, ()))

    def stack(self) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """All embeddings (n, D), person after person, and each person's first row (people,)."""
        if self._stacked is None:
            rows = np.concatenate([np.empty((0, self._dimension), np.float32), *self._rows.values()])
            self._stacked = rows, np.cumsum([0, *self.counts.values()], dtype=np.intp)[:-1]
        return self._stacked

    def search(
        self, probes: FloatArray, top: int, limit: float, left_out: set[str], *, once: bool, pooled: bool
    ) -> list[list[Match]]:
        """The people most similar to each probe, as `cascade.gallery.Gallery.identify` says; ``left_out`` never."""
        if not self._rows:
            return [[] for _ in probes]
        names = tuple(self._rows)
        gone = [at for at, name in enumerate(names) if name in left_out] if left_out else []
        rows, starts = self.stack()
        if pooled:
            rows, starts = pooled_people(rows, starts), np.arange(len(names))
        if once:
            similarities = each_person_once(person_similarities(probes, rows, starts, gone), limit)
            return [best_matches(of_one, names, top, limit) for of_one in similarities]
        step = max(1, BLOCK_SIMILARITIES // len(rows))
        found: list[list[Match]] = []
        for first in range(0, len(probes), step):
            similarities = person_similarities(probes[first : first + step], rows, starts, gone)
            found += [best_matches(of_one, names, top, limit) for of_one in similarities]
        return found
