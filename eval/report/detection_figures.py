"""The curves as pictures, several detectors in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eval.detection.fddb import FALSE_POSITIVES, FddbResult
from eval.detection.landmarks import FAILURE, LandmarkResult
from eval.detection.points68 import PointsResult
from eval.detection.precision_recall import DetectionResult
from eval.detection.test_sets import SetFigures
from eval.detection.wider import LEVELS, WiderResult

__all__ = ["draw_detection", "draw_fddb", "draw_landmarks", "draw_points", "draw_wider", "figure", "save", "set_panel"]

# Colours that people with colour-blindness can tell apart (B. Wong, Nature Methods 8, 441, 2011), and lines for print.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
LINES = ("-", "--", "-.", ":")

ERRORS = np.linspace(0, 2 * FAILURE, 401)
"""The errors at which cumulative curves are drawn and written."""

NEARLY_ALL, ZOOM = 0.95, 0.9

PANEL_INCHES = (5.2, 4.4)
DOTS_PER_INCH = 110


def draw_fddb(file: Path, results: Mapping[str, FddbResult], note: str) -> None:
    """Draw discrete and continuous true positive rates against false positives."""
    chart, panels = figure(2, f"FDDB, {note}")
    weakest = min(result.rate_at(FALSE_POSITIVES[0], continuous=True) for result in results.values())
    lowest = 0.5 if weakest > 0.55 else 0.0
    for at, (kind, panel) in enumerate(zip(("discrete", "continuous"), panels, strict=True)):
        for k, (name, result) in enumerate(results.items()):
            rates = result.continuous if at else result.discrete
            label = f"{name}: {result.rate_at(1000, continuous=bool(at)):.3f} at 1,000"
            counts = result.false_positives
            if len(counts) and counts[-1] < max(FALSE_POSITIVES):  # more false positives would cost nothing
                counts, rates = np.append(counts, max(FALSE_POSITIVES)), np.append(rates, rates[-1])
            panel.plot(counts, rates, label=label, **style(k))
        finish(panel, f"{kind} score", "false positives", "true positive rate")
        panel.set_xlim(0, max(FALSE_POSITIVES))
        panel.set_ylim(lowest, 1)
    save(chart, file)


def draw_wider(file: Path, results: Mapping[str, WiderResult], note: str) -> None:
    """Draw precision against recall on the easy, medium and hard faces."""
    chart, panels = figure(3, f"WIDER FACE validation, {note}")
    for level, panel in zip(LEVELS, panels, strict=True):
        for k, (name, result) in enumerate(results.items()):
            curve = result.levels()[level]
            panel.plot(curve.recall, curve.precision, label=f"{name}: AP {number(curve.ap)}", **style(k))
        finish(panel, f"{level}", "recall", "precision", legend="lower left")
        unit_square(panel)
    save(chart, file)


def draw_detection(file: Path, results: Mapping[str, DetectionResult], note: str) -> None:
    """Draw precision against recall, and recall against false positives per photo."""
    chart, (left, right) = figure(2, note)
    for k, (name, result) in enumerate(results.items()):
        detection_curves(left, right, name, result, k)
    finish(left, "overlap 0.5", "recall", "precision", legend="lower left")
    unit_square(left)
    finish(right, "overlap 0.5", "false positives per photo", "recall")
    right.set_xscale("symlog", linthresh=0.01)
    right.set_xlim(0, 10)
    right.set_xticks([0, 0.01, 0.1, 1, 10], ["0", "0.01", "0.1", "1", "10"])
    right.set_ylim(0, 1.01)
    save(chart, file)


def detection_curves(left: Any, right: Any | None, name: str, result: DetectionResult, k: int) -> None:
    """Add a detector's curves to a panel of precision and, unless None, one of false positives per photo."""
    curve = result.curve
    left.plot(curve.recall, curve.precision, label=f"{name}: AP {number(curve.ap)}", **style(k))
    if right is not None:
        final = number(curve.final_recall)
        right.plot(curve.false_positives / result.photos, curve.recall, label=f"{name}: {final} in all", **style(k))


