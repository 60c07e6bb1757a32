"""Curves of a recognition run as a picture."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from train.recognition.losses import LOSSES

MEASURES = {"teacher_cosine": "cosine to the teacher", "eer": "equal error rate", "age_mae": "age error (years)"}


def plot_recognition(metrics: Path, out: Path) -> None:
    """Draws the parts of the loss, and what was measured on the faces held out, over the steps, to a PNG."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    checked = [row for row in rows if row.get("validation")]
    parts = [name for name in LOSSES if any(row[name] for row in rows)]
    measures = [name for name in MEASURES if any(name in row["validation"] for row in checked)]
    columns = max(len(parts), len(measures), 1)
    figure, axes = plt.subplots(2, columns, figsize=(3.6 * columns, 6.4), constrained_layout=True, squeeze=False)
    for axis, name in zip(axes[0], parts, strict=False):
        axis.plot([row["step"] for row in rows], [row[name] for row in rows])
        axis.set(title=f"{name} loss", xlabel="step", yscale="log")
    for axis, name in zip(axes[1], measures, strict=False):
        axis.plot([row["step"] for row in checked], [row["validation"][name] for row in checked], "o-")
        axis.set(title=MEASURES[name], xlabel="step")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.set_visible(axis.has_data())
    figure.savefig(out, dpi=110)
    plt.close(figure)
