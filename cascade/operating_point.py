"""The threshold of a recognition network, and how often it is wrong: for faces of good size, and for small ones.

Small faces are blurred, and blurred faces are alike whoever they are. So the share of pairs of different people that
reach the threshold grows where both faces are small. A weight file states it by size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.checks import number
from cascade.faces import FloatArray
from cascade.models.files import MALFORMED, WeightsError

__all__ = ["OperatingPoint", "SizeRate", "face_sizes", "operating_point_of"]

SMALL_RATIO = 2.0
"""Faces are small where pairs of that size are accepted more than this many times as often as stated for large ones."""

UNDECIDED_RATIO = 10.0
"""Faces are too small to tell where that happens more than this many times as often."""


@dataclass(frozen=True)
class SizeRate:
    """What was measured with both faces of a pair shrunk to one size."""

    face_size: float
    """Pixels, see `face_sizes`."""
    false_accept_rate: float
    """Share of pairs of different people that reach the threshold."""
    true_accept_rate: float
    """Share of pairs of one person that reach the threshold."""


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold of similarity, and the rates that were measured with it."""

    threshold: float
    """Two faces of at least this similarity count as the same person."""
    false_accept_rate: float
    """Share of pairs of different people that reach the threshold."""
    true_accept_rate: float
    """Share of pairs of one person that reach the threshold."""
    measured_on: str
    """The data that the rates were measured on."""
    by_face_size: tuple[SizeRate, ...] = ()
    """The same for small faces, from small to large; empty if that was not measured."""

    def rates_at(self, *sizes: float) -> tuple[float, float] | None:
        """False and true accept rates for a pair of faces of these sizes in pixels, or for one size.

        They are interpolated between the sizes that were measured with both faces of one size. The false accept rate
        is that of the geometric mean of the two, which errs on the high side: a small face is seldom taken for a large
        one. The true accept rate is that of the smaller face. Where either is smaller than any measured, None. Where
        nothing was measured by size, the rates are those for large faces.

        Raises ValueError or TypeError for sizes that are negative, NaN or no numbers, or more than two.
        """
        if not 1 <= len(sizes) <= 2:
            raise ValueError(f"sizes: expected one or two, got {len(sizes)}")
        pixels = [number("sizes", size, 0.0, np.inf) for size in sizes]
        if not self.by_face_size:
            return self.false_accept_rate, self.true_accept_rate
        smaller = min(pixels)
        measured = [each.face_size for each in self.by_face_size]
        if smaller < measured[0] - 0.5:
            return None
        return self._false_accept_rate_at(float(np.sqrt(smaller * max(pixels)))), self._true_accept_rate_at(smaller)

    def _false_accept_rate_at(self, size: float) -> float:
        measured = [each.face_size for each in self.by_face_size]
        if size >= measured[-1]:
            return self.false_accept_rate
        false = np.maximum([each.false_accept_rate for each in self.by_face_size], max(1e-9, self.false_accept_rate))
        false = np.maximum.accumulate(false[::-1])[::-1]
        return float(np.exp(np.interp(np.log(size), np.log(measured), np.log(false))))

    def _true_accept_rate_at(self, size: float) -> float:
        measured = [each.face_size for each in self.by_face_size]
        if size >= measured[-1]:
            return self.true_accept_rate
        true = np.minimum([each.true_accept_rate for each in self.by_face_size], self.true_accept_rate)
        return float(np.interp(np.log(size), np.log(measured), true))

    def is_small(self, *sizes: float) -> bool:
        """Whether faces of these sizes are accepted wrongly more than twice as often as large ones."""
        return self._exceeds(SMALL_RATIO, *sizes)

    def is_too_small(self, *sizes: float) -> bool:
        """Whether that happens more than ten times as often, or either face is below what was measured.

        Then nothing can be told of them.
        """
        return self._exceeds(UNDECIDED_RATIO, *sizes)

    @property
    def smallest_good_face(self) -> float:
        """The size in whole pixels from which on faces are not small."""
        if not self.by_face_size:
            return 0.0
        last = int(np.ceil(self.by_face_size[-1].face_size))
        return float(next((size for size in range(1, last) if not self.is_small(size)), last))

    def _exceeds(self, ratio: float, *sizes: float) -> bool:
        rates = self.rates_at(*sizes)
        return rates is None or rates[0] > ratio * self.false_accept_rate


def face_sizes(boxes: npt.ArrayLike) -> FloatArray:
    """The sizes (N,) of faces in pixels: the geometric mean of width and height of their boxes (N, 4)."""
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.asarray(np.sqrt((corners[:, 2:] - corners[:, :2]).clip(0).prod(axis=1)), np.float32)


def operating_point_of(metadata: Mapping[str, Any], file: object) -> OperatingPoint | None:
    """The operating point that a weight file states, None if it has none. Raises `WeightsError` for an invalid one."""
    stated: Any = metadata.get("verification")
    if stated is None:
        return None
    try:
        point = OperatingPoint(
            float(stated["threshold"]),
            float(stated["false_accept_rate"]),
            float(stated["true_accept_rate"]),
            str(stated["measured_on"]),
            _by_face_size(stated.get("by_face_size", ())),
        )
    except MALFORMED as error:
        raise WeightsError(f"weights: {file} has an invalid verification threshold ({str(error)[:100]})") from error
    pairs = [(point.false_accept_rate, point.true_accept_rate)]
    pairs += [(each.false_accept_rate, each.true_accept_rate) for each in point.by_face_size]
    if not (-1 <= point.threshold <= 1 and all(0 <= rate <= 1 for pair in pairs for rate in pair)):
        raise WeightsError(f"weights: {file} has an impossible verification threshold or rate: {str(stated)[:100]}")
    return point


def _by_face_size(stated: Any) -> tuple[SizeRate, ...]:
    found = tuple(
        SizeRate(float(each["face_size"]), float(each["false_accept_rate"]), float(each["true_accept_rate"]))
        for each in stated
    )
    sizes = [0.0, *(each.face_size for each in found)]
    if not all(low < high < 1e6 for low, high in pairwise(sizes)):
        raise ValueError(f"by_face_size: expected rising sizes in pixels, got {sizes[1:]}")
    return found
