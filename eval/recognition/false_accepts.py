"""How often does a threshold accept two different people? By age, gender and race, and how sure that is.

All pairs of photos of different people, or of photos that are taken for such, are compared by cosine; a pair is
accepted when its similarity is at least the threshold. Within a group both photos belong to it. Rows of NaN stand for
missed faces, which are in no pair. Pairs more alike than any two people are near-duplicates: they are counted, and
neither accepted nor rejected.

Pairs share photos, so that they are not independent: intervals come from drawing photos, not pairs, again (T.
Snijders, S. Borgatti, Non-Parametric Standard Errors and Tests for Network Statistics, Connections 22(2), 1999; a
photo drawn twice is not compared with itself). That is cautious: where few pairs are accepted and these have no photo
in common, the count varies √3 times as much over the draws as it would over new photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.recognition.groups import BoolArray
from eval.recognition.similarity import FloatArray, ProtocolError, similarities, unit_rows
from eval.report.bootstrap import DRAWS, Interval, interval, quotients, times_drawn

__all__ = ["NEAR_DUPLICATE", "FalseAccepts", "evaluate"]

NEAR_DUPLICATE = 0.95
"""Pairs of a larger similarity are taken for the same photo."""

# Photos compared with all others at once; with 24,000 photos that takes 50 MB.
BLOCK = 256

Progress = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True, slots=True, eq=False)
class FalseAccepts:
    """The pairs within a group of photos.

    photos           with a face
    missed           photos of the group without one
    pairs, accepted  without near-duplicates
    near_duplicates  pairs left out
    interval         the middle 95 % of the rate over bootstrap draws; None where none or all are accepted, of
                     which draws tell nothing
    ratio            the rate over that of all pairs; None where that is zero, or the group has no pair
    ratio_interval   the middle 95 % of the ratio over the same draws
    """

    photos: int
    missed: int
    pairs: int
    accepted: int
    near_duplicates: int
    interval: Interval | None
    ratio: float | None
    ratio_interval: Interval | None

    @property
    def rate(self) -> float | None:
        """Share of the pairs that are accepted; None without pairs."""
        return self.accepted / self.pairs if self.pairs else None


@dataclass(frozen=True, slots=True, eq=False)
class _Tally:
    """Pairs, accepted ones and near-duplicates, and the first two again for every draw."""

    photos: int
    pairs: int
    accepted: int
    near_duplicates: int
    pairs_drawn: FloatArray
    accepted_drawn: FloatArray

    @property
    def rate(self) -> float:
        return self.accepted / self.pairs if self.pairs else np.nan

    @property
    def rates_drawn(self) -> FloatArray:
        return quotients(self.accepted_drawn, self.pairs_drawn)


def evaluate(
    embeddings: ArrayLike,
    threshold: float,
    groups: Mapping[str, BoolArray],
    *,
    near_duplicate: float = NEAR_DUPLICATE,
    draws: int = DRAWS,
    progress: Progress | None = None,
) -> tuple[FalseAccepts, dict[str, FalseAccepts]]:
    """Return the figures of all pairs of N photos, and those of the pairs within each group.

    embeddings      (N, D) numbers, rows of NaN for missed faces
    threshold       similarity from which on a pair is accepted
    groups          name → (N,) bool: which photos belong to it
    near_duplicate  similarity above which a pair is left out

    Raises ProtocolError for arrays that do not fit, a threshold that is out of reach, and fewer than two faces.
    """
    if not -1 <= threshold <= near_duplicate:
        raise ProtocolError(
            f"threshold: expected from -1 to {near_duplicate:g}, above which pairs are near-duplicates; got {threshold}"
        )
    rows = unit_rows(embeddings)
    for name, members in groups.items():
        if members.shape != (len(rows),) or members.dtype != bool:
            raise ProtocolError(f"groups: {name}: bool of shape ({len(rows)},) expected, got shape {members.shape}")
    found = np.isfinite(rows).all(axis=1)
    if found.sum() < 2:
        raise ProtocolError(f"embeddings: two faces expected at least, got {found.sum()} in {len(rows)} photos")
    drawn = times_drawn(len(rows), draws)

    def tally(members: BoolArray, report: Progress | None = None) -> _Tally:
        kept = members & found
        return _count(rows[kept], threshold, near_duplicate, drawn[:, kept], report)

    every = np.ones(len(rows), bool)
    overall = tally(every, progress)
    if not overall.pairs:
        raise ProtocolError(f"embeddings: all pairs are more alike than {near_duplicate:g}, so that none is left")
    parts = {name: _figures(tally(members), int(members.sum()), overall) for name, members in groups.items()}
    return _figures(overall, len(rows), overall), parts


def _count(
    rows: FloatArray, threshold: float, limit: float, drawn: NDArray[np.float32], progress: Progress | None
) -> _Tally:
    """Count the pairs of n unit rows, once for each and once for each draw of (draws, n) times."""
    count = len(rows)
    accepted = alike = 0
    accepted_drawn, alike_drawn = np.zeros(len(drawn)), np.zeros(len(drawn))
    starts = range(0, count, BLOCK)
    for start in starts if progress is None else progress(starts):
        part = slice(start, start + BLOCK)
        found = similarities(rows[part], rows[start:])
        later = np.arange(found.shape[1]) > np.arange(len(found))[:, None]  # each pair once
        near = later & (found > limit)
        taken = later & (found >= threshold) & ~near
        accepted += int(taken.sum())
        accepted_drawn += _times(taken, drawn[:, part], drawn[:, start:])
        if near.any():
            alike += int(near.sum())
            alike_drawn += _times(near, drawn[:, part], drawn[:, start:])
    exact = drawn.astype(np.float64)
    pairs_drawn = (exact.sum(axis=1) ** 2 - (exact**2).sum(axis=1)) / 2 - alike_drawn
    return _Tally(count, count * (count - 1) // 2 - alike, accepted, alike, pairs_drawn, accepted_drawn)


def _times(pairs: BoolArray, first: NDArray[np.float32], second: NDArray[np.float32]) -> FloatArray:
    """Return how many of the pairs (a, b) each draw has, given how often it has each of a and b photos."""
    each = (second @ pairs.T.astype(np.float32)) * first
    return np.asarray(each.sum(axis=1, dtype=np.float64))


def _figures(part: _Tally, photos: int, overall: _Tally) -> FalseAccepts:
    ratio, spread = None, None
    if part.pairs and overall.accepted:
        ratio = part.rate / overall.rate
        spread = interval(quotients(part.rates_drawn, overall.rates_drawn)) if part is not overall else None
    certain = part.accepted in (0, part.pairs)
    return FalseAccepts(
        photos=part.photos,
        missed=photos - part.photos,
        pairs=part.pairs,
        accepted=part.accepted,
        near_duplicates=part.near_duplicates,
        interval=None if certain else interval(part.rates_drawn),
        ratio=ratio,
        ratio_interval=None if part.accepted == 0 else spread,
    )
