"""Estimated ages as a picture: against the true ones, errors by age, and the cumulative score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eval.recognition.ages import WITHIN, AgeErrors, AgeResult
from eval.report import detection_figures as figures

__all__ = ["CURVE", "draw_ages"]

CURVE = range(21)
"""Years for which the cumulative score is drawn and written."""

MANY = 300
CELLS = 35
PERCENT = 100
TICKS = 5


def draw_ages(file: Path, result: AgeResult, title: str) -> None:
    """Draw estimated against true age, mean error and bias by band of age, and the cumulative score."""
    chart, (left, middle, right) = figures.figure(3, title)
    _scatter(chart, left, result)
    _bands(middle, result)
    _curve(right, result.overall)
    figures.save(chart, file)


def _scatter(chart: Any, place: Any, result: AgeResult) -> None:
    """Draw a point for each face, or the number of faces in each cell where there are many."""
    found = np.isfinite(result.estimates)
    true, estimates = result.ages[found], result.estimates[found]
    low = min(0.0, float(estimates.min()))
    high = max(float(true.max()), float(estimates.max())) + 3
    if len(true) > MANY:
        span = (low, high, low, high)
        shades = {"bins": "log", "mincnt": 1, "cmap": "Blues", "edgecolors": "#88aacc", "linewidths": 0.3}
        cells = place.hexbin(true, estimates, gridsize=CELLS, extent=span, **shades)
        chart.colorbar(cells, ax=place, label="faces", fraction=0.045)
    else:
        place.plot(true, estimates, "o", markersize=3.5, alpha=0.6, color=figures.COLOURS[0], label="faces")
    place.plot([low, high], [low, high], color=figures.COLOURS[1], linewidth=1.5, label="exact")
    figures.finish(place, "estimates", "true age in years", "estimated age in years", legend="upper left")
    place.set_axisbelow(True)
    place.set_xlim(low, high)
    place.set_ylim(low, high)


def _bands(place: Any, result: AgeResult) -> None:
    """Draw the mean absolute error of each band with its interval, and the bias."""
    bands = {name: errors for name, errors in result.groups["age"].items() if errors.mae is not None}
    places = np.arange(len(bands))
    heights = np.array([errors.mae for errors in bands.values()], np.float64)
    ends = [errors.mae_interval or (height, height) for errors, height in zip(bands.values(), heights, strict=True)]
    # The mean may lie outside the interval of few photos.
    reach = np.maximum(np.abs(np.array(ends).T - heights), 0)
    place.bar(places, heights, 0.7, color=figures.COLOURS[5], label="mean absolute error, 95 % interval")
    place.errorbar(places, heights, reach, fmt="none", ecolor="black", capsize=3, linewidth=1)
    biases = [errors.bias for errors in bands.values()]
    place.plot(places, biases, "D", color=figures.COLOURS[1], markersize=5, label="bias (estimated − true)")
    place.axhline(0, color="black", linewidth=0.8)
    figures.finish(place, "errors by age", "true age in years (faces found)", "years", legend="upper left")
    labels = [f"{name}\n({len(errors.errors):,})" for name, errors in bands.items()]
    place.set_xticks(places, labels, fontsize=8)
    low, high = place.get_ylim()
    place.set_ylim(low, high + 0.2 * (high - low))  # room for the legend
    place.set_axisbelow(True)


def _curve(place: Any, errors: AgeErrors) -> None:
    """Draw the share of faces with an error of at most so many years."""
    told = ", ".join(f"{PERCENT * (errors.within(years) or 0):.1f} % in {years}" for years in WITHIN)
    kinds = [(f"faces found: {told}", [errors.within(years) for years in CURVE])]
    if errors.missed:
        kinds.append(("all photos, missed faces too", [errors.of_all(years) for years in CURVE]))
    for k, (label, shares) in enumerate(kinds):
        place.plot(list(CURVE), shares, marker="o", markersize=3.5, label=label, **figures.style(k))
    mean = f"mean {errors.mae:.2f} years" if errors.mae is not None else ""
    figures.finish(place, f"cumulative score, {mean}", "error in years, at most", "share")
    place.set_xlim(0, CURVE[-1])
    place.set_xticks(CURVE[::TICKS])
    place.set_ylim(0, 1.01)
