"""The experiments on O-Net: mining, its ratio, the landmark task and its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eval.report.files import plain, table, write_csv
from train.common.files import save_json
from train.common.settings import revision
from train.experiments.comparison import compare
from train.experiments.definitions import CASCADE_FIGURES, HEADLINES, Experiment
from train.experiments.full_cascade import Cascade
from train.experiments.measures import FIGURES
from train.experiments.plots import draw, panels_of
from train.experiments.runs import Protocol, Run


def run_arms(
    experiment: Experiment, protocol: Protocol, seeds: Sequence[int], cascade: Cascade | None
) -> dict[str, Any]:
    """Trains the runs that are not there yet, writes CSV, JSON and PNG, and returns what the JSON holds.

    Runs go seed by seed, so that a stopped experiment has complete comparisons for the first seeds.
    """
    runs = []
    for seed, arm in tqdm([(seed, arm) for seed in seeds for arm in experiment.arms], desc=experiment.name, unit="run"):
        run = protocol.run(arm, seed)
        if cascade is not None:
            run = replace(run, figures={**run.figures, **cascade.evaluate(protocol, arm, seed)})
        runs.append(run)
    write_runs(protocol.out / f"{experiment.name}.csv", runs)
    draw(
        protocol.out / f"{experiment.name}.png",
        f"{experiment.title}; seeds {' '.join(map(str, seeds))}",
        panels_of(experiment, runs),
    )
    record = {
        "experiment": experiment.name,
        "title": experiment.title,
        "command": protocol.command,
        "revision": revision(),
        "samples": protocol.samples.meta,
        "settings": {arm.label: asdict(protocol.settings(arm, seeds[0])) for arm in experiment.arms},
        "seeds": list(seeds),
        "photos": len(cascade.test_set.photos) if cascade else None,
        **compare(runs, experiment.reference),
    }
    save_json(protocol.out / f"{experiment.name}.json", plain(record))
    return record


def write_runs(file: Path, runs: Sequence[Run]) -> None:
    """One row for each run: arm, seed, steps and its figures, empty where there is none."""
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    rows = [
        [run.arm.label, run.arm.value, run.seed, run.steps, *(run.figures.get(name) for name in names)] for run in runs
    ]
    write_csv(file, ["arm", "value", "seed", "steps", *names], rows)


def results(experiment: Experiment, record: dict[str, Any]) -> str:
    """Means and standard deviations as a table, and the differences from the reference that matter most."""
    shown = [n for n in (*experiment.figures, *CASCADE_FIGURES) if any(n in arm for arm in record["arms"].values())]
    rows = [[label, *(spread(arm.get(name)) for name in shown)] for label, arm in record["arms"].items()]
    lines = [table(["arm", *(FIGURES[name].title for name in shown)], rows), ""]
    for label, differences in record["differences"].items():
        lines += [
            f"{label} against {experiment.reference}: {differences[name]['verdict']}"
            for name in shown
            if name in differences and name in HEADLINES
        ]
    return "\n".join(lines)


def spread(summary: dict[str, float | None] | None) -> str | None:
    """Mean ± standard deviation in words."""
    if summary is None:
        return None
    return f"{summary['mean']:.4f}" + (f" ± {summary['std']:.4f}" if summary["std"] is not None else "")
