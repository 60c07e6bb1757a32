"""Who is in this photo? Ranks of the right person among many: leave-one-out, MegaFace's MF1, gallery and probe.

All functions take embeddings, compare them by cosine, and return the rank of the right person for every probe. A
rank is 1 plus the number of other people of whom some photo in the gallery is at least as similar: equal
similarities count against the probe. A row of NaN stands for a missed face: a probe without a face fails at every
rank, as does one all of whose mates (other photos of its person in the gallery) were missed.

Leave-one-out on FG-NET is the usual protocol of age-invariant recognition; MF1 is that of I. Kemelmacher-Shlizerman
et al., The MegaFace Benchmark: 1 Million Faces for Recognition at Scale, CVPR 2016, challenge 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.recognition.similarity import FloatArray, ProtocolError, similarities, unit_rows
from eval.recognition.verification import AGE_GAPS, gap_name

__all__ = ["NEVER", "GapRank", "Ranks", "gallery_probe", "leave_one_out", "megaface"]

NEVER = np.iinfo(np.int64).max
"""The rank of a probe that fails at every rank."""

# Probes compared at once; with a million distractors that takes 130 MB.
BLOCK = 16

IntArray = NDArray[np.int64]
Progress = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True, slots=True)
class GapRank:
    """Rank-1 rate of the probes that have mates ``smallest`` to below ``largest`` years away; None without any.

    Their other mates are left out of the gallery, all other people stay in it.
    """

    smallest: float
    largest: float
    probes: int
    rank1: float | None

    @property
    def name(self) -> str:
        """The band as "5-10" or "30+"."""
        return gap_name(self.smallest, self.largest)


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """The rank of the right person in every search.

    ranks   (S,) int64 from 1, or ``NEVER``
    probes  (S,) int64: index of each search's probe; MF1 searches once for each mate of a probe
    people  number of people in the gallery, each distractor being one
    gaps    rank-1 by the years between probe and mates; empty where no age is known
    """

    ranks: IntArray
    probes: IntArray
    people: int
    gaps: tuple[GapRank, ...] = ()

    @property
    def rank1(self) -> float:
        """Share of the searches in which the right person comes first."""
        return float((self.ranks == 1).mean())

    def cmc(self, deepest: int) -> FloatArray:
        """Return the cumulative match characteristic: (deepest,) shares found within rank 1, 2, …"""
        return np.array([(self.ranks <= rank).mean() for rank in range(1, deepest + 1)])


def leave_one_out(
    embeddings: ArrayLike,
    people: Sequence[object],
    ages: ArrayLike | None = None,
    *,
    progress: Progress | None = None,
) -> Ranks:
    """Search for each photo among all the others.

    embeddings  (N, D) numbers, rows of NaN for missed faces
    people      N names or numbers: who is in each photo
    ages        (N,) years, NaN where unknown, for the rates by age gap; None leaves them out

    A person with a single photo is no probe, but is in the gallery. Raises ProtocolError for arrays that do
    not fit, and when nobody has two photos.
    """
    rows = unit_rows(embeddings)
    codes = _codes(people, len(rows), "people")
    years = np.full(len(rows), np.nan) if ages is None else np.asarray(ages, np.float64)
    if years.shape != (len(rows),):
        raise ProtocolError(f"ages: shape ({len(rows)},) expected, got {years.shape}")
    counts = np.bincount(codes)
    probes = np.flatnonzero(counts[codes] > 1)
    if not len(probes):
        raise ProtocolError("people: nobody has two photos, so there is nobody to search for")
    bands = AGE_GAPS if np.isfinite(years).any() else ()
    blocks = [_left_out(rows, codes, years, probes[part], bands) for part in _blocks(len(probes), progress)]
    ranks = np.concatenate([each for each, _ in blocks])
    present = np.concatenate([each for _, each in blocks])
    by_gap = tuple(_gap_rank(band, ranks[present[:, k], k] == 1) for k, band in enumerate(bands, 1))
    return Ranks(ranks[:, 0], probes, len(counts), by_gap)


def megaface(
    embeddings: ArrayLike,
    people: Sequence[object],
    distractors: ArrayLike,
    *,
    progress: Progress | None = None,
) -> Ranks:
    """Search for each photo among the distractors and one other photo of its person, each of those in turn (MF1).

    embeddings   (N, D) numbers, rows of NaN for missed faces
    people       N names or numbers: who is in each photo
    distractors  (M, D) embeddings of strangers, each counted as a person of its own

    A person with n photos makes n (n − 1) searches, and each counts alike. Missed distractors never come up.
    Raises ProtocolError for arrays that do not fit, and when nobody has two photos.
    """
    rows, strangers = unit_rows(embeddings), unit_rows(distractors, "distractors")
    if strangers.shape[1] != rows.shape[1]:
        raise ProtocolError(f"distractors: {rows.shape[1]} numbers in a row expected, got {strangers.shape[1]}")
    codes = _codes(people, len(rows), "people")
    probes = np.flatnonzero(np.bincount(codes)[codes] > 1)
    if not len(probes):
        raise ProtocolError("people: nobody has two photos, so there is nobody to search for")
    ranks: list[IntArray] = []
    searched: list[IntArray] = []
    for part in _blocks(len(probes), progress):
        rising = np.sort(similarities(rows[probes[part]], strangers), axis=1)
        for probe, stranger in zip(probes[part], rising, strict=True):
            mates = np.flatnonzero((codes == codes[probe]) & (np.arange(len(codes)) != probe))
            own = similarities(rows[[probe]], rows[mates])[0]
            ahead = len(stranger) - np.searchsorted(stranger, own, side="left")
            ranks.append(np.where(np.isfinite(own), 1 + ahead, NEVER))
            searched.append(np.full(len(mates), probe))
    return Ranks(np.concatenate(ranks), np.concatenate(searched), 1 + len(strangers))


def gallery_probe(
    gallery: ArrayLike,
    gallery_people: Sequence[object],
    probes: ArrayLike,
    probe_people: Sequence[object],
    distractors: ArrayLike | None = None,
    *,
    progress: Progress | None = None,
) -> Ranks:
    """Search for each probe in a gallery that holds its person (closed set).

    gallery, probes               (N, D) and (P, D) embeddings, rows of NaN for missed faces
    gallery_people, probe_people  who is in each photo
    distractors                   (M, D) embeddings of strangers to add to the gallery, a person each; or None

    Probes whose person has no photo in the gallery are passed over: see ``Ranks.probes`` for those searched.
    Raises ProtocolError for arrays that do not fit, and when no probe is left.
    """
    rows, asked = unit_rows(gallery, "gallery"), unit_rows(probes, "probes")
    strangers = np.zeros((0, rows.shape[1])) if distractors is None else unit_rows(distractors, "distractors")
    for argument, array in (("probes", asked), ("distractors", strangers)):
        if array.shape[1] != rows.shape[1]:
            raise ProtocolError(f"{argument}: {rows.shape[1]} numbers in a row expected, got {array.shape[1]}")
    if len(gallery_people) != len(rows) or len(probe_people) != len(asked):
        raise ProtocolError("gallery_people, probe_people: one for each row of gallery and of probes expected")
    codes = _codes([*gallery_people, *probe_people], len(rows) + len(asked), "gallery_people, probe_people")
    held, wanted = codes[: len(rows)], codes[len(rows) :]
    searched = np.flatnonzero(np.isin(wanted, held))
    if not len(searched):
        raise ProtocolError("probe_people: none of them has a photo in the gallery")
    ranks = np.empty(len(searched), np.int64)
    for part in _blocks(len(searched), progress):
        chosen = searched[part]
        found = similarities(asked[chosen], rows)
        mates = wanted[chosen, None] == held[None]
        others = _best_by_person(np.where(mates, -np.inf, found), held)
        others = np.concatenate([others, similarities(asked[chosen], strangers)], axis=1)
        ranks[part] = _rank(np.where(mates, found, -np.inf).max(axis=1), others)
    return Ranks(ranks, searched, len(np.unique(held)) + len(strangers))


def _left_out(
    rows: FloatArray, codes: IntArray, years: FloatArray, chosen: IntArray, bands: Sequence[tuple[float, float]]
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return the ranks (B, 1 + K) of B probes with all their mates and with those of each band, and who has such."""
    found = similarities(rows[chosen], rows)
    mates = codes[chosen, None] == codes[None]
    others = _best_by_person(np.where(mates, -np.inf, found), codes)
    mates[np.arange(len(chosen)), chosen] = False
    gaps = np.abs(years[chosen, None] - years[None])
    kinds = [mates, *(mates & (gaps >= low) & (gaps < high) for low, high in bands)]
    ranks = [_rank(np.where(kind, found, -np.inf).max(axis=1), others) for kind in kinds]
    return np.stack(ranks, axis=1), np.stack([kind.any(axis=1) for kind in kinds], axis=1)