def set_panel(panel: Any, title: str, results: Mapping[str, SetFigures]) -> None:
    """Draw the curve of one set for several detectors: precision and recall, or cumulative landmark error."""
    for k, (name, result) in enumerate(results.items()):
        if result.detection is not None:
            detection_curves(panel, None, name, result.detection, k)
        elif result.landmarks is not None:
            cumulative_curve(panel, name, result.landmarks, k)
    if any(result.landmarks is not None for result in results.values()):
        finish(panel, title, "mean landmark error over the inter-ocular distance", "share of all faces")
        panel.set_xlim(0, 2 * FAILURE)
        panel.set_ylim(0, 1.01)
    else:
        finish(panel, title, "recall", "precision", legend="lower left")
        unit_square(panel)
        reached = [result.detection.curve.final_recall or 0.0 for result in results.values() if result.detection]
        if min(reached, default=0.0) > NEARLY_ALL:  # else the curves would be lost in a corner
            panel.set_xlim(ZOOM, 1.002)
            panel.set_ylim(ZOOM, 1.002)


def draw_landmarks(file: Path, results: Mapping[str, LandmarkResult], note: str) -> None:
    """Draw the share of all faces with at most some mean error, over either measure."""
    chart, panels = figure(2, note)
    for at, panel in enumerate(panels):
        for k, (name, result) in enumerate(results.items()):
            cumulative_curve(panel, name, result, k, box=bool(at))
        measure = "size of the box, √(width · height)" if at else "inter-ocular distance"
        finish(panel, "cumulative error", f"mean error over the {measure}", "share of all faces")
        panel.set_xlim(0, FAILURE if at else 2 * FAILURE)
        panel.set_ylim(0, 1.01)
    save(chart, file)


def draw_points(file: Path, results: Mapping[str, PointsResult], note: str) -> None:
    """Draw the share of all faces with at most some mean error of their 68 points."""
    chart, (panel,) = figure(1, note)
    for k, (name, result) in enumerate(results.items()):
        label = f"{name}: {number(result.nme)}, found {int(result.found.sum()):,} of {len(result.errors):,}"
        panel.plot(ERRORS, result.cumulative(ERRORS), label=label, **style(k))
    finish(panel, "cumulative error", "mean error over the distance of the eyes' outer corners", "share of all faces")
    panel.set_xlim(0, FAILURE)
    panel.set_ylim(0, 1.01)
    save(chart, file)


def cumulative_curve(panel: Any, name: str, result: LandmarkResult, k: int, *, box: bool = False) -> None:
    """Add one detector's cumulative error to a panel."""
    mean = number(result.error_box if box else result.error_interocular)
    label = f"{name}: {mean}, found {result.matched:,} of {result.faces:,}"
    panel.plot(ERRORS, result.cumulative(ERRORS, box=box), label=label, **style(k))


def figure(panels: int, title: str) -> tuple[Figure, Sequence[Any]]:
    """Return an empty figure and its panels in a row."""
    chart = Figure(figsize=(PANEL_INCHES[0] * panels, PANEL_INCHES[1]), layout="constrained")
    FigureCanvasAgg(chart)
    chart.suptitle(title, fontsize=11)
    return chart, list(chart.subplots(1, panels, squeeze=False)[0])


def style(k: int) -> dict[str, Any]:
    """Return colour and line of the k-th detector."""
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": LINES[k % len(LINES)], "linewidth": 1.8}


def finish(panel: Any, title: str, x: str, y: str, legend: str = "lower right") -> None:
    """Label a panel."""
    panel.set_title(title, fontsize=10)
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    panel.grid(True, color="#dddddd", linewidth=0.7)
    panel.legend(loc=legend, fontsize=8, framealpha=0.9)


def unit_square(panel: Any) -> None:
    """Show 0 to 1 on both axes."""
    panel.set_xlim(0, 1.01)
    panel.set_ylim(0, 1.01)


def number(value: float | None) -> str:
    """Return a figure with three digits behind the point, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def save(chart: Figure, file: Path) -> None:
    """Write the figure as PNG."""
    chart.savefig(file, dpi=DOTS_PER_INCH, metadata={"Software": None})
