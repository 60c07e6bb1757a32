"""What users say of faces: these two are the same person, these two are not. It counts more than any similarity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade.archive.errors import ArchiveError

__all__ = ["Decisions"]

Pair = tuple[str, str]


@dataclass(frozen=True)
class Decisions:
    """Pairs of faces by their ids. A pair is in one of the two; what is said last holds."""

    same: frozenset[Pair] = frozenset()
    different: frozenset[Pair] = frozenset()

    def __len__(self) -> int:
        return len(self.same) + len(self.different)

    def with_same(self, one: Sequence[str], other: Sequence[str]) -> Decisions:
        """With the word that these faces, a person's each, are of one person. Raises `ArchiveError` for no faces."""
        pairs = frozenset([_pair(_first(one), _first(other))])
        return Decisions(self.same | pairs, _without(self.different, one, other))

    def with_different(self, one: Sequence[str], other: Sequence[str]) -> Decisions:
        """With the word that these faces, a person's each, the best first, are of two people.

        Each face of one is held apart from the best of the other, so that the two do not join in parts. Raises
        `ArchiveError` for no faces, and for a face that is in both.
        """
        if set(one) & set(other):
            raise ArchiveError("different: expected two people or faces, got one twice")
        pairs = {_pair(each, _first(other)) for each in one} | {_pair(_first(one), each) for each in other}
        return Decisions(_without(self.same, one, other), self.different | pairs)

    def rows(self, row_of: Mapping[str, int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The pairs of ``same`` and ``different`` as rows. Faces that are no longer there are left out."""
        return _rows(self.same, row_of), _rows(self.different, row_of)

    def to_dict(self) -> dict[str, list[Pair]]:
        """For JSON."""
        return {"same": sorted(self.same), "different": sorted(self.different)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Decisions:
        """What `to_dict` made. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(*(frozenset(_pair(str(a), str(b)) for a, b in told[name]) for name in ("same", "different")))


def _pair(a: str, b: str) -> Pair:
    return (a, b) if a < b else (b, a)


def _without(pairs: Iterable[Pair], one: Sequence[str], other: Sequence[str]) -> frozenset[Pair]:
    """The pairs but those of a face of one and a face of the other; both may be people with very many faces."""
    ours, theirs = set(one), set(other)
    return frozenset((a, b) for a, b in pairs if not ((a in ours and b in theirs) or (a in theirs and b in ours)))


def _first(faces: Sequence[str]) -> str:
    if not faces:
        raise ArchiveError("faces: expected at least one, got none")
    return faces[0]


def _rows(pairs: Iterable[Pair], row_of: Mapping[str, int]) -> list[tuple[int, int]]:
    return sorted((row_of[a], row_of[b]) for a, b in pairs if a in row_of and b in row_of)
