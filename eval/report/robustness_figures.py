"""Shares of faces still found as a heat map: conditions below each other, detectors side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eval.detection.robustness import CONDITIONS, Tally
from eval.report.detection_figures import save

__all__ = ["draw_shares"]

ROW_INCHES, COLUMN_INCHES = 0.27, 1.25
MARGIN_INCHES = (2.6, 1.5)
"""Room for the names of the conditions, and for title and names of detectors."""

COLOURS = "cividis"
DARK = 0.5
"""Share below which the colour is so dark that numbers on it are white."""

LETTERS = 14
"""Width of a detector's name."""


def draw_shares(file: Path, tallies: Mapping[str, Mapping[str, Tally]], title: str) -> None:
    """Draw the tallies, by condition and detector, in per cent; a line parts the groups of conditions."""
    conditions = [condition for condition in CONDITIONS if condition.name in tallies]
    detectors = list(tallies[conditions[0].name])
    shares = np.array([[tallies[each.name][name].share for name in detectors] for each in conditions])
    size = (MARGIN_INCHES[0] + COLUMN_INCHES * len(detectors), MARGIN_INCHES[1] + ROW_INCHES * len(conditions))
    chart = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(chart)
    chart.suptitle(fill(f"Faces still found, in %. {title}", int(11 * size[0])), fontsize=9)
    panel = chart.subplots()
    panel.imshow(shares, vmin=0, vmax=1, cmap=COLOURS, aspect="auto")
    panel.xaxis.tick_top()
    panel.set_xticks(range(len(detectors)), [fill(name, LETTERS) for name in detectors], fontsize=9)
    panel.set_yticks(range(len(conditions)), [each.name for each in conditions], fontsize=9)
    panel.tick_params(length=0)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share < DARK else "black"
        text = "–" if np.isnan(share) else f"{100 * share:.0f}"
        panel.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    for row in range(1, len(conditions)):
        if conditions[row].group != conditions[row - 1].group:
            panel.axhline(row - 0.5, color="white", linewidth=3)
    save(chart, file)
