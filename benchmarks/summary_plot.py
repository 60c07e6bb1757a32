"""The chart of README: accuracy over time of each detector. Needs matplotlib: pip install "cascade-faces[eval]"."""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from eval.report.detection_figures import COLOURS, save

__all__ = ["draw", "read"]

COLUMNS = ("ap", "median_ms")


def read(file: Path) -> dict[str, tuple[float, float]]:
    """AP and milliseconds of each detector. Raises ValueError for a file without the columns, OSError."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    try:
        found = {row["detector"]: (float(row["ap"]), float(row["median_ms"])) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: expected the columns detector, {', '.join(COLUMNS)} ({error})") from error
    if not found:
        raise ValueError(f"{file}: holds no detector")
    return found


def draw(file: Path, figures: dict[str, tuple[float, float]]) -> None:
    """Writes a PNG: AP upwards, milliseconds to the right."""
    chart = Figure(figsize=(6.4, 3.4), layout="constrained")
    FigureCanvasAgg(chart)
    panel = chart.subplots()
    for (name, (ap, milliseconds)), colour in zip(figures.items(), COLOURS, strict=False):
        panel.plot(milliseconds, ap, "o", ms=11, color=colour)
        panel.annotate(
            f"{name}\n{milliseconds:g} ms, AP {ap:.3f}",
            (milliseconds, ap),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    panel.set_xscale("log")
    panel.set_xlim(min(ms for _, ms in figures.values()) / 1.6, max(ms for _, ms in figures.values()) * 8)
    panel.set_ylim(min(ap for ap, _ in figures.values()) - 0.04, max(ap for ap, _ in figures.values()) + 0.04)
    panel.set_xlabel("milliseconds for a photo, two threads (to the left is better)")
    panel.set_ylabel("AP (upwards is better)")
    panel.set_title("180 photos of WIDER FACE validation, faces from 12 pixels on", fontsize=10)
    panel.grid(True, color="#dddddd", linewidth=0.7)
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    save(chart, file)
