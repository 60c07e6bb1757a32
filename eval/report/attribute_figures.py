"""Confusion matrices and reliability diagrams as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eval.attributes.classification import ClassResult
from eval.report import detection_figures as figures

__all__ = ["draw_classes"]

PERCENT = 100
DARK_CELL = 0.5
MANY_CLASSES = 12
LONG_NAME = 6


def draw_classes(file: Path, result: ClassResult, title: str) -> None:
    """Draw the confusion matrix in percent of each true class, and a reliability diagram if confidence is known."""
    known = result.calibration_error is not None
    chart, panels = figures.figure(2 if known else 1, title)
    _confusion(panels[0], result)
    if known:
        _reliability(panels[1], result)
    figures.save(chart, file)


def _confusion(place: Any, result: ClassResult) -> None:
    matrix = result.matrix
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    place.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    count = len(result.classes)
    size = 9 if count <= MANY_CLASSES else 6
    for (true, told), share in np.ndenumerate(shares):
        color = "white" if share > DARK_CELL else "black"
        place.text(told, true, f"{PERCENT * share:.0f}", ha="center", va="center", fontsize=size, color=color)
    tilted = 45 if max(map(len, result.classes)) > LONG_NAME or count > MANY_CLASSES else 0
    place.set_xticks(range(count), result.classes, fontsize=8, rotation=tilted, ha="right" if tilted else "center")
    place.set_yticks(range(count), [f"{name} ({faces:,})" for name, faces in _faces(result)], fontsize=8)
    place.set_xlabel("answer")
    place.set_ylabel("truth (faces)")
    place.set_title(f"percent of each true class; accuracy {figures.number(result.accuracy)}", fontsize=10)


def _faces(result: ClassResult) -> list[tuple[str, int]]:
    return [(each.name, each.faces) for each in result.by_class()]


def _reliability(place: Any, result: ClassResult) -> None:
    bins = [each for each in result.calibration() if each.answers]
    places = [(each.low + each.high) / 2 for each in bins]
    width = 0.9 * (bins[0].high - bins[0].low)
    heights = [each.accuracy or 0.0 for each in bins]
    place.bar(places, heights, width, color=figures.COLOURS[5], label="accuracy")
    total = sum(each.answers for each in bins)
    shares = [each.answers / total for each in bins]
    place.plot(places, shares, "o-", color=figures.COLOURS[3], markersize=3, linewidth=1, label="share of answers")
    place.plot([0, 1], [0, 1], color=figures.COLOURS[1], linewidth=1.5, label="calibrated")
    error = f"expected calibration error {figures.number(result.calibration_error)}"
    figures.finish(place, error, "confidence", "accuracy", legend="upper left")
    figures.unit_square(place)
