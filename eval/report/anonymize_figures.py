"""The curve of hidden faces against what else is hidden, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.anonymize.coverage import Coverage
from eval.report.detection_figures import COLOURS, figure, save

__all__ = ["draw_coverage"]


def draw_coverage(file: Path, curve: Sequence[Coverage], chosen: float, note: str) -> None:
    """Draw recall against the share of the pixels outside faces that are hidden, with a dot at the ``chosen`` score."""
    chart, (panel,) = figure(1, note)
    outside, recall = [100 * each.outside for each in curve], [100 * each.recall for each in curve]
    panel.plot(outside, recall, color=COLOURS[0], marker=".")
    for each, x, y in zip(curve, outside, recall, strict=True):
        if each.min_score == chosen:
            label = f"from a score of {chosen:g}: {y:.1f} % of the faces, {x:.2f} % of other pixels"
            panel.plot([x], [y], "o", color=COLOURS[1], label=label)
    panel.set_xlabel("pixels outside faces that are hidden, %")
    panel.set_ylabel("faces hidden, %")
    panel.set_xlim(0, max(1.0, min(10.0, max(outside) * 1.05)))
    panel.grid(alpha=0.3)
    panel.legend(loc="lower right", fontsize=8)
    save(chart, file)
