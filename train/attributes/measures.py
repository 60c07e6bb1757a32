"""How well a model does on the faces held out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from train.attributes.batches import LabelledFaces
from train.attributes.losses import beyond, expected
from train.attributes.store import UNKNOWN
from train.attributes.tasks import LabelTable, Task

QUARTER = 0.25  # of an ordinal task's range: a mean error that scores 0


@torch.no_grad()
def outputs(
    model: nn.Module, faces: LabelledFaces, rows: NDArray[np.int64], batch: int = 256
) -> dict[str, torch.Tensor]:
    """The outputs (n, …) of each task for rows, as they are."""
    model.eval()
    device = next(model.parameters()).device
    found: dict[str, list[torch.Tensor]] = {task.name: [] for task in faces.tasks}
    for first in range(0, len(rows), batch):
        part = rows[first : first + batch]
        inputs = faces.inputs(part, np.zeros(len(part), np.int64)).to(device)
        for name, logits in model(inputs).items():
            found[name].append(logits.float().cpu())
    return {name: torch.cat(parts) if parts else torch.empty(0) for name, parts in found.items()}


def measure(model: nn.Module, faces: LabelledFaces, rows: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy of classifications, mean absolute error of numbers, and ``score``, the mean over the tasks, 0 to 1.

    A label of several classes is met by any of them, and a range by any number in it.
    """
    answers = outputs(model, faces, rows)
    found: dict[str, float] = {}
    scores = []
    for at, (task, table) in enumerate(zip(faces.tasks, faces.tables, strict=True)):
        labels = faces.labels[rows, at]
        known = np.flatnonzero(labels != UNKNOWN)
        if not len(known):
            continue
        name, value, score = task_measure(task, table, answers[task.name][known], torch.from_numpy(labels[known]))
        found[f"{task.name}_{name}"] = value
        scores.append(score)
    return {**found, "score": float(np.mean(scores)) if scores else 0.0}


def task_measure(
    task: Task, table: LabelTable, answers: torch.Tensor, labels: torch.Tensor
) -> tuple[str, float, float]:
    """The name and value of a task's measure, and its score."""
    if task.kind == "classification":
        allowed = torch.from_numpy(table.allowed)[labels]
        right = allowed.gather(1, answers.argmax(1, keepdim=True)) > 0.5
        return "accuracy", float(right.float().mean()), float(right.float().mean())
    error = float(beyond(expected(answers, task), torch.from_numpy(table.limits)[labels]).mean())
    return "mae", error, max(0.0, 1 - error / (QUARTER * (task.high - task.low)))


def same_distribution(faces: LabelledFaces) -> dict[str, float]:
    """For each task with numbers the p-value of the Kolmogorov–Smirnov test that both parts are alike in them."""
    from scipy.stats import ks_2samp

    found = {}
    for at, (task, table) in enumerate(zip(faces.tasks, faces.tables, strict=True)):
        if task.kind == "classification":
            continue
        middle = table.limits.mean(axis=1)
        parts = [faces.labels[rows, at] for rows in (faces.learned, faces.measured)]
        values = [middle[part[part != UNKNOWN]] for part in parts]
        if all(map(len, values)):
            found[task.name] = float(ks_2samp(*values).pvalue)
    return found
