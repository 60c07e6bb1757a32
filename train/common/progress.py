"""How a run is doing: the bar on the terminal, metrics.jsonl, and the check that the loss is finite."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch
from tqdm import tqdm

from train.common.checkpoints import TrainingError
from train.common.files import new_file


class Progress:
    """Sums up the losses of the steps, and writes their means to a file of metrics, a row of JSON now and then.

    ``names`` are the losses, the first being the one that is minimised. ``path`` is None in all processes but the
    first of several: only that one writes. The metrics file is cut back to the ``step`` that training goes on from.
    """

    def __init__(
        self, path: Path | None, names: Sequence[str], step: int, steps: int, title: str, device: torch.device
    ) -> None:
        self.names, self.started, self.counted = names, time.perf_counter(), 0
        self.sums = torch.zeros(len(names), dtype=torch.float64, device=device)
        self.file = None if path is None else open_metrics(path, step)
        self.bar = tqdm(total=steps, initial=step, desc=title, unit="step", disable=path is None)

    def add(self, losses: Mapping[str, torch.Tensor]) -> None:
        """Adds the losses of a step; those that are missing are 0. Waits for no GPU."""
        missing = self.sums.new_zeros(())
        self.sums += torch.stack([losses.get(name, missing).detach().to(self.sums) for name in self.names])
        self.counted += 1
        self.bar.update()

    def row(self, step: int, rate: float) -> dict[str, Any]:
        """Mean losses since the last row. Raises TrainingError if their sum is not finite, before anything is saved."""
        totals = self.sums.tolist()  # a GPU's answer takes until all its work is done, so this is not asked every step
        check_finite(totals[0], f"the loss is not finite at step {step}")
        found: dict[str, Any] = {name: sum_ / self.counted for name, sum_ in zip(self.names, totals, strict=True)}
        self.sums.zero_()
        self.counted = 0
        return found | {"step": step, "rate": rate, "seconds": time.perf_counter() - self.started}

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends a row to the metrics."""
        if self.file is not None:
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
        self.bar.set_postfix_str(f"loss {row[self.names[0]]:.4f}")

    def close(self) -> None:
        """Closes the bar and the file."""
        self.bar.close()
        if self.file is not None:
            self.file.close()


def check_finite(loss: float, what: str) -> None:
    """Raises TrainingError if a loss is not finite; ``what`` says which one and where."""
    if not math.isfinite(loss):
        raise TrainingError(f"{what}; lower the learning rate")


def open_metrics(path: Path, step: int) -> TextIO:
    """The metrics file, cut back to the step that training goes on from.

    A last row that is no JSON is dropped: the process was killed while it wrote. Raises ValueError for any other.
    """
    rows = path.read_text().splitlines() if path.exists() else []
    if rows and not _is_json(rows[-1]):
        del rows[-1]
    done = [row for row in rows if json.loads(row)["step"] <= step]
    with new_file(path) as stream:
        stream.write("".join(row + "\n" for row in done).encode())
    return path.open("a")


def _is_json(row: str) -> bool:
    try:
        json.loads(row)
    except ValueError:
        return False
    return True
