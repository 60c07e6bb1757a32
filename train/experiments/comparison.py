"""Means over seeds, and differences from a reference seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from train.experiments.measures import FIGURES, Meaning
from train.experiments.runs import Run


def by_arm(runs: Sequence[Run], figure: str) -> dict[str, dict[int, float]]:
    """One figure of the runs: label of the arm → seed → value, without those that have none."""
    found: dict[str, dict[int, float]] = {}
    for run in runs:
        value = run.figures.get(figure)
        if value is not None:
            found.setdefault(run.arm.label, {})[run.seed] = value
    return found


def mean_and_spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation; the latter is None for a single value."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def paired(values: Mapping[int, float], reference: Mapping[int, float], meaning: Meaning) -> dict[str, Any] | None:
    """Differences of an arm (seed → value) from the reference with the same seed; None without a common seed.

    ``t`` and the two-sided ``p`` are Student's for paired samples, None where all differences are equal or there is
    only one; ``better`` counts the seeds in which the arm is the better one.
    """
    seeds = [seed for seed in values if seed in reference]
    if not seeds:
        return None
    differences = [values[seed] - reference[seed] for seed in seeds]
    result: dict[str, Any] = {"seeds": seeds, "differences": differences, **mean_and_spread(differences)}
    result["t"] = result["p"] = None
    if result["std"]:
        result["t"] = result["mean"] / (result["std"] / math.sqrt(len(seeds)))
        result["p"] = float(2 * student.sf(abs(result["t"]), len(seeds) - 1))
    sign = -1 if meaning.lower_is_better else 1
    result["better"] = sum(sign * difference > 0 for difference in differences)
    result["verdict"] = _verdict(result, meaning)
    return result


def _verdict(result: Mapping[str, Any], meaning: Meaning) -> str:
    change = f"{result['mean']:+.4f}"
    if result["std"] is not None:
        change += f" ± {result['std']:.4f}"
    if result["t"] is not None:
        change += f", t = {result['t']:.2f}, p = {result['p']:.3f}"
    way = "lower" if meaning.lower_is_better else "higher"
    return f"{meaning.title} {change}; better ({way}) with {result['better']} of {len(result['seeds'])} seeds"


def compare(runs: Sequence[Run], reference: str) -> dict[str, Any]:
    """All figures: ``arms`` (label → figure → mean, std) and ``differences`` from the arm labelled ``reference``."""
    labels = list(dict.fromkeys(run.arm.label for run in runs))
    arms: dict[str, Any] = {label: {} for label in labels}
    differences: dict[str, Any] = {label: {} for label in labels if label != reference}
    for name, meaning in FIGURES.items():
        values = by_arm(runs, name)
        for label, seeds in values.items():
            arms[label][name] = mean_and_spread(list(seeds.values()))
            result = paired(seeds, values.get(reference, {}), meaning)
            if label != reference and result is not None:
                differences[label][name] = result
    return {"reference": reference, "arms": arms, "differences": differences}
