"""Loss curves of a training run as a picture."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# What a row of metrics has beside the losses of the heads.
NO_HEADS = ("total", "step", "rate", "seconds", "validation")


def plot_losses(metrics: Path, out: Path) -> None:
    """Draws the losses of metrics.jsonl, training as lines and validation as points, to a PNG.

    A head that no sample has a label for (L-Net learns landmarks alone) gets no panel. The loss against a teacher is
    known in training alone.
    """
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    names = [name for name in rows[0] if name not in NO_HEADS] if rows else []
    tasks = [name for name in names if any(row[name] for row in rows)]
    panels = max(1, len(tasks))
    figure, axes = plt.subplots(1, panels, figsize=(4 * panels, 3.6), constrained_layout=True, squeeze=False)
    checked = [row for row in rows if row.get("validation")]
    for axis, name in zip(axes[0], tasks, strict=False):
        label = "training (mined)" if name == "face" else "training"
        axis.plot([r["step"] for r in rows], [r[name] for r in rows], label=label)
        if points := [(r["step"], r["validation"][name]) for r in checked if name in r["validation"]]:
            axis.plot(*zip(*points, strict=True), ".", label="validation")
        axis.set(title=f"{name} loss", xlabel="step", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(out, dpi=110)
    plt.close(figure)
