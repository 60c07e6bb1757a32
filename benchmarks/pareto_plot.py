"""AP over milliseconds as a picture. Needs matplotlib: pip install -e . --group eval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from benchmarks.pareto import Result, front
from eval.report.detection_figures import COLOURS, finish, save

__all__ = ["draw"]

MARKERS = "osD^vPX"

# Where a label may stand beside its point, in points, the best place first: above and to the left of the front nothing
# of ours lies. Farther ones get a line to their point, a steep one if it can be, which crosses no label beside another.
NEAR, DISTANCES = 5, (11, 16, 22, 29, 37, 48)
PLACES = (
    *((NEAR * right, NEAR * up) for right, up in ((-1, 1), (-1, 0), (1, -1), (1, 1), (1, 0))),
    *((-0.3 * distance, distance) for distance in DISTANCES),
    *((right * distance, up * distance) for distance in DISTANCES for right, up in ((1, -1), (-1, 1), (1, 1))),
)
CLEARANCE = 3.0
"""Pixels that a label keeps from points and other labels."""


def draw(file: Path, results: Sequence[Result], title: str, x: str, y: str) -> None:
    """Write a PNG: our settings by set of weights, the front through the best of them, and the baselines.

    ``x`` and ``y`` say what the axes are.
    """
    chart = Figure(figsize=(9.0, 6.0), layout="constrained")
    canvas = FigureCanvasAgg(chart)
    panel = chart.subplots()
    mine = [result for result in results if result.setting is not None]
    theirs = [result for result in results if result.setting is None]
    best = front(results)
    panel.set_xscale("log")
    panel.margins(x=0.11, y=0.08)
    _front_line(panel, best)
    _settings(panel, mine)
    if theirs:
        panel.plot(*_places(theirs), label="baselines at their own settings", marker="*", color="black", ms=11, ls="")
    finish(panel, title, x, y, legend="lower right")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    _label(canvas, panel, [*theirs, *best], results)
    save(chart, file)


def _places(results: Sequence[Result]) -> tuple[list[float], list[float]]:
    """Milliseconds and AP."""
    return [result.timing.median for result in results], [result.ap for result in results]


def _settings(panel: Any, mine: Sequence[Result]) -> None:
    """A point for every setting, a colour and marker for every set of weights, and rings around the defaults."""
    for k, label in enumerate(dict.fromkeys(result.name for result in mine)):
        style = {"color": COLOURS[k % len(COLOURS)], "markersize": 6, "markeredgecolor": "white", "linestyle": ""}
        some = [result for result in mine if result.name == label]
        panel.plot(*_places(some), label=f"weights {label}", marker=MARKERS[k % len(MARKERS)], **style)
    defaults = [result for result in mine if result.setting is not None and result.setting.default]
    if defaults:
        ring = {"marker": "o", "markersize": 13, "markerfacecolor": "none", "color": "black", "linestyle": ""}
        panel.plot(*_places(defaults), label="default scale_factor and thresholds", **ring)


def _front_line(panel: Any, best: Sequence[Result]) -> None:
    """The best AP of ours in no more than so many milliseconds, which goes up in steps."""
    style = {"color": "#777777", "linewidth": 1.3, "zorder": 1, "drawstyle": "steps-post"}
    panel.plot(*_places(best), label="Pareto front: scale_factor, thresholds of P-Net/R-Net", **style)


def _text(result: Result) -> str:
    """What a point is called: baselines by name, ours by what is varied, as the colour tells the weights."""
    setting = result.setting
    return f"{setting.scale_factor:g}, {setting.thresholds_text(2)}" if setting else result.name


def _label(canvas: Any, panel: Any, wanted: Sequence[Result], results: Sequence[Result]) -> None:
    """Write beside each point where neither a point nor another label is; one without such a place gets none."""
    canvas.figure.draw_without_rendering()  # the layout must be known before anything has a place in pixels
    taken = [Bbox([place - 4, place + 4]) for place in panel.transData.transform(np.transpose(_places(results)))]
    taken.append(panel.get_legend().get_window_extent())
    inside = panel.get_window_extent().padded(-2 * CLEARANCE)
    for result in wanted:
        for place in PLACES:
            text = _beside(panel, result, *place)
            text.update_positions(canvas.get_renderer())
            box = Text.get_window_extent(text)  # that of an Annotation has the line in it, too
            if inside.contains(*box.min) and inside.contains(*box.max) and not box.count_overlaps(taken):
                taken.append(box.padded(CLEARANCE))
                break
            text.remove()


def _beside(panel: Any, result: Result, x: float, y: float) -> Annotation:
    """Write what a point is called, ``x`` and ``y`` points from it."""
    line = {"arrowstyle": "-", "color": "#aaaaaa", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
    found: Annotation = panel.annotate(
        _text(result),
        (result.timing.median, result.ap),
        xytext=(x, y),
        textcoords="offset points",
        ha="left" if x > 0 else "right",
        va="bottom" if y > 0 else "top" if y < 0 else "center",
        fontsize=7 if result.setting else 9,
        arrowprops=line if max(abs(x), abs(y)) > NEAR else None,
    )
    return found
