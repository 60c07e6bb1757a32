"""The curves of face recognition as pictures: ROC, CMC, and bars of false accepts by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from eval.recognition.clustering import Grouping
from eval.recognition.false_accepts import FalseAccepts
from eval.recognition.similarity import FloatArray
from eval.recognition.verification import FARS, Roc
from eval.report import detection_figures as figures

__all__ = ["draw_cmc", "draw_false_accepts", "draw_groupings", "draw_roc", "roc_label"]

LOWEST_FAR = 1e-5
HIGHEST_CMC, TAIL = 0.9, 0.05
LEGEND_ROW = 0.07
BAR_INCHES, LEAST_INCHES = 0.24, 4.4
FEW_POINTS = 5  # of a method with no curve


def draw_roc(file: Path, panels: Mapping[str, Mapping[str, Roc]], title: str) -> None:
    """Draw the true accept rate over the false accept rate, a panel for each group of curves with their labels.

    Curves are steps, as nothing is interpolated. The left edge stands for no false accept at all.
    """
    chart, places = figures.figure(len(panels), title)
    for place, (heading, curves) in zip(places, panels.items(), strict=True):
        lowest = max(LOWEST_FAR, 0.5 / max(curve.impostors for curve in curves.values()))
        for k, (label, curve) in enumerate(curves.items()):
            kept = curve.corners()
            # At no false accept at all there is no logarithm: that stretch is drawn up to the left edge.
            far = np.maximum(curve.far[kept], lowest)
            place.plot(far, curve.tar[kept], label=label, drawstyle="steps-post", **figures.style(k))
        place.set_xscale("log")
        place.set_xlim(lowest, 1)
        strictest = min(curve.tar_at(lowest) for curve in curves.values())
        if strictest > figures.NEARLY_ALL:  # else the curves would be lost at the top
            place.set_ylim(figures.ZOOM, 1.002)
            legend = "lower right"
        else:
            place.set_ylim(0, 1.05 + LEGEND_ROW * len(curves))  # room for the legend above all curves
            place.set_yticks(np.linspace(0, 1, 6))
            legend = "upper left"
        figures.finish(place, heading, "false accept rate", "true accept rate", legend=legend)
    figures.save(chart, file)


def roc_label(name: str, curve: Roc) -> str:
    """Return a curve's label: its name, equal error rate and true accept rate at 1e-3."""
    return f"{name}: EER {curve.eer:.3f}, {curve.tar_at(FARS['1e-3']):.3f} at 1e-3"


