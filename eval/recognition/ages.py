"""How far are estimated ages from the true ones? Mean absolute error, cumulative score, bias, by groups of photos.

The cumulative score of L years is the share of photos whose age is estimated within L years, as in X. Geng et al.,
Automatic Age Estimation Based on Facial Aging Patterns, IEEE TPAMI 29(12), 2007. An estimate of NaN stands for a
missed face: all figures are over the faces found, besides ``AgeErrors.of_all``.
"""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.csv_text import text_of
from cascade.datasets import DatasetError
from cascade.npz import read_npz
from eval.recognition.embedding import Embeddings
from eval.recognition.groups import BoolArray
from eval.recognition.similarity import FloatArray, ProtocolError
from eval.report.bootstrap import DRAWS, Interval, interval, quotients, times_drawn

__all__ = ["WITHIN", "AgeErrors", "AgeResult", "evaluate", "read_ages"]

WITHIN = (5, 10)
"""Years for which the cumulative score is told."""

# An hour or so: estimates in single precision that are 5 years off must not come out as more.
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class AgeErrors:
    """The errors of a group of photos.

    errors        (n,) float64: estimated less true age in years, of the faces found
    photos        number of photos, with missed faces
    mae_interval  the middle 95 % of the mean absolute error over bootstrap draws; None for too few photos
    """

    errors: FloatArray
    photos: int
    mae_interval: Interval | None

    @property
    def missed(self) -> int:
        """Number of photos without an estimate."""
        return self.photos - len(self.errors)

    @property
    def mae(self) -> float | None:
        """Mean absolute error in years over the faces found; None without any."""
        return float(np.abs(self.errors).mean()) if len(self.errors) else None

    @property
    def bias(self) -> float | None:
        """Mean error in years over the faces found: above zero they are taken for older than they are."""
        return float(self.errors.mean()) if len(self.errors) else None

    def within(self, years: float) -> float | None:
        """Return the cumulative score: the share of the faces found with an error of at most so many years."""
        return self._close(years) / len(self.errors) if len(self.errors) else None

    def of_all(self, years: float) -> float:
        """Return the share of all photos, with missed faces, that have an error of at most so many years."""
        return self._close(years) / self.photos if self.photos else 0.0

    def _close(self, years: float) -> int:
        return int((np.abs(self.errors) <= years + TOLERANCE).sum())


@dataclass(frozen=True, slots=True, eq=False)
class AgeResult:
    """What ``evaluate`` gives; ``groups`` holds kind → name → errors, as it was asked for."""

    ages: FloatArray
    estimates: FloatArray
    overall: AgeErrors
    groups: Mapping[str, Mapping[str, AgeErrors]]


def evaluate(
    ages: ArrayLike,
    estimates: ArrayLike,
    groups: Mapping[str, Mapping[str, BoolArray]] | None = None,
    people: Sequence[object] | None = None,
    *,
    draws: int = DRAWS,
) -> AgeResult:
    """Return all figures of N photos.

    ages       (N,) years, finite
    estimates  (N,) years, NaN where a face was missed
    groups     kind → name → (N,) bool, for the figures by group
    people     N names or numbers: who is in each photo, for draws of people: one person's errors go together;
               None where that is not known, for draws of photos

    Raises ProtocolError for arrays that do not fit each other and where no face was found.
    """
    true, guessed = np.asarray(ages, np.float64), np.asarray(estimates, np.float64)
    if true.ndim != 1 or not np.isfinite(true).all():
        raise ProtocolError(f"ages: (N,) finite numbers expected, got shape {true.shape} or unknown ages")
    if guessed.shape != true.shape or np.isinf(guessed).any():
        raise ProtocolError(f"estimates: {true.shape} expected, finite or NaN, got {guessed.shape} or infinity")
    if people is not None and len(people) != len(true):
        raise ProtocolError(f"people: {len(true)} expected, one for each photo, got {len(people)}")
    if np.isnan(guessed).all():
        raise ProtocolError(f"estimates: none of {len(true)} photos has one")
    numbers: dict[object, int] = {}
    owners: Sequence[object] = range(len(true)) if people is None else people
    units = np.array([numbers.setdefault(each, len(numbers)) for each in owners], np.int64)
    drawn = times_drawn(len(numbers), draws)
    parts = {
        kind: {name: _errors(guessed - true, members, units, drawn) for name, members in each.items()}
        for kind, each in (groups or {}).items()
    }
    return AgeResult(true, guessed, _errors(guessed - true, np.ones(len(true), bool), units, drawn), parts)


def _errors(errors: FloatArray, members: BoolArray, units: NDArray[np.int64], drawn: NDArray[np.float32]) -> AgeErrors:
    """Return the errors of some photos; ``units`` says which column of ``drawn`` each photo goes by."""
    if members.shape != errors.shape or members.dtype != bool:
        raise ProtocolError(f"groups: bool of shape {errors.shape} expected, got {members.dtype} of {members.shape}")
    found = members & np.isfinite(errors)
    held = units[found]
    sums = np.bincount(held, np.abs(errors[found]), drawn.shape[1])
    counts = np.bincount(held, minlength=drawn.shape[1])
    spread = interval(quotients(drawn @ sums, drawn @ counts)) if len(np.unique(held)) > 1 else None
    return AgeErrors(errors[found], int(members.sum()), spread)


def read_ages(file: str | Path) -> Embeddings:
    """Read estimated ages, as embeddings of one number: NaN for missed faces.

    A .csv file has a header with the columns "name" and "age", and perhaps others; an empty age is a missed
    face. An .npz file has ``names`` (N,) text and ``ages`` (N,) numbers. Names are paths relative to the folder
    of the photos. ``about["ages_sha256"]`` is the hash of the file. Nothing is unpickled.

    Raises DatasetError, naming the file, for anything else.
    """
    file = Path(file)
    try:
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        names, ages = _from_csv(file) if file.suffix.lower() == ".csv" else _from_npz(file)
        with np.errstate(over="ignore"):  # infinity is refused
            return Embeddings(names, ages[:, None].astype(np.float32), {"ages_sha256": sha256})
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    except (ValueError, KeyError, TypeError, EOFError, csv.Error, zipfile.BadZipFile) as error:
        raise DatasetError(f"{file}: not a file of ages: {error}") from error


def _from_csv(file: Path) -> tuple[tuple[str, ...], FloatArray]:
    names: list[str] = []
    ages: list[float] = []
    with open(file, newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        if not {"name", "age"} <= {*(rows.fieldnames or ())}:
            raise ValueError("a header with the columns name and age expected")
        for row in rows:
            try:
                age = float(row["age"] or "nan")
            except ValueError:
                raise ValueError(f"line {rows.line_num}: age {row['age']!r} is not a number") from None
            if not row["name"] or np.isinf(age):
                raise ValueError(f"line {rows.line_num}: a name and a finite age, or none, expected")
            names.append(text_of(row["name"]))
            ages.append(age)
    if not names:
        raise ValueError("there is no row")
    return tuple(names), np.array(ages)


def _from_npz(file: Path) -> tuple[tuple[str, ...], FloatArray]:
    arrays = read_npz(file, ("names", "ages"))
    names, ages = arrays["names"], arrays["ages"]
    if names.ndim != 1 or names.dtype.kind != "U":
        raise ValueError(f"names: an array of text expected, got {names.dtype} of {names.shape}")
    if ages.ndim != 1 or not len(ages) or ages.dtype.kind not in "fiu":
        raise ValueError(f"ages: (N,) numbers expected, got {ages.dtype} of {ages.shape}")
    return tuple(names.tolist()), ages.astype(np.float64)
