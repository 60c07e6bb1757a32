"""Curves of several arms as a picture: the mean over the seeds as a line, from the least to the most shaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.report.detection_figures import COLOURS, LINES, figure, finish, save
from train.experiments.comparison import by_arm
from train.experiments.definitions import Experiment
from train.experiments.measures import FIGURES
from train.experiments.runs import Run


@dataclass(frozen=True)
class Line:
    """Values (runs, points) over ``x`` (points,)."""

    x: Sequence[float]
    values: np.ndarray


@dataclass(frozen=True)
class Panel:
    """One pair of axes and its lines by label; ``points`` shows them with markers."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Line]
    points: bool = False


def draw(file: Path, title: str, panels: Sequence[Panel]) -> None:
    """Writes the panels side by side as PNG."""
    chart, axes = figure(len(panels), title)
    for axis, panel in zip(axes, panels, strict=True):
        for number, (label, line) in enumerate(panel.lines.items()):
            colour = COLOURS[number % len(COLOURS)]
            low, high = line.values.min(axis=0), line.values.max(axis=0)
            axis.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
            marker = "o" if panel.points else None
            mean = line.values.mean(axis=0)
            axis.plot(line.x, mean, LINES[number % len(LINES)], color=colour, marker=marker, label=label)
        finish(axis, panel.title, panel.x, panel.y, legend="best")
    save(chart, file)


def curve_panel(title: str, y: str, path: tuple[str, ...], runs: Sequence[Run]) -> Panel:
    """A quantity of the metrics over the steps, a line for each arm."""
    lines = {}
    for label in dict.fromkeys(run.arm.label for run in runs):
        curves = [run.curve(path) for run in runs if run.arm.label == label]
        lines[label] = Line(curves[0][0], np.array([values for _, values in curves]))
    return Panel(title, "step", y, lines)


def sweep_panel(name: str, experiment: Experiment, runs: Sequence[Run]) -> Panel:
    """A figure at the end of training over the swept quantity."""
    values = by_arm(runs, name)
    arms = [arm for arm in experiment.arms if arm.label in values and arm.value is not None]
    seeds = np.array([list(values[arm.label].values()) for arm in arms]).T
    line = Line([arm.value for arm in arms if arm.value is not None], seeds)
    lines = {"all seeds": line} if arms else {}
    return Panel("at the end of training", experiment.swept, FIGURES[name].title, lines, points=True)


def panels_of(experiment: Experiment, runs: Sequence[Run]) -> list[Panel]:
    """The panels of an experiment on O-Net."""
    panels = [
        curve_panel(title, "squared error" if path[-1] == "box" else "cross-entropy", path, runs)
        for title, path in experiment.curves.items()
    ]
    known = [name for name in experiment.sweeps if by_arm(runs, name)]
    return panels + [sweep_panel(name, experiment, runs) for name in known]