def draw_cmc(
    file: Path, curves: Mapping[str, FloatArray], gaps: Mapping[str, Mapping[str, float | None]], title: str
) -> None:
    """Draw the share of searches that find the right person within each rank; and rates by age gap, if any.

    curves  label → shares within rank 1, 2, …
    gaps    label → band of years → rate; empty for no second panel
    """
    chart, places = figures.figure(2 if gaps else 1, title)
    for k, (label, shares) in enumerate(curves.items()):
        ranks = np.arange(1, len(shares) + 1)
        places[0].plot(ranks, shares, marker="o", markersize=3.5, label=label, **figures.style(k))
    figures.finish(places[0], "cumulative match characteristic", "rank", "share of searches")
    worst = min(float(shares[0]) for shares in curves.values())
    places[0].set_ylim(max(0.0, worst - TAIL) if worst > HIGHEST_CMC else 0.0, 1.01)
    places[0].set_xlim(0.5, max(len(shares) for shares in curves.values()) + 0.5)
    places[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    if gaps:
        _bars(places[1], gaps)
    figures.save(chart, file)


def _bars(place: Any, gaps: Mapping[str, Mapping[str, float | None]]) -> None:
    """Draw groups of bars, a group for each band, with the values above them."""
    width = 0.8 / len(gaps)
    bands = list(next(iter(gaps.values())))
    for k, (label, rates) in enumerate(gaps.items()):
        heights = [rates[band] for band in bands]
        places = np.arange(len(bands)) + (k - (len(gaps) - 1) / 2) * width
        drawn = place.bar(places, [each or 0.0 for each in heights], width, label=label, color=figures.COLOURS[k])
        texts = ["–" if each is None else f"{each:.2f}" for each in heights]
        place.bar_label(drawn, texts, fontsize=7, padding=1)
    figures.finish(place, "by age gap", "years between the photos", "rate", legend="upper right")
    place.set_xticks(np.arange(len(bands)), bands)
    place.set_ylim(0, 1.2)
    place.set_yticks(np.linspace(0, 1, 6))
    place.set_axisbelow(True)


def draw_false_accepts(file: Path, found: Mapping[str, Mapping[str, FalseAccepts]], title: str) -> None:
    """Draw the share of accepted pairs of each group with its interval, over that of all pairs as a line.

    found  kind → group → figures; the first kind holds all pairs, the last one combinations, in their own panel
    """
    overall = next(iter(next(iter(found.values())).values()))
    kinds = list(found.items())
    panels = [("by group", dict(kinds[:-1])), ("by combination of groups", dict(kinds[-1:]))]
    panels = [(heading, groups) for heading, groups in panels if any(groups.values())]
    chart, places = figures.figure(len(panels), title)
    longest = max(sum(map(len, groups.values())) for _, groups in panels)
    chart.set_figheight(max(LEAST_INCHES, 1.2 + BAR_INCHES * longest))
    for place, (heading, groups) in zip(places, panels, strict=True):
        _rates(place, groups, overall)
        figures.finish(place, heading, "share of pairs accepted", "", legend="lower right")
        place.grid(False, axis="y")
        place.set_axisbelow(True)
        place.xaxis.set_major_locator(MaxNLocator(5))
    figures.save(chart, file)


def _rates(place: Any, kinds: Mapping[str, Mapping[str, FalseAccepts]], overall: FalseAccepts) -> None:
    """Draw a bar for each group, from the top down, in a colour for each kind."""
    at, labels = 0, []
    for k, groups in enumerate(kinds.values()):
        for name, each in groups.items():
            rate = each.rate or 0.0
            low, high = each.interval or (rate, rate)
            place.barh(at, rate, 0.7, color=figures.COLOURS[(k + 5) % 6])
            place.errorbar(rate, at, xerr=[[max(rate - low, 0)], [max(high - rate, 0)]], ecolor="black", capsize=2)
            text = "–" if each.rate is None else f" {rate:#.2g}"
            place.annotate(text, (max(high, rate), at), xytext=(3, 0), textcoords="offset points", va="center", size=7)
            labels.append(f"{name} ({each.photos:,})")
            at += 1
    place.axvline(overall.rate or 0.0, color="black", linestyle="--", linewidth=1, label="all pairs")
    place.set_yticks(range(at), labels, fontsize=7.5)
    place.set_ylim(at + 1.2, -0.6)  # room for the legend below the bars
    place.set_xlim(0, 1.18 * place.get_xlim()[1])


def draw_groupings(file: Path, ours: Grouping, swept: Sequence[Grouping], title: str) -> None:
    """Draw B-cubed and pairwise precision over recall of ways of grouping at all their settings, and ours as a star."""
    chart, places = figures.figure(2, title)
    methods = dict.fromkeys(each.method for each in swept)
    for place, (heading, measure) in zip(places, (("B-cubed", "b_cubed"), ("pairs of faces", "pairs")), strict=True):
        for k, method in enumerate(methods):
            points = [getattr(each, measure) for each in swept if each.method == method]
            best = max(each.f for each in points)
            line = figures.style(k) | ({"linestyle": "none", "marker": "s"} if len(points) < FEW_POINTS else {})
            recall, precision = [each.recall for each in points], [each.precision for each in points]
            place.plot(recall, precision, label=f"{method}: F {best:.3f}", **line)
        one = getattr(ours, measure)
        label = f"{ours.method} at {ours.setting:.3f}: F {one.f:.3f}"
        place.plot(one.recall, one.precision, "*", color="black", markersize=12, label=label)
        figures.finish(place, heading, "recall", "precision", legend="lower left")
        figures.unit_square(place)
    figures.save(chart, file)
