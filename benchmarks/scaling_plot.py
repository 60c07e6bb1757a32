"""The scaling table as a picture. Needs matplotlib: pip install -e . --group eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.scaling import AMOUNTS, Line, Result
from eval.report.detection_figures import COLOURS, finish, save

__all__ = ["draw"]

PANELS = ("pixels", "min_face", "faces", "threads")


def draw(file: Path, results: Sequence[Result], lines: Mapping[str, Line]) -> None:
    """Write a PNG with a panel for each thing changed: medians, the runs between their quartiles, and the line."""
    chart = Figure(figsize=(10.4, 8.0), layout="constrained")
    FigureCanvasAgg(chart)
    chart.suptitle("Milliseconds of a detection, one thing changed at a time", fontsize=11)
    for changed, panel in zip(PANELS, chart.subplots(2, 2).ravel(), strict=True):
        some = sorted((r for r in results if r.point.changed == changed), key=lambda result: result.amount)
        if some:
            _panel(panel, changed, some, lines.get(changed))
    save(chart, file)


def _panel(panel: Any, changed: str, results: Sequence[Result], line: Line | None) -> None:
    amounts = np.array([result.amount for result in results])
    low, medians, high = np.percentile([result.times for result in results], [25, 50, 75], axis=1)
    spread = np.array([medians - low, high - medians])
    panel.errorbar(amounts, medians, spread, fmt="o", color=COLOURS[0], capsize=3, label="median, quartiles")
    if changed == "threads":
        steps = np.linspace(amounts[0], amounts[-1])
        panel.plot(steps, medians[0] * amounts[0] / steps, "--", color=COLOURS[1], label="if nothing were lost")
        panel.set_xticks(amounts)
        beside = [(result.amount, result.processes_median) for result in results if result.processes]
        if beside:
            panel.plot(*zip(*beside, strict=True), "x", color=COLOURS[2], label="as many processes")
    if line is not None:
        ends = np.array([0.0, amounts.max()])
        label = f"{line.intercept:.1f} + {line.slope:.2f} x, R² {line.r_squared:.4f}"
        panel.plot(ends, line.intercept + line.slope * ends, "-", color=COLOURS[1], label=label)
    for result, amount, median in zip(results, amounts, medians, strict=True):
        left = amount > amounts.mean()
        side = {"xytext": (-7, 4) if left else (7, -11), "ha": "right" if left else "left"}
        panel.annotate(_name(result), (amount, median), textcoords="offset points", fontsize=7, **side)
    finish(panel, _title(changed, results[0]), AMOUNTS.get(changed, "threads"), "ms", legend="best")
    panel.set_ylim(bottom=0)


def _name(result: Result) -> str:
    """What a point is called beside it."""
    point = result.point
    names = {"pixels": f"{point.width}×{point.height}", "min_face": f"min_face {point.min_face:g}"}
    return names.get(point.changed, "")


def _title(changed: str, first: Result) -> str:
    """What stays the same in a panel."""
    point = first.point
    same = {
        "pixels": f"min_face {point.min_face:g}, {point.faces} faces",
        "min_face": f"{point.width}×{point.height}, {point.faces} faces",
        "faces": f"{point.width}×{point.height}, min_face {point.min_face:g}",
        "threads": f"{point.width}×{point.height}, min_face {point.min_face:g}, {point.faces} faces",
    }
    return f"{changed} ({same[changed]})"
