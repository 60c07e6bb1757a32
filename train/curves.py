"""Loss curves of a training run as a picture."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def plot_losses(metrics: Path, out: Path) -> None:
    """Draws the losses of metrics.jsonl, training as lines and validation as points, to a PNG."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    checked = [row for row in rows if row.get("validation")]
    for axis, name in zip(axes, ("face", "box", "landmark"), strict=True):
        label = "training (mined)" if name == "face" else "training"
        axis.plot([r["step"] for r in rows], [r[name] for r in rows], label=label)
        losses = [r["validation"][name] for r in checked]
        axis.plot([r["step"] for r in checked], losses, ".", label="validation")
        axis.set(title=f"{name} loss", xlabel="step", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(out, dpi=110)
    plt.close(figure)