def _rank(own: FloatArray, others: FloatArray) -> IntArray:
    """Return the (B,) ranks for the similarities (B,) of the right people and (B, P) of the others."""
    ranks = 1 + (others >= own[:, None]).sum(axis=1)
    return np.where(np.isfinite(own), ranks, NEVER)


def _best_by_person(found: FloatArray, codes: IntArray) -> FloatArray:
    """Return the largest of the (B, N) similarities for each of the people that ``codes`` (N,) names."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(codes[order]) != 0))
    best: FloatArray = np.maximum.reduceat(found[:, order], starts, axis=1)
    return best


def _gap_rank(band: tuple[float, float], first: NDArray[np.bool_]) -> GapRank:
    return GapRank(*band, len(first), float(first.mean()) if len(first) else None)


def _codes(people: Sequence[object], count: int, argument: str) -> IntArray:
    """Return (N,) numbers from 0, one for each person."""
    if len(people) != count:
        raise ProtocolError(f"{argument}: {count} expected, one for each row, got {len(people)}")
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(person, len(numbers)) for person in people], np.int64)


def _blocks(count: int, progress: Progress | None) -> Iterator[slice]:
    starts = range(0, count, BLOCK)
    for start in starts if progress is None else progress(starts):
        yield slice(start, start + BLOCK)
