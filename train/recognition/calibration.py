"""What a recogniser's similarities mean as probabilities, fitted to people held out of training.

    python -m train calibration --data DATA --weights FILE --out runs/calibration

The curves go into the weight file, where `cascade.Recognizer.verify` reads them. Pairs of one person come from sets
that name people, pairs of two from these and from crops of people of all ages.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade.calibration import AgeCurve, Calibration, fit_curve
from cascade.models.recognizer import restate_recognizer
from cascade.recognize import Recognizer
from train.recognition.cards import restate_card
from train.recognition.held_out import NAMED, NAMELESS, HeldOutFaces, held_out_faces
from train.recognition.measures import operating_point

CHILD = 15.0
"""Apparent age in years up to which both faces count as children: estimates for children are some years too high."""

BINS = 10

RATES = (1e-2, 1e-3, 1e-4)
"""False accept rates that thresholds are given for."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs to fit to: cosines (p,), whether of one person (p,), whether of two children (p,), and their weights (p,).

    fold  (p,) 0 or 1 where both persons are in that half of the people, -1 for pairs across
    """

    cosines: Floats
    same: NDArray[np.bool_]
    children: NDArray[np.bool_]
    weights: Floats
    fold: NDArray[np.intp]

    def part(self, rows: NDArray[np.bool_]) -> Pairs:
        """Those of the pairs."""
        return Pairs(self.cosines[rows], self.same[rows], self.children[rows], self.weights[rows], self.fold[rows])


def all_pairs(sets: Sequence[HeldOutFaces]) -> Pairs:
    """All pairs within each set; of each kind every set counts alike, however many it has."""
    parts: list[Pairs] = []
    for faces in sets:
        first, second = np.triu_indices(len(faces.persons), 1)
        same = faces.persons[first] == faces.persons[second]
        weights = np.where(same, 1 / max(1, int(same.sum())), 1 / max(1, int((~same).sum())))
        children = np.maximum(faces.ages[first], faces.ages[second]) <= CHILD
        halves = faces.persons % 2
        fold = np.where(halves[first] == halves[second], halves[first], -1)
        cosines = (faces.embeddings @ faces.embeddings.T)[first, second].astype(np.float64)
        parts.append(Pairs(cosines, same, children, weights, fold))
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in Pairs.__dataclass_fields__))


def fit(pairs: Pairs, measured_on: str) -> Calibration:
    """The curves for children, if there are pairs of them, and for everybody.

    No set names children, so theirs has the pairs of one person of everybody: it says how much more alike two children
    are, not how much a child changes.
    """
    everybody = AgeCurve(math.inf, *fit_curve(pairs.cosines, pairs.same, pairs.weights))
    if not (pairs.children & ~pairs.same).any():
        return Calibration((everybody,), measured_on)
    young = pairs.part(pairs.same | pairs.children)
    children = AgeCurve(CHILD, *fit_curve(young.cosines, young.same, young.weights))
    return Calibration((children, everybody), measured_on)


def reliability(pairs: Pairs) -> list[tuple[float, float, int]]:
    """Stated probability, observed share of one person and number of pairs, by tenths of the probability.

    Curves are fitted to one half of the people and read off for the other half. Both kinds of pair count half.
    """
    stated = np.full(len(pairs.same), np.nan)
    for half in (0, 1):
        curves = fit(pairs.part(pairs.fold == half), "").curves
        young, everybody = curves[0], curves[-1]
        slopes = np.where(pairs.children, young.slope, everybody.slope)
        offsets = np.where(pairs.children, young.offset, everybody.offset)
        other = pairs.fold == 1 - half
        stated[other] = 1 / (1 + np.exp(-(slopes * pairs.cosines + offsets)[other]))
    rows = []
    share = np.where(pairs.same, pairs.weights, 0), np.where(pairs.same, 0, pairs.weights)
    tested = np.isfinite(stated)
    one, two = (each / each[tested].sum() for each in share)
    for low in np.arange(BINS) / BINS:
        rows_in = tested & (stated >= low) & ((stated < low + 1 / BINS) | (low + 1 / BINS >= 1))
        total = (one + two)[rows_in].sum()
        if total > 0:
            mean = float(((one + two) * np.nan_to_num(stated))[rows_in].sum() / total)
            rows.append((mean, float(one[rows_in].sum() / total), int(rows_in.sum())))
    return rows


def thresholds(sets: Sequence[HeldOutFaces]) -> list[dict[str, float]]:
    """The operating point at each of `RATES` that there are pairs enough for, over all pairs of faces.

    Two sets show no person twice.
    """
    persons, before = [], 0
    for faces in sets:
        persons.append(faces.persons + before)
        before += len(np.unique(faces.persons))
    embeddings, people = np.concatenate([faces.embeddings for faces in sets]), np.concatenate(persons).astype(np.int32)
    points = (operating_point(embeddings, people, rate) for rate in RATES)
    return [point for point in points if point]


def calibrate(data: Path, weights: Path, out: Path, threads: int | None = None) -> Calibration:
    """Fits the curves, writes them into the weight file and the card beside it, and draws how reliable they are.

    Beside the drawing `thresholds.csv` has thresholds for several false accept rates.

    A file that ships with the package then needs its new hash in SHA256SUMS.
    """
    sets = held_out_faces(data, (*NAMED, NAMELESS), Recognizer(weights, threads))
    pairs = all_pairs(sets)
    named = sum(len(np.unique(faces.persons)) for faces in sets[:-1])
    measured_on = (
        f"{int(pairs.same.sum()):,} pairs of one person of {named} people and {int((~pairs.same).sum()):,} pairs of two"
    )
    found = fit(pairs, measured_on)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "thresholds.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, ("false_accept_rate", "threshold", "true_accept_rate"), extrasaction="ignore")
        table.writeheader()
        table.writerows(thresholds(sets))
    draw_reliability(out / "calibration.png", reliability(pairs), "people held out of training, fitted to the others")
    sha256 = restate_recognizer(weights, {"calibration": found.to_dict()})
    half = [f"{-curve.offset / curve.slope:.2f}" for curve in found.curves]
    fact = f"cosine of probability one half {half[-1]}, of two children {half[0]}; fitted to {measured_on}"
    restate_card(weights, {"Probability": fact}, sha256)
    return found


def draw_reliability(file: Path, rows: Sequence[tuple[float, float, int]], title: str) -> None:
    """Draws observed shares over stated probabilities; the area of a point grows with its pairs."""
    from matplotlib.figure import Figure

    chart = Figure(figsize=(4.6, 4.4), layout="constrained")
    place = chart.subplots()
    stated, observed, counts = (np.array(each) for each in zip(*rows, strict=True))
    place.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    place.plot(stated, observed, color="C0", linewidth=1)
    place.scatter(stated, observed, s=12 + 12 * np.log10(counts), color="C0")
    place.set(xlabel="stated probability of one person", ylabel="observed share", xlim=(0, 1), ylim=(0, 1))
    place.set_title(title, fontsize=9)
    place.grid(alpha=0.3)
    chart.savefig(file, dpi=110)
